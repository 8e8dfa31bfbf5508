package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"time"

	"aerys"
	"aerys/ws"
)

// echoAerys is the application behind /echo.
type echoAerys struct{ endpoint *ws.Endpoint }

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
	host := new(aerys.Host).Expose(at.Addr().String(), int(at.Port())).Use(router)
	if a.encrypted {
		file := certificate()
		defer file.Close()
		host.Encrypt(fmt.Sprint("/proc/self/fd/", file.Fd()), "")
	}
	server := aerys.Server{Hosts: []*aerys.Host{host}, Options: aerys.Options{
		MaxConnections: 1 << 20, ConnectionTimeout: time.Minute, // the load may be slow, too
	}}
	server.Ready = func(addresses []net.Addr) { fmt.Println("listening", addresses[0]) }
	log.Fatal(server.Serve(context.Background()))
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
	descriptors, _ := os.ReadDir("/proc/self/fd")
	return usage{runtime.NumGoroutine(), len(descriptors), memory.HeapAlloc}
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
