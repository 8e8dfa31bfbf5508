package ws_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"aerys"
	"aerys/ws"
)

// How often a gateway starts and stops, and whose clients are closed then.

// Stop may be called from OnStart: the gateway stops when that returns.
func TestStopFromOnStart(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *ws.Gateway){
		"Start": func(t *testing.T, g *ws.Gateway) {
			if err := g.Start(context.Background()); err == nil {
				t.Error("Start returned nil")
			}
		},
		"a handshake": func(t *testing.T, g *ws.Gateway) {
			if code := handshakeAt(t, httptest.NewServer(g)); code != http.StatusServiceUnavailable {
				t.Errorf("%d, want 503", code)
			}
		},
		"aerys.Server": func(t *testing.T, g *ws.Gateway) {
			server := aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(g)}}
			if err := server.Serve(t.Context()); err == nil {
				t.Error("Serve returned nil")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g *ws.Gateway
			stops := 0
			g = ws.Websocket(&recorder{onStart: func(*ws.Endpoint) error { return g.Stop(context.Background()) }, onStop: func() { stops++ }})
			start(t, g)
			if g.Stop(context.Background()); stops != 1 {
				t.Errorf("OnStop was called %d times", stops)
			}
		})
	}
}

// handshakeAt returns the status that a server answers a handshake with.
func handshakeAt(t *testing.T, h *httptest.Server) int {
	t.Helper()
	t.Cleanup(h.Close)
	return dialAt(t, h.Listener.Addr().String()).tryHandshake()
}

// dialAt connects to a server that is not in a test's setting.
func dialAt(t *testing.T, address string) *peer {
	s := &server{at: setting{network: "tcp"}, address: address}
	return s.connect(t)
}

// tryHandshake shakes hands and returns the status of the answer.
func (p *peer) tryHandshake() int {
	p.t.Helper()
	p.write([]byte(upgrade()))
	return p.response().StatusCode
}

// A gateway is started again by the server that serves its Host again.
func TestServedAgain(t *testing.T) {
	t.Parallel()
	for _, engine := range []ws.Engine{ws.EngineEpoll, ws.EnginePortable} {
		t.Run(fmt.Sprint("engine ", engine), func(t *testing.T) {
			starts, stops := 0, 0
			r := &recorder{onStart: func(*ws.Endpoint) error { starts++; return nil }, onStop: func() { stops++ }}
			g := ws.Websocket(r, ws.Options{Engine: engine})
			host := new(aerys.Host).Expose("127.0.0.1", 0).Use(aerys.Router().Get("/chat", g))
			remains.begin(t)
			defer remains.end(t)
			for round := 1; round <= 3; round++ {
				ready, served := make(chan string, 1), make(chan error, 1)
				ctx, stop := context.WithCancel(context.Background())
				server := aerys.Server{Hosts: []*aerys.Host{host}, Ready: func(addresses []net.Addr) { ready <- addresses[0].String() }}
				go func() { served <- server.Serve(ctx) }()
				p := dialAt(t, <-ready)
				p.server.recorder = r
				p.expectHandshake()
				p.write([]byte("nonsense"))
				p = dialAt(t, p.server.address)
				p.server.recorder = r
				p.write([]byte(p.handshake()))
				p.expectSwitch()
				p.id()
				stop()
				p.leaveWith(1001, "server stops")
				if err := <-served; err != nil || starts != round || stops != round {
					t.Fatalf("round %d: %v; OnStart was called %d times, OnStop %d times", round, err, starts, stops)
				}
			}
		})
	}
}

// Of several servers of net/http each has its clients closed when it shuts down;
// with the last the gateway stops, and the next one starts it again.
func TestSeveralHTTPServers(t *testing.T) {
	t.Parallel()
	for _, at := range waitings {
		for place, mount := range map[string]func(*ws.Gateway) http.Handler{
			"a mux":  func(g *ws.Gateway) http.Handler { m := http.NewServeMux(); m.Handle("/", g); return m },
			"a Host": func(g *ws.Gateway) http.Handler { return new(aerys.Host).Use(g) },
		} {
			t.Run(at.name+" in "+place, func(t *testing.T) {
				starts, stops := make(chan bool, 9), make(chan bool, 9)
				r := &recorder{onStart: func(*ws.Endpoint) error { starts <- true; return nil }, onStop: func() { stops <- true }}
				g := ws.Websocket(r, ws.Options{Engine: at.engine})
				handler := mount(g)
				launch := func() *httptest.Server {
					h := httptest.NewUnstartedServer(handler)
					if at.opaque {
						h.Listener = opaqueListener{h.Listener}
					}
					h.Start()
					t.Cleanup(h.Close)
					return h
				}
				client := func(h *httptest.Server) *peer {
					p := dialAt(t, h.Listener.Addr().String())
					p.server.recorder = r
					p.write([]byte(p.handshake()))
					p.expectSwitch()
					p.id()
					return p
				}
				first, second := launch(), launch()
				a, b := client(first), client(second)
				second.Config.Shutdown(t.Context())
				b.leaveWith(1001, "server stops")
				a.expectEcho("still here")
				if len(stops) > 0 {
					t.Error("OnStop was called while a server is left")
				}
				third := launch()
				c := client(third)
				first.Config.Shutdown(t.Context())
				a.leaveWith(1001, "server stops")
				c.expectEcho("still here")
				third.Config.Shutdown(t.Context())
				c.leaveWith(1001, "server stops")
				<-stops
				last := launch()
				for end := patient(t); dialAt(t, last.Listener.Addr().String()).tryHandshake() != 101; {
					if end.Err() != nil { // Stop may take a moment yet
						t.Fatal("the gateway does not start again")
					}
				}
				d := client(last)
				last.Config.Shutdown(t.Context())
				d.leaveWith(1001, "server stops")
				<-stops
				if len(starts) != 2 || len(stops) != 0 {
					t.Errorf("OnStart was called %d times, OnStop %d times more than that", len(starts), len(stops))
				}
			})
		}
	}
}

// A server of net/http beside one of package aerys takes none of its clients along.
func TestHTTPServerBesideHost(t *testing.T) {
	t.Parallel()
	for _, httpFirst := range []bool{false, true} {
		t.Run(fmt.Sprint("net/http first: ", httpFirst), func(t *testing.T) {
			var h *httptest.Server
			at := byHost
			at.mount = func(g *ws.Gateway) aerys.Action { h = httptest.NewServer(g); return g }
			s := serve(t, at, &recorder{}, ws.Options{})
			defer h.Close()
			other := &server{recorder: s.recorder, at: setting{network: "tcp"}, address: h.Listener.Addr().String()}
			var a, b *peer
			if httpFirst {
				b, a = other.dial(t), s.dial(t)
			} else {
				a, b = s.dial(t), other.dial(t)
			}
			a.id()
			b.id()
			h.Config.Shutdown(t.Context())
			b.leaveWith(1001, "server stops")
			a.expectEcho("still here")
			a.leave()
		})
	}
}

// Without a limit of the closing handshake, shutdown waits for clients as it says.
func TestNoClosePeriod(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		g := ws.Websocket(r, ws.Options{Engine: at.engine, ClosePeriod: -1})
		h := httptest.NewServer(g)
		defer h.Close()
		p := dialAt(t, h.Listener.Addr().String())
		p.server.recorder = r
		p.write([]byte(p.handshake()))
		p.expectSwitch()
		p.id()
		if err := h.Config.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got := p.expectClose(1001); got != "server stops" {
			t.Errorf("closed with %q", got)
		}
		select {
		case <-p.visit.closed:
			t.Error("the connection ended before the client has answered")
		default:
		}
		p.write(closing(1001, ""))
		p.expectEOF()
		p.nc.Close()
		p.expectEnd(1001, "server stops")
	})
}
