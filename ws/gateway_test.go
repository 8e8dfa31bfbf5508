package ws_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"aerys"
	"aerys/ws"
)

// typed is a handler whose OnHandshake returns a value and whose OnOpen hands it on.
type typed[T any] struct {
	recorder
	value T
	opens chan T
}

func (h *typed[T]) OnHandshake(*aerys.Request, *aerys.Response) T { return h.value }
func (h *typed[T]) OnOpen(_ ws.ClientID, value T)                 { h.opens <- value }
func (h *typed[T]) OnData(ws.ClientID, *ws.Message)               {}
func (h *typed[T]) OnClose(ws.ClientID, ws.Code, string)          {}

func testTyped[T comparable](t *testing.T, value T) {
	t.Run(fmt.Sprintf("%T", value), func(t *testing.T) {
		engines(t, func(t *testing.T, at setting) {
			h := &typed[T]{value: value, opens: make(chan T, 1)}
			s := serve(t, at, h, ws.Options{})
			s.dial(t)
			if got := <-h.opens; got != value {
				t.Errorf("OnOpen got %v, OnHandshake returned %v", got, value)
			}
		})
	})
}

// OnOpen gets what OnHandshake returned.
func TestOnOpenGetsOnHandshakesData(t *testing.T) {
	t.Parallel()
	type user struct {
		name string
		age  int
	}
	testTyped(t, "Ada")
	testTyped(t, user{"Ada", 36})
	testTyped(t, &user{"Ada", 36})
	testTyped(t, struct{}{})
	testTyped[error](t, io.EOF)
}

// wrapper is a ResponseWriter of some middleware.
type wrapper struct{ http.ResponseWriter }

// unwrapper is one that http.ResponseController sees through.
type unwrapper struct{ http.ResponseWriter }

func (w unwrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func wrapping(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(wrapper{w}, r) })
}

func unwrapping(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(unwrapper{w}, r) })
}

func following(next aerys.Handler) aerys.Handler { return next }

// A gateway works wherever an action or an http.Handler may stand.
func TestGatewayPlaces(t *testing.T) {
	t.Parallel()
	mux := func(g *ws.Gateway) *http.ServeMux {
		m := http.NewServeMux()
		m.Handle("GET /chat", g)
		return m
	}
	for _, test := range []struct {
		name   string
		at     setting
		mount  func(*ws.Gateway) aerys.Action
		status int
	}{
		{"a net/http server", byHTTP, func(g *ws.Gateway) aerys.Action { return g }, 101},
		{"ServeMux", byHTTP, func(g *ws.Gateway) aerys.Action { return mux(g) }, 101},
		{"middleware with Unwrap", byHTTP, func(g *ws.Gateway) aerys.Action { return unwrapping(unwrapping(g)) }, 101},
		{"middleware without", byHTTP, func(g *ws.Gateway) aerys.Action { return wrapping(g) }, 500},
		{"TimeoutHandler", byHTTP, func(g *ws.Gateway) aerys.Action { return http.TimeoutHandler(g, patience, "") }, 500},
		{"a Host in ServeMux", byHTTP, func(g *ws.Gateway) aerys.Action {
			m := http.NewServeMux()
			m.Handle("/", new(aerys.Host).Use(aerys.Router().Get("/chat", g)))
			return m
		}, 101},
		{"Host.Use", byHost, func(g *ws.Gateway) aerys.Action { return g }, 101},
		{"a route", byHost, func(g *ws.Gateway) aerys.Action { return aerys.Router().Get("/{room}", g) }, 101},
		{"behind middleware", byHost, func(g *ws.Gateway) aerys.Action { return aerys.Router().Use(following).Get("/chat", g) }, 101},
		{"behind net/http's with Unwrap", byHost, func(g *ws.Gateway) aerys.Action { return aerys.Router().Use(unwrapping).Get("/chat", g) }, 101},
		{"behind net/http's without", byHost, func(g *ws.Gateway) aerys.Action { return aerys.Router().Use(wrapping).Get("/chat", g) }, 500},
		{"ServeMux in a Host", byHost, func(g *ws.Gateway) aerys.Action { return mux(g) }, 101},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			test.at.mount = test.mount
			s := serve(t, test.at, &recorder{}, ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			p := s.connect(t)
			if test.status == http.StatusSwitchingProtocols {
				p.expectHandshake()
				return
			}
			p.write([]byte(p.handshake()))
			if res := p.response(); res.StatusCode != test.status {
				t.Errorf("%s, want %d", res.Status, test.status)
			}
			s.stop(t)
			if !strings.Contains(log.String(), "Unwrap") {
				t.Errorf("the log does not tell what to do: %s", log.String())
			}
		})
	}
}

// CVE-2021-4236: who guards a prefix guards the endpoint under it.
func TestGuardedPrefix(t *testing.T) {
	t.Parallel()
	guard := func(next aerys.Handler) aerys.Handler {
		return aerys.Handler(handlerFunc(func(req *aerys.Request, res *aerys.Response) {
			if strings.HasPrefix(req.URL.Path, "/admin/") && req.Header.Get("Authorization") != "Bearer good" {
				res.SetStatus(401).End()
				return
			}
			next.Serve(req, res)
		}))
	}
	for name, mount := range map[string]func(*ws.Gateway) aerys.Action{
		"in front of the router": func(g *ws.Gateway) aerys.Action {
			return aerys.Router().Use(guard).Use(aerys.Router().Get("/ws/?", g).Prefix("/admin"))
		},
		"in the route":   func(g *ws.Gateway) aerys.Action { return aerys.Router().Get("/admin/ws", guard, g) },
		"by a parameter": func(g *ws.Gateway) aerys.Action { return aerys.Router().Use(guard).Get("/{area}/ws", g) },
	} {
		t.Run(name, func(t *testing.T) {
			at := byHost
			at.mount = mount
			s := serve(t, at, &recorder{onHandshake: func(req *aerys.Request, _ *aerys.Response) {
				if strings.EqualFold(strings.Trim(req.URL.Path, "/"), "admin/ws") && req.Header.Get("Authorization") == "" {
					t.Errorf("OnHandshake was called for %s", req.RequestURI)
				}
			}}, ws.Options{})
			for _, target := range []string{"/admin/ws", "/admin/ws/", "/admin/ws?", "//admin/ws", "/admin//ws", "/%61dmin/ws", "/admin%2Fws",
				"/admin/./ws", "/x/../admin/ws", "/admin/ws/.", "http://server.example.com/admin/ws"} {
				p := s.connect(t)
				p.write([]byte(upgrade("GET " + target + " HTTP/1.1")))
				if res := p.response(); res.StatusCode < 300 {
					t.Errorf("%s without authorization: %s", target, res.Status)
				}
			}
			p := s.connect(t)
			p.write([]byte(upgrade("GET /admin/ws HTTP/1.1", "Authorization: Bearer good")))
			p.expectSwitch()
		})
	}
}

// handlerFunc is a Handler of package aerys.
type handlerFunc func(*aerys.Request, *aerys.Response)

func (f handlerFunc) Serve(req *aerys.Request, res *aerys.Response) { f(req, res) }

// OnStart is called once, by the server's start or by the first handshake.
func TestOnStart(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		var starts atomic.Int32
		s := serve(t, byHTTP, &recorder{onStart: func(*ws.Endpoint) error { starts.Add(1); return nil }}, ws.Options{})
		var group sync.WaitGroup
		for range 20 {
			p := s.connect(t)
			group.Add(1)
			go func() {
				defer group.Done()
				p.write([]byte(p.handshake()))
				p.reader.Peek(1)
			}()
		}
		group.Wait()
		if starts.Load() != 1 {
			t.Errorf("OnStart was called %d times", starts.Load())
		}
	})
	failure := errors.New("no database")
	t.Run("fails before the server listens", func(t *testing.T) {
		gateway := ws.Websocket(&recorder{onStart: func(*ws.Endpoint) error { return failure }})
		server := aerys.Server{
			Hosts:   []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(aerys.Router().Get("/chat", gateway))},
			Options: aerys.Options{Logger: slog.New(slog.DiscardHandler)},
		}
		if err := server.Serve(t.Context()); !errors.Is(err, failure) {
			t.Errorf("Serve: %v, want %v", err, failure)
		}
	})
	t.Run("fails within a net/http server", func(t *testing.T) {
		var starts atomic.Int32
		var log bytes.Buffer
		s := serve(t, byHTTP, &recorder{onStart: func(*ws.Endpoint) error { starts.Add(1); return failure }},
			ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		p := s.connect(t)
		for range 2 {
			p.write([]byte(upgrade()))
			if res := p.response(); res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%s, want 503", res.Status)
			}
		}
		if starts.Load() != 1 || !strings.Contains(log.String(), failure.Error()) {
			t.Errorf("OnStart was called %d times; log: %s", starts.Load(), log.String())
		}
	})
}

// What can never work panics where it is written, and the panic says what to write.
func TestRegistrationPanics(t *testing.T) {
	with := func(options ws.Options) func() { return func() { ws.Websocket(&recorder{}, options) } }
	endpoint := ws.Websocket(&recorder{}).Endpoint()
	tests := map[string]struct {
		do   func()
		want string
	}{
		"no handler":             {func() { ws.Websocket[struct{}](nil) }, "handler is nil"},
		"a nil handler":          {func() { ws.Websocket((*recorder)(nil)) }, "handler is nil"},
		"two Options":            {func() { ws.Websocket(&recorder{}, ws.Options{}, ws.Options{}) }, "2 Options"},
		"an engine below":        {with(ws.Options{Engine: -1}), "Options.Engine -1: use"},
		"an engine above":        {with(ws.Options{Engine: 3}), "Options.Engine 3: use"},
		"a compression level":    {with(ws.Options{CompressionLevel: 10}), "Options.CompressionLevel 10: use 1"},
		"a subprotocol":          {with(ws.Options{Subprotocols: []string{"chat", "v2 chat"}}), `Options.Subprotocols: "v2 chat" is not a token`},
		"an empty subprotocol":   {with(ws.Options{Subprotocols: []string{""}}), `Options.Subprotocols: "" is not a token`},
		"an origin of no scheme": {with(ws.Options{Origins: []string{"example.com"}}), `Options.Origins: "example.com": write`},
		"an origin with a path":  {with(ws.Options{Origins: []string{"https://example.com/"}}), `"https://example.com/": write`},
		"an origin of no host":   {with(ws.Options{Origins: []string{"https://"}}), `"https://": write`},
		"any origin of a scheme": {with(ws.Options{Origins: []string{"https://*"}}), `"https://*": write`},
		"a part of a label":      {with(ws.Options{Origins: []string{"https://*example.com"}}), `"https://*example.com": write`},
		"a star in the middle":   {with(ws.Options{Origins: []string{"https://a.*.com"}}), `"https://a.*.com": write`},
		"a topic's close code":   {func() { endpoint.CloseTopic("topic", ws.CodeNoStatus, "") }, "Endpoint.CloseTopic: code"},
		"two stars":              {with(ws.Options{Origins: []string{"https://*.*.com"}}), `"https://*.*.com": write`},
	}
	for _, code := range []ws.Code{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
		tests[fmt.Sprint("close code ", uint16(code))] = struct {
			do   func()
			want string
		}{func() { endpoint.Close(1, code, "") }, fmt.Sprintf("Endpoint.Close: code %v must not be sent", code)}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, test.want) {
					t.Errorf("panic: %s; want %q in it", got, test.want)
				}
			}()
			test.do()
		})
	}
}

// To a client that is not there nothing can be sent.
func TestNoSuchClient(t *testing.T) {
	t.Parallel()
	s := serve(t, byHTTP, &recorder{}, ws.Options{})
	p := s.dial(t)
	id := p.id()
	p.leave()
	s.dial(t).id() // which may have the other's place, but not its id
	for s.Len() > 1 {
		runtime.Gosched()
	}
	for _, id := range []ws.ClientID{0, id, id + 1<<20, 1<<64 - 1} {
		for name, err := range map[string]error{
			"Send": s.Send("hello", id), "SendBinary": s.SendBinary(nil, id), "Close": s.Close(id, 1000, ""),
		} {
			if !errors.Is(err, ws.ErrClosed) {
				t.Errorf("%s to client %d: %v", name, id, err)
			}
		}
		if info, ok := s.Info(id); ok {
			t.Errorf("Info of client %d: %+v", id, info)
		}
	}
	s.Multicast("hello", id, 0)
}
