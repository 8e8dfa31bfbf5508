package aerys

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

func TestQueryAndCookies(t *testing.T) {
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		got := fmt.Sprint(q.Param("a"), q.Params("a"), q.Params("none"), q.Param("none"), q.AllParams(), q.CookieValue("c"), q.CookieValue("none"))
		if want := fmt.Sprint("1&", []string{"1&", "2"}, []string(nil), "", map[string][]string{"a": {"1&", "2"}, "b": {""}}, "x y", ""); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	server.raw(t, "GET /?a=1%26&b&a=2&%zz=3 HTTP/1.1\nCookie: b=1; c=\"x y\"; c=2", "")
}

func TestLocals(t *testing.T) {
	type key struct{}
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		if q.Local(key{}) != nil {
			t.Error("left by another request:", q.Local(key{}))
		}
		q.SetLocal(key{}, 1)
		if q.Local(key{}) != 1 || q.Local("key") != nil {
			t.Error(q.Local(key{}))
		}
	})
	for range 3 {
		server.get(t)
	}
}

func TestConnectionInfo(t *testing.T) {
	var info ConnectionInfo
	action := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := newExchange(w, r, Options{}.withDefaults())
		info = x.request.Info()
		x.finish()
		x.close()
	})
	get := func(server *httptest.Server) {
		response, err := server.Client().Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	t.Run("TCP", func(t *testing.T) {
		server := httptest.NewServer(action)
		defer server.Close()
		get(server)
		if info.Server != netip.MustParseAddrPort(server.Listener.Addr().String()) || info.Client.Addr() != info.Server.Addr() ||
			info.Client.Port() == 0 || info.Encrypted || info.TLS != nil || info.Protocol != "HTTP/1.1" || info.Socket != "" {
			t.Errorf("%+v", info)
		}
	})
	t.Run("TLS and HTTP/2", func(t *testing.T) {
		server := httptest.NewUnstartedServer(action)
		server.EnableHTTP2 = true
		server.StartTLS()
		defer server.Close()
		get(server)
		if !info.Encrypted || info.TLS.Version < tls.VersionTLS12 || info.Protocol != "HTTP/2.0" {
			t.Errorf("%+v", info)
		}
	})
	t.Run("Unix socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(action)
		server.Listener = listener
		server.Start()
		defer server.Close()
		connection, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(connection, "GET / HTTP/1.0\r\n\r\n")
		io.ReadAll(connection)
		if info.Socket != path || info.Client.IsValid() || info.Server.IsValid() || info.Protocol != "HTTP/1.0" {
			t.Errorf("%+v", info)
		}
	})
	t.Run("IPv4 on a dual-stack socket", func(t *testing.T) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = "[::ffff:192.0.2.1]:5"
		action(httptest.NewRecorder(), r)
		if info.Client != netip.MustParseAddrPort("192.0.2.1:5") {
			t.Errorf("%+v", info)
		}
	})
}

// TestBodyLimit has how much of a body can be read, and what is answered.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	readAll := func(max ...int64) func(*Request, *Response) {
		return func(q *Request, r *Response) {
			body, err := io.ReadAll(q.Body(max...))
			fmt.Fprint(r, len(body), " ", err)
		}
	}
	const tooLarge = "aerys: the request's body is too large: more than MaxBodySize "
	for _, test := range []struct {
		name   string
		action func(*Request, *Response)
		size   int
		status int
		answer string
		closes bool
	}{
		{"none", readAll(), 0, 200, "0 <nil>", false},
		{"below", readAll(), 9, 200, "9 <nil>", false},
		{"at the limit", readAll(), 10, 200, "10 <nil>", false},
		{"above", readAll(), 11, 413, tooLarge + "(10) allows", true},
		{"far above", readAll(), 1 << 20, 413, tooLarge + "(10) allows", true},
		{"raised", readAll(20), 20, 200, "20 <nil>", false},
		{"above what it was raised to", readAll(20), 21, 413, tooLarge + "(20) allows", true},
		{"lowered", readAll(5), 6, 413, tooLarge + "(5) allows", true},
		{"no limit", readAll(-1), 1 << 20, 200, "1048576 <nil>", false},
		{"not read", func(_ *Request, r *Response) { r.End("x") }, 11, 200, "x", false},
		{"by net/http", func(q *Request, r *Response) {
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				fmt.Fprint(w, len(body), " ", err)
			}).ServeHTTP(r, q.Request)
		}, 11, 413, tooLarge + "(10) allows", true},
		{"nothing answered", func(q *Request, r *Response) { io.ReadAll(q.Body()) }, 11, 413, "413 Request Entity Too Large", true},
		{"the handler's own status", func(q *Request, r *Response) { io.ReadAll(q.Body()); r.SetStatus(400).End("x") }, 11, 400, "x", true},
		{"read on", func(q *Request, r *Response) {
			io.ReadAll(q.Body())
			n, err := q.Body(100).Read(make([]byte, 10))
			fmt.Fprint(r, n, " ", err)
		}, 11, 413, "0 " + tooLarge + "(10) allows", true},
	} {
		for _, chunked := range []bool{false, true} {
			server := serveExchange(t, Options{MaxBodySize: 10}, test.action)
			var body io.Reader = strings.NewReader(strings.Repeat("x", test.size))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			response, err := http.Post(server.URL, "", body)
			if err != nil {
				t.Error(test.name, err)
				continue
			}
			answer, _ := io.ReadAll(response.Body)
			if response.StatusCode != test.status || !strings.Contains(string(answer), test.answer) || response.Close != test.closes {
				t.Errorf("%s, chunked %t: %d, closes %t, %q", test.name, chunked, response.StatusCode, response.Close, answer)
			}
		}
	}
}

// TestBodyNotReadToItsEnd: what follows a body over the limit stays unread,
// and a client that waits for leave to send (RFC 9110 §10.1.1) does not get it.
func TestBodyNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"200000", "100000000000", "200000\nExpect: 100-continue"} {
		server := serveExchange(t, Options{}, func(q *Request, r *Response) { io.ReadAll(q.Body()) })
		answer := server.raw(t, "POST / HTTP/1.1\nContent-Length: "+header, "unfinished")
		if !strings.HasPrefix(answer, "HTTP/1.1 413 ") || strings.Contains(answer, "100 Continue") {
			t.Errorf("%q", answer)
		}
	}
}

func TestNoBody(t *testing.T) {
	x := newExchange(httptest.NewRecorder(), &http.Request{}, Options{}.withDefaults())
	if body, err := io.ReadAll(x.request.Body(5)); len(body) != 0 || err != nil {
		t.Error(body, err)
	}
}

// TestLimitedOnce: an exchange within another one shares its limit.
func TestLimitedOnce(t *testing.T) {
	options := Options{MaxBodySize: 4}.withDefaults()
	writer := httptest.NewRecorder()
	outer := newExchange(writer, httptest.NewRequest("POST", "/", strings.NewReader("12345")), options)
	inner := newExchange(&outer.response, outer.request.Request, options)
	if body, err := io.ReadAll(inner.request.Body(5)); string(body) != "12345" || err != nil {
		t.Error(body, err)
	}
	inner.finish()
	outer.finish()
	if writer.Code != 404 || strings.Count(writer.Body.String(), "<h1>") != 1 {
		t.Error(writer.Code, writer.Body)
	}
}
