package aerys_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/static"
)

// bodyless are handlers that do not read a body, each by its path.
func bodyless(t *testing.T) []aerys.Action {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	actions := map[string]aerys.Action{
		"/small":    says("x"),
		"/large":    says(strings.Repeat("x", 10_000)),
		"/401":      refusing(401, 10),
		"/large401": refusing(401, 100_000),
		"/abort":    func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) },
		"/panic":    func(*aerys.Request, *aerys.Response) { panic("x") },
		"/flush":    func(_ *aerys.Request, res *aerys.Response) { res.Flush(); res.End("x") },
		"/close": func(w http.ResponseWriter, r *http.Request) {
			defer r.Body.Close()
			http.Error(w, "want JSON", 415)
		},
		"/duplex": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "x")
		},
		"/forever": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Time{})
		},
		"/read": func(req *aerys.Request, res *aerys.Response) {
			_, err := io.Copy(io.Discard, req.Body(-1))
			res.SetStatus(400).End(fmt.Sprint(err))
		},
	}
	router := aerys.Router().Post("/post", says("x")).Put("/401", refusing(401, 10))
	for path, action := range actions {
		for _, method := range []string{"GET", "POST"} {
			router.Route(method, path, action)
		}
	}
	return []aerys.Action{router, static.Root(dir)}
}

func refusing(status, size int) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(status).End(strings.Repeat("x", size)) }
}

// both serves actions in clear and over TLS, and returns how to connect.
func both(t *testing.T, options aerys.Options, actions ...aerys.Action) map[string]func() net.Conn {
	_, dialers := bothOf(t, options, actions...)
	return dialers
}

// bothOf returns the server, too.
func bothOf(t *testing.T, options aerys.Options, actions ...aerys.Action) (*aerys.Server, map[string]func() net.Conn) {
	certFile, keyFile := aerys.WriteCertificate(t, t.TempDir(), "a")
	server, addresses := serve(t, options,
		new(aerys.Host).Name("a").Expose("127.0.0.1", 0).Use(actions...),
		new(aerys.Host).Name("a").Expose("::1", 0).Encrypt(certFile, keyFile).Use(actions...))
	var handshake sync.Mutex
	connect := func(address net.Addr) net.Conn {
		conn, err := net.Dial("tcp", address.String())
		if err != nil {
			panic(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	return server, map[string]func() net.Conn{
		"in clear": func() net.Conn { return connect(addresses[0]) },
		"over TLS": func() net.Conn {
			handshake.Lock() // many at once would take too long
			defer handshake.Unlock()
			for tries := 0; ; tries++ { // a busy machine may be late
				conn := tls.Client(connect(addresses[1]), &tls.Config{InsecureSkipVerify: true})
				if err := conn.Handshake(); err == nil || tries == 5 {
					return conn
				}
			}
		},
	}
}

// holders are requests that promise a body, and do not send it. Each is a
// request line and the status that it gets, 0 if none.
var holders = []struct {
	name, line, header string
	status             int
}{
	{"a small answer", "GET /small", "", 200},
	{"an answer of 10 KB", "GET /large", "", 200},
	{"an error", "POST /401", "", 401},
	{"an error of 100 KB", "POST /large401", "", 401},
	{"a handler that flushes", "GET /flush", "", 200},
	{"a static file of 100 KiB", "GET /file", "", 200},
	{"a static file, its header", "HEAD /file", "", 200},
	{"a static file, by a wrong method", "POST /file", "", 405},
	{"a route, by a wrong method", "GET /post", "", 405},
	{"a method that is not allowed", "TRACE /small", "", 405},
	{"a method that nobody knows", "BREW /small", "", 501},
	{"no route", "POST /nowhere", "", 404},
	{"the server as a whole", "OPTIONS *", "", 200},
	{"an unknown host", "POST http://b/small", "", 400},
	{"a handler that aborts", "POST /abort", "", 0},
	{"a handler that panics", "POST /panic", "", 500},
	{"a handler that closes the body", "POST /close", "", 415},
	{"a handler that could read on", "POST /duplex", "", 200},
	{"a handler that wants no deadline", "POST /forever", "", 200},
	{"a handler that reads", "POST /read", "", 400},
	{"an expectation that is none", "POST /small", "Expect: x\r\n", 417},
	{"an expectation", "POST /small", "Expect: 100-continue\r\n", 200},
	{"an expectation that is met", "POST /read", "Expect: 100-continue\r\n", 400},
	{"the last request", "POST /small", "Connection: close\r\n", 200},
}

// promises are the ways to announce a body, with the first of it.
var promises = map[string][2]string{
	"Content-Length":       {"Content-Length: 10\r\n", ""},
	"some of it":           {"Content-Length: 10\r\n", "x"},
	"a long one":           {"Content-Length: 1000000\r\n", "x"},
	"chunked":              {"Transfer-Encoding: chunked\r\n", ""},
	"some of a chunk":      {"Transfer-Encoding: chunked\r\n", "a\r\nx"},
	"a chunk, and no more": {"Transfer-Encoding: chunked\r\n", "1\r\nx\r\n"},
	"no end of trailers":   {"Transfer-Encoding: chunked\r\n", "0\r\n"},
}

// TestSilentClientsAreClosed has clients wait for answers to requests that they
// do not finish: all get them, if there are any, and all connections end.
func TestSilentClientsAreClosed(t *testing.T) {
	server, dialers := bothOf(t, aerys.Options{}, bodyless(t)...)
	var connected, all sync.WaitGroup
	for _, holder := range holders {
		for way, promise := range promises {
			for over, dial := range dialers {
				for _, version := range []string{"HTTP/1.1", "HTTP/1.0"} {
					if version == "HTTP/1.0" && (way != "Content-Length" || strings.Contains(holder.header, "Expect")) {
						continue // it has neither
					}
					text := fmt.Sprintf("%s %s\r\nHost: a\r\n%s%s\r\n%s", holder.line, version, holder.header, promise[0], promise[1])
					connected.Add(1)
					all.Add(1)
					go func() {
						defer all.Done()
						conn := dial()
						connected.Done()
						if wrong := hold(conn, text, holder.status); wrong != "" {
							t.Errorf("%s, %s, %s %s: %s", holder.name, way, version, over, wrong)
						}
					}()
				}
			}
		}
	}
	connected.Wait()
	aerys.PassWhile(server, all.Wait)
}

// hold sends the beginning of a request and waits for the end of the connection.
func hold(conn net.Conn, text string, status int) (wrong string) {
	defer conn.Close()
	io.WriteString(conn, text)
	received, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		return fmt.Sprintf("no end after %.100q", received)
	}
	answer, err := final(bufio.NewReader(bytes.NewReader(received)))
	if err != nil && status != 0 || err == nil && answer.StatusCode != status {
		return fmt.Sprintf("want status %d, got %v, %.100q", status, err, received)
	}
	return ""
}

// final reads the header of an answer that is not interim (RFC 9110 §15.2).
func final(r *bufio.Reader) (*http.Response, error) {
	for {
		if answer, err := http.ReadResponse(r, nil); err != nil || answer.StatusCode >= 200 {
			return answer, err
		}
	}
}
