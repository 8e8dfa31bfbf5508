// Echo serves /echo, which sends every message back with its type, and
// /broadcast, which sends every message to all of that endpoint's clients; for
// HTTP it serves GET /hello, POST /post and GET /sse. It is what load generators
// and conformance suites are pointed at.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"

	"aerys"
	"aerys/example/internal/localhost"
	"aerys/ws"
)

// client is an application that needs to know nothing of its clients.
type client struct{ endpoint *ws.Endpoint }

func (c *client) OnStart(endpoint *ws.Endpoint) error { c.endpoint = endpoint; return nil }

func (c *client) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (c *client) OnOpen(ws.ClientID, struct{}) {}

func (c *client) OnClose(ws.ClientID, ws.Code, string) {}

func (c *client) OnStop() {}

var (
	_ ws.Handler[struct{}] = (*echo)(nil)
	_ ws.Handler[struct{}] = (*broadcast)(nil)
)

type echo struct{ client }

func (e *echo) OnData(id ws.ClientID, msg *ws.Message) {
	data, err := msg.Bytes()
	switch {
	case err != nil: // the client is gone
	case msg.Binary():
		e.endpoint.SendBinary(data, id)
	default:
		e.endpoint.SendText(data, id)
	}
}

type broadcast struct{ client }

func (b *broadcast) OnData(_ ws.ClientID, msg *ws.Message) {
	data, err := msg.Bytes()
	switch {
	case err != nil:
	case msg.Binary():
		b.endpoint.BroadcastBinary(data)
	default:
		b.endpoint.BroadcastText(data)
	}
}

var engines = map[string]ws.Engine{"auto": ws.EngineAuto, "portable": ws.EnginePortable, "epoll": ws.EngineEpoll}

func main() {
	addr := flag.String("addr", "localhost:1337", "host and port to listen on")
	engine := flag.String("engine", "auto", "auto, portable or epoll")
	encrypt := flag.Bool("tls", false, "serve over TLS, with a certificate made for the occasion")
	compress := flag.Bool("compress", false, "negotiate permessage-deflate")
	flag.Parse()

	name, number, err := where(*addr)
	if err != nil {
		log.Fatal("-addr: ", err)
	}
	host := serve(engines[*engine], *compress).Expose(name, number)
	if *encrypt {
		host.Encrypt("", "", &tls.Config{Certificates: []tls.Certificate{localhost.Certificate()}})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	server := aerys.Server{Hosts: []*aerys.Host{host}, Options: aerys.Options{MaxRequestsPerConnection: -1}}
	server.Ready = func([]net.Addr) { fmt.Println("listening") }
	if err := server.Serve(ctx); err != nil {
		log.Fatal(err)
	}
}

// serve bounds nothing that a load generator may want to do.
func serve(engine ws.Engine, compress bool) *aerys.Host {
	options := ws.Options{
		MaxFrameSize:        16 << 20,
		MaxMessageSize:      16 << 20,
		AutoFrameSize:       1 << 20, // it takes whole messages anyway: no handler need wait for the rest
		MaxFramesPerMessage: -1,
		MaxBytesPerMinute:   -1,
		MaxFramesPerSecond:  -1,
		Compression:         compress,
		Engine:              engine,
		Origins:             []string{"*"},
	}
	return new(aerys.Host).Use(aerys.Router().
		Get("/echo", ws.Websocket(&echo{}, options)).
		Get("/broadcast", ws.Websocket(&broadcast{}, options)).
		Get("/hello", hello).
		Post("/post", post).
		Get("/sse", events))
}

// where reads an address such as ":1337" or "localhost:1337".
func where(addr string) (name string, port int, err error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service)
	return cmp.Or(name, "*"), port, err
}
