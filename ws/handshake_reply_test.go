package ws_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"aerys"
	"aerys/ws"
)

// What OnHandshake makes of the response decides, and any HTTP reply leaves the
// connection as it was.
func TestOnHandshake(t *testing.T) {
	t.Parallel()
	type response = aerys.Response
	tests := map[string]struct {
		do     func(*response)
		status int
		fields []string
		body   string
	}{
		"declined": {func(res *response) {
			res.SetStatus(403).SetHeader("X-Why", "password").SetCookie(&http.Cookie{Name: "tries", Value: "1"}).End("Nope.")
		}, 403, []string{"X-Why: password", "Set-Cookie: tries=1", "Content-Length: 5", "-Upgrade", "-Sec-WebSocket-Accept"}, "Nope."},
		"declined in several writes": {func(res *response) {
			res.SetStatus(503)
			io.WriteString(res, "come ")
			io.WriteString(res, "back")
		}, 503, []string{"Content-Length: 9"}, "come back"},
		"declined at length": {func(res *response) { res.SetStatus(404).End(strings.Repeat("x", 100<<10)) },
			404, nil, strings.Repeat("x", 100<<10)},
		"declined by a status":        {func(res *response) { res.SetStatus(401).SetHeader("WWW-Authenticate", "Basic") }, 401, []string{"WWW-Authenticate: Basic", "Vary: Accept"}, "*"},
		"declined without a body":     {func(res *response) { res.SetStatus(401).End() }, 401, []string{"-Vary"}, ""},
		"redirected":                  {func(res *response) { res.SetStatus(302).SetHeader("Location", "/other").End() }, 302, []string{"Location: /other"}, ""},
		"not modified":                {func(res *response) { res.SetStatus(304) }, 304, nil, ""},
		"accepted, by End":            {func(res *response) { res.End() }, 101, nil, ""},
		"accepted, by Flush":          {func(res *response) { res.Flush() }, 101, nil, ""},
		"accepted on second thoughts": {func(res *response) { res.SetStatus(403).SetStatus(101) }, 101, nil, ""},
		"a status after End":          {func(res *response) { res.End(); res.SetStatus(410) }, 410, nil, ""},
		"a body with 101":             {func(res *response) { res.End("hello") }, 500, nil, "*"},
		"a body, then 101":            {func(res *response) { res.SetStatus(403).WriteString("x"); res.SetStatus(101) }, 500, nil, "*"},
		"status 99":                   {func(res *response) { res.SetStatus(99) }, 500, nil, "*"},
		"status 200":                  {func(res *response) { res.SetStatus(200) }, 500, nil, "*"},
		"status 299":                  {func(res *response) { res.SetStatus(299) }, 500, nil, "*"},
		"status 100":                  {func(res *response) { res.WriteHeader(100) }, 500, nil, "*"},
		"status 600":                  {func(res *response) { res.SetStatus(600) }, 500, nil, "*"},
		"a panic":                     {func(*response) { panic("oops") }, 500, nil, "*"},
		"a panic after a decision":    {func(res *response) { res.SetStatus(403).WriteString("half"); panic("oops") }, 500, nil, "*"},
		"CR LF in a value":            {func(res *response) { res.SetHeader("X-A", "b\r\nSet-Cookie: evil=1") }, 500, []string{"-X-A", "-Set-Cookie"}, "*"},
		"CR LF past the checks":       {func(res *response) { res.Header()["X-A"] = []string{"b\r\nSet-Cookie: evil=1"} }, 500, []string{"-X-A", "-Set-Cookie"}, "*"},
		"LF in a refusal":             {func(res *response) { res.SetHeader("X-A", "b\nc").SetStatus(403).End("x") }, 500, []string{"-X-A"}, "*"},
		"NUL in a value":              {func(res *response) { res.AddHeader("X-A", "\x00") }, 500, []string{"-X-A"}, "*"},
		"a name that is no token":     {func(res *response) { res.Header()["X A"] = []string{"b"} }, 500, nil, "*"},
		"an invalid cookie":           {func(res *response) { res.SetCookie(&http.Cookie{Name: "a;b"}) }, 500, []string{"-Set-Cookie"}, "*"},
	}
	s := serve(t, byHost, &recorder{onHandshake: func(req *aerys.Request, res *aerys.Response) {
		if test, ok := tests[req.Param("test")]; ok {
			test.do(res)
		}
	}}, ws.Options{})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := s.connect(t)
			p.write([]byte(upgrade("GET /?test=" + strings.ReplaceAll(name, " ", "+") + " HTTP/1.1")))
			if test.status == http.StatusSwitchingProtocols {
				p.expectSwitch()
				p.leave()
				return
			}
			res := p.response()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != test.status || test.body != "*" && string(body) != test.body {
				t.Errorf("%s, %s; want %d, %s", res.Status, brief(0, string(body)), test.status, brief(0, test.body))
			}
			checkFields(t, res.Header, test.fields...)
			p.expectHandshake()
		})
	}
}

// OnHandshake aborts a request as any action does.
func TestOnHandshakeAborts(t *testing.T) {
	t.Parallel()
	s := serve(t, byHost, &recorder{onHandshake: func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) }}, ws.Options{})
	p := s.connect(t)
	p.write([]byte(upgrade()))
	p.expectEOF()
}

// Fields and cookies go out with the 101, save those that are the protocol's.
func TestSwitchFields(t *testing.T) {
	t.Parallel()
	for _, at := range []setting{byHTTP, byHost} {
		t.Run(at.name, func(t *testing.T) {
			s := serve(t, at, &recorder{onHandshake: func(req *aerys.Request, res *aerys.Response) {
				res.SetHeader("X-Room", req.Param("room")).AddHeader("X-Tag", "a").AddHeader("X-Tag", "b")
				res.SetCookie(&http.Cookie{Name: "a", Value: "1", HttpOnly: true}).SetCookie(&http.Cookie{Name: "b", Value: "2"})
				for _, name := range []string{"Upgrade", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding",
					"Sec-WebSocket-Accept", "Sec-WebSocket-Extensions"} {
					res.SetHeader(name, "7")
				}
				res.Header()["sec-websocket-ACCEPT"] = []string{"7"} // as no setter writes it
			}}, ws.Options{})
			p := s.connect(t)
			p.write([]byte(upgrade("GET /?room=7 HTTP/1.1")))
			h := p.expectSwitch().Header
			checkFields(t, h, "X-Room: 7", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Accept: "+sampleAccept,
				"-Sec-WebSocket-Protocol", "-Sec-WebSocket-Extensions", "-Content-Length", "-Content-Type", "-Transfer-Encoding")
			if got := fmt.Sprint(h["X-Tag"], h["Set-Cookie"]); got != "[a b] [a=1; HttpOnly b=2]" {
				t.Error(got)
			}
		})
	}
}

// The subprotocol that OnHandshake sets wins, if the client offers it (RFC 6455 §4.1).
func TestOnHandshakeChoosesSubprotocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, offered string
		set           []string
		want          string
		logged        bool
	}{
		{"none", "chat, chess", nil, "chat", false},
		{"the other of the endpoint's", "chat, chess", []string{"chess"}, "chess", false},
		{"one that the endpoint does not list", "chat, , v2.go", []string{"v2.go"}, "v2.go", false},
		{"where the endpoint knows none", "v1.go, v2.go", []string{"v2.go"}, "v2.go", false},
		{"one that is not offered", "chat", []string{"chess"}, "chat", true},
		{"one where none is offered", "", []string{"chess"}, "", true},
		{"in other case", "v2.go", []string{"V2.GO"}, "", true},
		{"two in one", "chat, chess", []string{"chess, chat"}, "chat", true},
		{"two", "chat, chess", []string{"chess", "chat"}, "chat", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				var log lockedBuffer
				s := serve(t, at, &recorder{onHandshake: func(_ *aerys.Request, res *aerys.Response) {
					for _, name := range test.set {
						res.AddHeader("Sec-WebSocket-Protocol", name)
					}
				}}, ws.Options{Subprotocols: []string{"chat", "chess"}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				p := s.connect(t)
				p.write([]byte(p.handshake("Sec-WebSocket-Protocol: " + test.offered)))
				want := "Sec-WebSocket-Protocol: " + test.want
				if test.want == "" {
					want = "-Sec-WebSocket-Protocol"
				}
				checkFields(t, p.expectSwitch().Header, want)
				if info, _ := s.Info(p.id()); info.Subprotocol != test.want {
					t.Errorf("Info tells %q, want %q", info.Subprotocol, test.want)
				}
				p.leave()
				if got := log.String(); strings.Contains(got, "level=ERROR") != test.logged || test.logged && !strings.Contains(got, test.set[0]) {
					t.Errorf("the log says %q", got)
				}
			})
		})
	}
}

// Middleware may touch the response's header when the gateway has returned: the
// 101 is what it was by then, whoever sends it.
func TestHeaderIsSetAfterHandshake(t *testing.T) {
	t.Parallel()
	timing := func(next aerys.Handler) aerys.Handler {
		return handlerFunc(func(req *aerys.Request, res *aerys.Response) {
			next.Serve(req, res)
			for i := range 20 {
				res.Header().Set(fmt.Sprint("Server-Timing-", i), "late")
			}
			res.Header().Del("X-Early")
		})
	}
	mounts := map[string]func(*ws.Gateway) aerys.Action{
		"before a route": func(g *ws.Gateway) aerys.Action { return new(aerys.Host).Use(timing, aerys.Router().Get("/chat", g)) },
		"of net/http": func(g *ws.Gateway) aerys.Action {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				g.ServeHTTP(w, r)
				w.Header().Set("Server-Timing", "late")
			})
		},
	}
	everywhere(t, func(t *testing.T, at setting) {
		for name, mount := range mounts {
			t.Run(name, func(t *testing.T) {
				at.mount = mount
				s := serve(t, at, &recorder{onHandshake: func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("X-Early", "1") }}, unlimited)
				var clients sync.WaitGroup
				for range 4 {
					clients.Add(1)
					go func() {
						defer clients.Done()
						for range 5 {
							p := s.connect(t)
							p.nc.Write([]byte(p.handshake()))
							res, err := http.ReadResponse(p.reader, nil)
							if err != nil || res.StatusCode != 101 || res.Header.Get("X-Early") != "1" || strings.Contains(fmt.Sprint(res.Header), "late") {
								t.Error(res, err)
							}
							p.nc.Close()
						}
					}()
				}
				clients.Wait()
			})
		}
	})
}
