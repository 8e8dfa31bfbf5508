package ws_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// What goes wrong in a handler stays there, and the log tells it once.

// misbehaviours are what a handler may do instead of returning.
var misbehaviours = map[string]func(){
	"panics":               func() { panic("the handler's own fault") },
	"ends its goroutine":   func() { runtime.Goexit() }, // as t.Fatal does
	"panics with an error": func() { panic(fmt.Errorf("the handler's %w", io.ErrUnexpectedEOF)) },
}

// expectOnePanic finds one line of a log about a method, with its stack.
func expectOnePanic(t *testing.T, log, method string) {
	t.Helper()
	if strings.Count(log, "level=ERROR") != 1 || !strings.Contains(log, "panic in "+method) || !strings.Contains(log, "handler_test.go") {
		t.Errorf("%s: the log says %q", method, log)
	}
}

// A handler that panics costs its client 1011 and a line in the log, no more.
func TestPanics(t *testing.T) {
	t.Parallel()
	cases := []struct {
		method string
		setup  func(*recorder, func())
		send   []byte
		code   ws.Code
	}{
		{"OnOpen", func(r *recorder, fail func()) { r.onOpen = func(ws.ClientID) { fail() } }, text("a"), ws.CodeInternalError},
		{"OnData", func(r *recorder, fail func()) { r.onData = func(ws.ClientID, *ws.Message) { fail() } }, join(text("a"), text("b")), ws.CodeInternalError},
		{"OnData", func(r *recorder, fail func()) {
			r.onData = func(_ ws.ClientID, m *ws.Message) { m.Read(make([]byte, 10)); fail() }
		}, first(frame.Text, filler(2*streaming)), ws.CodeInternalError},
		{"OnClose", func(r *recorder, fail func()) { r.onClose = func(ws.ClientID, ws.Code, string) { fail() } }, closing(4000, ""), 4000},
	}
	everywhere(t, func(t *testing.T, at setting) {
		for _, c := range cases {
			for name, misbehave := range misbehaviours {
				var log lockedBuffer
				options := streamingOptions()
				options.Logger = slog.New(slog.NewTextHandler(&log, nil))
				var once sync.Once
				r := &recorder{}
				c.setup(r, func() { once.Do(misbehave) })
				s := serve(t, at, r, options)
				p := s.dial(t)
				p.write(c.send)
				p.expectClose(c.code)
				p.expectEOF()
				p.nc.Close()
				p.awaitOnClose()
				other := s.dial(t)
				other.write(ping("alive"))
				other.expect(frame.Pong, "alive")
				other.leave()
				s.stop(t)
				if expectOnePanic(t, log.String(), c.method); t.Failed() {
					t.Fatal(c.method, name)
				}
			}
		}
	})
}

// However many handlers end the goroutines that they are called on, others are
// served, and nothing is left of their clients.
func TestManyHandlersEndTheirGoroutines(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		options := unlimited
		options.Logger = slog.New(slog.DiscardHandler)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			s, _ := m.Text()
			if s == "leave" {
				runtime.Goexit()
			}
			r.endpoint.Send(s, id)
		}
		r.onClose = func(_ ws.ClientID, code ws.Code, _ string) {
			if code == ws.CodeInternalError {
				runtime.Goexit()
			}
		}
		s := serve(t, at, r, options)
		witness := s.dial(t)
		var clients []*peer
		for range 50 {
			p := s.dial(t)
			p.write(join(text("hello"), text("leave"), text("nobody reads this")))
			clients = append(clients, p)
		}
		for _, p := range clients {
			p.expect(frame.Text, "hello")
			p.expectClose(ws.CodeInternalError)
			p.expectEOF()
			p.nc.Close()
			p.awaitOnClose()
		}
		witness.expectEcho("still here")
		witness.leave()
		s.expectNobody(t)
	})
}

// An endpoint that could not start says 503, for ever: never 101.
func TestOnStartMisbehaves(t *testing.T) {
	t.Parallel()
	for name, misbehave := range misbehaviours {
		for place, mount := range map[string]func(*ws.Gateway) http.Handler{
			"net/http":       func(g *ws.Gateway) http.Handler { return g },
			"a Host":         func(g *ws.Gateway) http.Handler { return new(aerys.Host).Use(g) },
			"a Host's route": func(g *ws.Gateway) http.Handler { return new(aerys.Host).Use(aerys.Router().Get("/chat", g)) },
		} {
			t.Run(name+" under "+place, func(t *testing.T) {
				var log lockedBuffer
				at := byHTTP
				at.mount = func(g *ws.Gateway) aerys.Action { return mount(g) }
				s := serve(t, at, &recorder{onStart: func(*ws.Endpoint) error { misbehave(); return nil },
					onStop: func() { t.Error("OnStop was called") }}, ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				for range 3 {
					p := s.connect(t)
					p.write([]byte(upgrade()))
					if res := p.response(); res.StatusCode != http.StatusServiceUnavailable {
						t.Errorf("%s, want 503", res.Status)
					}
				}
				s.stop(t)
				expectOnePanic(t, log.String(), "OnStart")
			})
		}
		t.Run(name+" under aerys.Server", func(t *testing.T) {
			var log lockedBuffer
			g := ws.Websocket(&recorder{onStart: func(*ws.Endpoint) error { misbehave(); return nil }},
				ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			server := aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(g)}}
			if err := server.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "OnStart") {
				t.Errorf("Serve: %v", err)
			}
			expectOnePanic(t, log.String(), "OnStart")
		})
	}
}

// OnStop may fail: the clients are told, and the rest of the shutdown goes on.
func TestOnStopMisbehaves(t *testing.T) {
	t.Parallel()
	for name, misbehave := range misbehaviours {
		for _, at := range append(waitings, byHost) {
			t.Run(name+" "+at.name, func(t *testing.T) {
				var log lockedBuffer
				s := serve(t, at, &recorder{onStop: misbehave}, ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				a, b := s.dial(t), s.dial(t)
				a.id()
				b.id()
				stopped := make(chan struct{})
				go func() {
					s.stop(t)
					close(stopped)
				}()
				a.leaveWith(ws.CodeInternalError, "the server failed")
				b.leaveWith(ws.CodeInternalError, "the server failed")
				<-stopped
				expectOnePanic(t, log.String(), "OnStop")
			})
		}
	}
}

// A handshake that is not answered by OnHandshake is answered with 500.
func TestOnHandshakeMisbehaves(t *testing.T) {
	t.Parallel()
	for name, misbehave := range misbehaviours {
		for _, test := range []struct {
			name string
			do   func(*aerys.Response)
		}{
			{"at once", func(*aerys.Response) {}},
			{"after a decision", func(res *aerys.Response) { res.SetStatus(403).WriteString("half") }},
		} {
			for _, at := range []setting{byHTTP, byHost} {
				t.Run(name+" "+test.name+" "+at.name, func(t *testing.T) {
					var log lockedBuffer
					logger := slog.New(slog.NewTextHandler(&log, nil))
					at.options.Logger = logger // net/http's has none
					failing := true
					s := serve(t, at, &recorder{onHandshake: func(_ *aerys.Request, res *aerys.Response) {
						if failing {
							failing = false
							test.do(res)
							misbehave()
						}
					}}, ws.Options{Logger: logger})
					p := s.connect(t)
					p.write([]byte(upgrade()))
					if res, err := http.ReadResponse(p.reader, nil); err != nil || res.StatusCode != http.StatusInternalServerError {
						t.Errorf("%v, %v, want 500", res, err)
					}
					s.connect(t).expectHandshake()
					s.stop(t)
					if at.host { // else the panic is in the log of net/http's Host
						expectOnePanic(t, log.String(), "")
					}
				})
			}
		}
	}
}

// While OnHandshake thinks, its request's context tells when the client has left,
// however the header is spelt.
func TestClientLeavesDuringOnHandshake(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	r := &recorder{onHandshake: func(req *aerys.Request, _ *aerys.Response) {
		entered <- struct{}{}
		<-req.Context().Done()
		left <- struct{}{}
	}}
	spellings := map[string]func(string) string{
		"as usual":      func(s string) string { return s },
		"in lower case": strings.ToLower,
		"in upper case": func(s string) string { return strings.ReplaceAll(s, "Sec-WebSocket-Key", "SEC-WEBSOCKET-KEY") },
		"without space": func(s string) string { return strings.ReplaceAll(s, "Sec-WebSocket-Key: ", "Sec-WebSocket-Key:") },
	}
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, r, ws.Options{})
		for name, spell := range spellings {
			t.Run(name, func(t *testing.T) {
				request := upgrade()
				head, rest, _ := strings.Cut(request, "\r\n")
				request = head + "\r\n" + strings.ReplaceAll(spell(rest), strings.ToLower(sampleKey), sampleKey)
				p := s.connect(t)
				p.write([]byte(request))
				select {
				case <-entered:
				case <-patient(t).Done():
					t.Fatal("OnHandshake was not called")
				}
				p.nc.Close()
				select {
				case <-left:
				case <-patient(t).Done():
					t.Fatal("OnHandshake was not told that its client has left")
				}
			})
		}
	})
}
