package spec

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aerys"
)

// TestHostileRequests sends what broke others, each over a connection of its
// own, and counts what reached a handler.
func TestHostileRequests(t *testing.T) {
	var served atomic.Int64
	s := run(t, aerys.Options{MaxBodySize: 1000}, at(
		func(*aerys.Request, *aerys.Response) { served.Add(1) },
		aerys.Router().Get("/slash/?", says("")).Get("//evil.com/?", says("")).Post("/smuggled", says("smuggled")),
		func(req *aerys.Request, res *aerys.Response) {
			if req.URL.Path == "/panic" {
				panic("x")
			}
			if _, err := io.Copy(io.Discard, req.Body()); err != nil && !errors.Is(err, aerys.ErrBodyTooLarge) {
				res.SetStatus(400).End("bad body")
			} else if err == nil {
				res.End("ok " + req.RemoteAddr)
			}
		}))
	second := "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	with := func(first, header string, body ...string) string {
		return first + " HTTP/1.1\r\nHost: a\r\n" + header + "\r\n\r\n" + strings.Join(body, "")
	}
	for _, test := range []struct {
		name, request string
		status        int
		served        int64
	}{
		{"OPTIONS with a request inside", with("OPTIONS /x", fmt.Sprint("Connection: close\r\nContent-Length: ", len(second)), second), 200, 1},
		{"Content-Length and Transfer-Encoding", with("POST /x", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", second), 400, 0},
		{"Transfer-Encoding twice", with("POST /x", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", second), 501, 0},
		{"Transfer-Encoding, odd", with("POST /x", "Transfer-Encoding: xchunked", "0\r\n\r\n", second), 501, 0},
		{"two Content-Lengths", with("POST /x", "Content-Length: 5\r\nContent-Length: 0", second), 400, 0},
		{"Content-Length with sign", with("POST /x", "Content-Length: +5", "12345", second), 400, 0},
		{"bare LF after a chunk size", with("POST /x", "Transfer-Encoding: chunked", "0\n\r\n", second), 400, 1},
		{"chunk too large for an int64", with("POST /x", "Transfer-Encoding: chunked", "10000000000000000\r\n", second), 400, 1},
		{"space before the colon", with("GET /x", "Content-Length : 5", second), 400, 0},
		{"NUL in a field", with("GET /x", "A: \x00", second), 400, 0},
		{"no leading slash", with("GET -private/key", "A: b", second), 400, 0},
		{"body over the limit", with("POST /x", "Content-Length: 2000000", strings.Repeat("x", 2000000)), 413, 1},
		{"panic", with("GET /panic", "Connection: close"), 500, 1},
		{"forged X-Forwarded-For", with("GET /x", "Connection: close\r\nX-Forwarded-For: 6.6.6.6"), 200, 1},
		{"canonical slash", with("GET //evil.com/", "Connection: close"), 302, 1},
		{"canonical backslash", with("GET /\\evil.com/", "Connection: close"), 200, 1},
		{"2,000 fields", with("GET /x", strings.Repeat("Field-Name: some value\r\n", 2000)+"A: b", second), 431, 0},
		{"20 MB header", with("GET /x", "A: "+strings.Repeat("x", 20<<20)), 431, 0},
		{"HTTP/3.0", "GET /x HTTP/3.0\r\nHost: a\r\n\r\n", 505, 0},
		{"TRACE", with("TRACE /x", "Connection: close"), 405, 0},
		{"a method nobody knows", with("BREW /x", "Connection: close"), 501, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := served.Load()
			text := converse(t, s.addresses[0], test.request)
			status := 0
			fmt.Sscanf(text, "HTTP/1.1 %d", &status)
			if status != test.status {
				t.Errorf("status %d, want %d: %.200q", status, test.status, text)
			}
			if n := served.Load() - before; n != test.served {
				t.Errorf("%d requests were served, want %d", n, test.served)
			}
			if strings.Contains(text, "6.6.6.6") || strings.Contains(text, "smuggled") || strings.Contains(text, "Location: //") {
				t.Errorf("answered %q", text)
			}
		})
	}
	if n := s.connections().Received; n > 1<<20 { // of 22 MB
		t.Errorf("%d bytes were read", n)
	}
	if _, body := statusAndBody(t, s.get(t, "/")); !strings.HasPrefix(body, "ok 127.0.0.1:") {
		t.Errorf("afterwards: %q", body)
	}
}

func TestHalfOpenConnectionsAreClosed(t *testing.T) {
	s := run(t, aerys.Options{ConnectionTimeout: time.Second, IdleTimeout: time.Second}, local("x"))
	for name, feed := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"one byte at a time": func(conn net.Conn) {
			for _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nA: "); err == nil; _, err = conn.Write([]byte{'x'}) {
				time.Sleep(10 * time.Millisecond) // the attack itself
			}
		},
		"idle after a request":     func(conn net.Conn) { io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
		"HTTP/2 without a request": func(conn net.Conn) { io.WriteString(conn, begin("")) },
		"HTTP/2, an endless header": func(conn net.Conn) {
			io.WriteString(conn, begin("")+frame(headersFrame, 0, 1, "\x82"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s.addresses[0])
			began := time.Now()
			go feed(conn)
			if _, err := io.Copy(io.Discard, conn); err != nil && err.(net.Error).Timeout() {
				t.Error("not closed")
			}
			if spent := time.Since(began); spent > 4*time.Second {
				t.Errorf("closed after %v", spent)
			}
		})
	}
}
