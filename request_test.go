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
