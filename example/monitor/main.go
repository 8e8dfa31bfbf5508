// Monitor is a small site, and what those see who keep it running: a page that
// draws what happens, the same for Prometheus, and whether to send it requests.
// They have an address of their own, which the site's visitors cannot reach.
//
//	go run ./example/monitor -addr localhost:1337 -operator localhost:1338
//	curl -H 'Accept: text/plain' http://localhost:1338/
package main

import (
	"cmp"
	"errors"
	"flag"
	"log"
	"math/rand/v2"
	"net"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

func main() {
	addr := flag.String("addr", "localhost:1337", "where the site is")
	operator := flag.String("operator", "localhost:1338", "where its figures are")
	drain := flag.Duration("drain", 0, "how long to serve on, as not ready, before a stop: for load balancers")
	flag.Parse()
	server, err := newServer(*addr, *operator)
	if err == nil {
		server.Options.DrainDelay = *drain
		err = server.Run()
	}
	if err != nil {
		log.Fatal(err)
	}
}

func newServer(addr, operator string) (*aerys.Server, error) {
	public, err := at(addr)
	private, err2 := at(operator)
	return &aerys.Server{Hosts: []*aerys.Host{
		public.Use(site(), static.FS(files)),
		private.Use(aerys.Router().
			Get("/", aerys.MonitorHandler).
			Get("/healthz", aerys.HealthHandler)),
	}}, errors.Join(err, err2)
}

// at is a host at an address such as ":1337" or "localhost:1337".
func at(addr string) (*aerys.Host, error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := net.LookupPort("tcp", service)
	return new(aerys.Host).Expose(cmp.Or(name, "*"), port), err
}

var files = fstest.MapFS{
	"index.html": {Data: []byte("<!DOCTYPE html>\n<title>A small site</title>\n<p>Hello.\n"), ModTime: time.Unix(1e9, 0)},
}

// site has something of everything that its operator may worry about.
func site() *aerys.Routes {
	return aerys.Router().
		Get("/slow", func(req *aerys.Request, res *aerys.Response) {
			time.Sleep(time.Duration(rand.ExpFloat64() * float64(20*time.Millisecond)))
			res.End("Here you are, at last.\n")
		}).
		Get("/old", func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("Location", "/").SetStatus(301).End() }).
		Get("/broken", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(503).End("Not now.\n") }).
		Get("/echo", ws.Websocket(&echo{}, ws.Options{Compression: true}))
}

// echo sends back what it gets.
type echo struct{ endpoint *ws.Endpoint }

func (e *echo) OnStart(endpoint *ws.Endpoint) error { e.endpoint = endpoint; return nil }

func (e *echo) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (e *echo) OnOpen(ws.ClientID, struct{}) {}

func (e *echo) OnData(id ws.ClientID, m *ws.Message) {
	if data, err := m.Bytes(); err == nil {
		e.endpoint.SendText(data, id)
	}
}

func (e *echo) OnClose(ws.ClientID, ws.Code, string) {}

func (e *echo) OnStop() {}
