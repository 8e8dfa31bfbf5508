package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

// echoAerys is the application behind /echo.
type echoAerys struct{ endpoint *ws.Endpoint }

var _ ws.Handler[struct{}] = (*echoAerys)(nil)

func (e *echoAerys) OnStart(endpoint *ws.Endpoint) error { e.endpoint = endpoint; return nil }

func (e *echoAerys) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (e *echoAerys) OnOpen(ws.ClientID, struct{}) {}

func (e *echoAerys) OnData(id ws.ClientID, msg *ws.Message) {
	if data, err := msg.Bytes(); err == nil {
		e.endpoint.SendBinary(data, id)
	}
}

func (e *echoAerys) OnClose(ws.ClientID, ws.Code, string) {}

func (e *echoAerys) OnStop() {}

// broadcastAerys is the application behind /broadcast.
type broadcastAerys struct{ echoAerys }

func (b *broadcastAerys) OnData(_ ws.ClientID, msg *ws.Message) {
	if data, err := msg.Bytes(); err == nil {
		b.endpoint.BroadcastBinary(data)
	}
}

// aerysServer runs aerys without the limits on what a client may send.
type aerysServer struct {
	engine    ws.Engine
	encrypted bool
}

func (a aerysServer) serve(addr string) {
	options := ws.Options{Engine: a.engine, MaxBytesPerMinute: -1, MaxFramesPerSecond: -1,
		AutoFrameSize: 1 << 20, // it takes whole messages anyway, as the others do
	}
	router := aerys.Router().
		Get("/echo", ws.Websocket(&echoAerys{}, options)).
		Get("/broadcast", ws.Websocket(&broadcastAerys{}, options)).
		Get("/usage", func(_ *aerys.Request, res *aerys.Response) { json.NewEncoder(res).Encode(measureUsage()) })
	at, err := netip.ParseAddrPort(addr)
	must(err)
	host := new(aerys.Host).Expose(at.Addr().String(), int(at.Port())).Use(router, pages())
	if filesDir != "" {
		host.Use(static.Root(filesDir))
	}
	if a.encrypted {
		file := certificate()
		defer file.Close()
		host.Encrypt(fmt.Sprint("/proc/self/fd/", file.Fd()), "")
	}
	server := aerys.Server{Hosts: []*aerys.Host{host}, Options: aerys.Options{
		MaxConnections: 1 << 20, MaxRequestsPerConnection: -1, ConnectionTimeout: time.Minute, // the load may be slow, too
	}}
	server.Ready = func(addresses []net.Addr) { fmt.Println("listening", addresses[0]) }
	log.Fatal(server.Serve(context.Background()))
}

// pages are what is there for HTTP.
func pages() *aerys.Routes {
	hello := func(_ *aerys.Request, res *aerys.Response) {
		res.SetHeader("Content-Type", "text/plain; charset=utf-8")
		res.End(helloText)
	}
	return aerys.Router().
		Get("/hello", hello).
		Get("/sleep", func(req *aerys.Request, res *aerys.Response) {
			time.Sleep(sleepTime)
			hello(req, res)
		}).
		Post("/post", func(req *aerys.Request, res *aerys.Response) {
			if body, err := io.ReadAll(req.Body()); err == nil {
				res.SetHeader("Content-Type", "application/octet-stream")
				res.Write(body)
			}
		}).
		Get("/events", events)
}

// events sends so many events, one every half a second.
func events(req *aerys.Request, res *aerys.Response) {
	res.SetHeader("Content-Type", "text/event-stream")
	count, _ := strconv.Atoi(req.Param("count"))
	for number := range count {
		fmt.Fprintf(res, "data: %d\n\n", number)
		res.Flush()
		select {
		case <-req.Context().Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// usage is what must not grow while a server works.
type usage struct {
	Goroutines, Descriptors int
	Heap                    uint64 // bytes that live
}

func measureUsage() (u usage) {
	for range 3 { // what sync.Pools hold outlives one collection
		runtime.GC()
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return usage{runtime.NumGoroutine(), countDescriptors(), memory.HeapAlloc}
}

// countDescriptors leaves out pipes, of which a server keeps a few for files.
func countDescriptors() (n int) {
	descriptors, _ := os.ReadDir("/proc/self/fd")
	for _, d := range descriptors {
		if target, _ := os.Readlink("/proc/self/fd/" + d.Name()); !strings.HasPrefix(target, "pipe:") {
			n++
		}
	}
	return n
}

// certificate takes the one of net/http/httptest, in a file that needs no removing.
func certificate() *os.File {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	must(err)
	file, err := os.CreateTemp("", "versus")
	must(err)
	os.Remove(file.Name())
	pem.Encode(file, &pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return file
}
