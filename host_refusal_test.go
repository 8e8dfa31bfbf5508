package aerys_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
)

// TestEarlyAnswers has clients that wait for an answer before they send (more
// of) a body: an error comes at once, and where leave to send was asked for any
// answer; likewise where more than 256 KiB would have to be read. Such an answer
// is the connection's last.
func TestEarlyAnswers(t *testing.T) {
	t.Parallel()
	dialers := both(t, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	var all sync.WaitGroup
	for _, test := range []struct {
		request, body string
		status        int
	}{
		{"POST /401", "Content-Length: 10", 401},
		{"POST /401", "Transfer-Encoding: chunked", 401},
		{"POST /401", "Content-Length: 50000000", 401},
		{"POST /large401", "Content-Length: 10", 401},
		{"POST /nowhere", "Content-Length: 10", 404},
		{"POST /file", "Content-Length: 10", 405},
		{"PUT /small", "Content-Length: 10", 405},
		{"TRACE /small", "Content-Length: 10", 405},
		{"BREW /small", "Content-Length: 10", 501},
		{"POST http://b/", "Content-Length: 10", 400},
		{"POST /close", "Content-Length: 10", 415},
		{"POST /panic", "Content-Length: 10", 500},
		{"POST /small", "Content-Length: 300000", 200},
		{"POST /large", "Content-Length: 300000", 200},
		{"POST /flush", "Content-Length: 300000", 200},
		{"GET /file", "Content-Length: 300000", 200},
		{"OPTIONS *", "Content-Length: 300000", 200},
		{"POST /small", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /large", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /flush", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"OPTIONS *", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 10", 401},
		{"POST /401", "Expect: 100-continue\r\nTransfer-Encoding: chunked", 401},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /large401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /nowhere", "Expect: 100-continue\r\nContent-Length: 10", 404},
		{"POST /file", "Expect: 100-continue\r\nContent-Length: 10", 405},
		{"POST /close", "Expect: 100-continue\r\nContent-Length: 10", 415},
		{"POST /small", "Expect: x\r\nContent-Length: 10", 417},
	} {
		for over, dial := range dialers {
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.request, test.body)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || answer.StatusCode != test.status || !answer.Close {
					t.Errorf("%s, %s, %s: %+v, %v", test.request, test.body, over, answer, err)
				}
			}()
		}
	}
	all.Wait()
}

// TestBodiesOnTheirWay: a connection goes on where the rest of a body, which no
// handler reads, comes in time. Who is refused before all of it is there gets the
// answer, and may have to connect again.
func TestBodiesOnTheirWay(t *testing.T) {
	t.Parallel()
	dialers := both(t, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	for over, dial := range dialers {
		for _, path := range []string{"/small", "/large", "/401", "/large401", "/nowhere", "/close", "/panic", "/file", "/duplex", "/forever"} {
			for _, size := range []int{10, 20_000, 200_000} {
				conn := dial()
				reader := bufio.NewReader(conn)
				for range 2 {
					if conn == nil {
						conn = dial()
						reader.Reset(conn)
					}
					fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", path, size)
					io.WriteString(conn, strings.Repeat("x", size))
					answer, err := http.ReadResponse(reader, nil)
					if err != nil {
						t.Fatalf("%s of %d bytes, %s: %v", path, size, over, err)
					}
					io.Copy(io.Discard, answer.Body)
					if answer.Close && answer.StatusCode < 400 {
						t.Errorf("%s of %d bytes, %s: the connection is closed", path, size, over)
					}
					if answer.Close {
						conn.Close()
						conn = nil
					}
				}
				if conn != nil {
					conn.Close()
				}
			}
		}
	}
}

// TestLateHandlers: a handler may take as long as it likes before it answers, or
// reads what the client has sent meanwhile.
func TestLateHandlers(t *testing.T) {
	var ended sync.Map
	var begun, all sync.WaitGroup
	passed := make(chan struct{})
	late := func(size int, read bool) aerys.Action {
		return func(req *aerys.Request, res *aerys.Response) {
			begun.Done()
			select {
			case <-req.Context().Done():
				ended.Store(req.URL.Path, true)
			case <-passed:
			}
			if read {
				io.Copy(io.Discard, req.Body(-1))
			}
			res.End(strings.Repeat("x", size))
		}
	}
	server, dialers := bothOf(t, aerys.Options{ConnectionTimeout: time.Second}, aerys.Router().
		Post("/answer", late(10, false)).Post("/much", late(20_000, false)).Post("/read", late(10, true)))
	for over, dial := range dialers {
		for _, path := range []string{"/answer", "/much", "/read"} {
			for _, size := range []int{0, 10, 100_000} {
				begun.Add(1)
				all.Add(1)
				go func() {
					defer all.Done()
					conn := dial()
					fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", path, size)
					io.WriteString(conn, strings.Repeat("x", size))
					answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || answer.StatusCode != 200 || answer.Close {
						t.Errorf("%s of %d bytes, %s: %+v, %v", path, size, over, answer, err)
					}
				}()
			}
		}
	}
	begun.Wait()
	aerys.Pass(server, 60)
	close(passed)
	all.Wait()
	ended.Range(func(path, _ any) bool { t.Errorf("%s: the context ended", path); return true })
}

// TestRefusalsArePages: who is refused before his host is known gets the page
// that hosts send.
func TestRefusalsArePages(t *testing.T) {
	_, addresses := serve(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Use(hello))
	for request, want := range map[string]struct{ title, reason string }{
		"GET / HTTP/1.1\r\n\r\n": {"400 Bad Request", "missing required Host header"},
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40_000) + "\r\n\r\n":  {"431 Request Header Fields Too Large", "head too large"},
		"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: x\r\n", 1001) + "\r\n":    {"431 Request Header Fields Too Large", "too many fields"},
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n":                   {"501 Not Implemented", "unsupported transfer encoding"},
		"GET / HTTP/4.0\r\nHost: a\r\n\r\n":                                            {"505 HTTP Version Not Supported", "unsupported protocol version"},
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n":                               {"417 Expectation Failed", ""},
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n": {"400 Bad Request", "more than one Content-Length"},
	} {
		conn, err := net.Dial("tcp", addresses[0].String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, request)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		page := bodyOf(answer)
		if !strings.HasPrefix(answer.Status, want.title) || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" || !answer.Close ||
			!strings.Contains(page, "<h1>"+want.title+"</h1>") || strings.Contains(page, "<pre>") != (want.reason != "") || !strings.Contains(page, want.reason) {
			t.Errorf("%.60q: %v %q", request, answer, page)
		}
		conn.Close()
	}
}
