package spec

import (
	"bufio"
	"bytes"
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

// TestSilentClientsAreClosed has clients wait for answers to requests that they
// do not finish: all get them, if there are any, and all connections end.
func TestSilentClientsAreClosed(t *testing.T) {
	s, dialers := both(t, timed, aerys.Options{}, bodyless(t)...)
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
	s.passWhile(all.Wait)
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

// hold sends the beginning of a request and waits for the end of the connection.
func hold(conn net.Conn, text string, status int) (wrong string) {
	defer conn.Close()
	io.WriteString(conn, text)
	received, err := io.ReadAll(conn)
	if isTimeout(err) {
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

// TestDrippingClientsAreClosed: who sends what no handler reads a byte at a time
// is not waited for without end.
func TestDrippingClientsAreClosed(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	var all sync.WaitGroup
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: timeout}, bodyless(t)...)
	for over, dial := range dialers {
		for _, request := range []string{
			"POST /small", "POST /large", "POST /401", "POST /flush", "POST /close", "POST /duplex", "POST /forever",
			"POST /abort", "POST /panic", "POST /nowhere", "OPTIONS *", "POST http://b/", "GET /file",
		} {
			for _, header := range []string{"Content-Length: 100000", "Content-Length: 100000\r\nExpect: x",
				"Content-Length: 100000\r\nExpect: 100-continue", "Content-Length: 100000\r\nConnection: close"} {
				all.Add(1)
				go func() {
					defer all.Done()
					conn := dial()
					fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", request, header)
					go func() {
						for {
							if _, err := conn.Write([]byte("x")); err != nil {
								return
							}
							time.Sleep(timeout / 4) // the attack itself
						}
					}()
					if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
						t.Errorf("%s, %s, %s: not closed", request, header, over)
					}
				}()
			}
		}
	}
	all.Wait()
}

// TestSlowClientsAreWaitedFor: those that make progress are, at the edge of what
// the options promise: what a handler reads may come in parts that take nearly
// ten times ConnectionTimeout together, and what nobody reads in parts that take
// nearly one each.
func TestSlowClientsAreWaitedFor(t *testing.T) {
	const timeout = 10 // seconds
	s, dialers := both(t, timed, aerys.Options{ConnectionTimeout: timeout * time.Second}, aerys.Router().
		Post("/read", func(req *aerys.Request, res *aerys.Response) {
			n, err := io.Copy(io.Discard, req.Body())
			res.End(fmt.Sprint(n, " ", err))
		}).
		Post("/ignore", says("4 <nil>")))
	for _, test := range []struct {
		path   string
		parts  int
		pause  int // seconds
		header string
	}{
		{"/read", 2, 4 * timeout, "Content-Length: 4"},
		{"/read", 2, 4 * timeout, "Content-Length: 4\r\nExpect: 100-continue"},
		{"/ignore", 4, timeout - 2, "Content-Length: 4"},
	} {
		for over, dial := range dialers {
			conn := dial()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.path, test.header)
			for range test.parts {
				s.pass(test.pause)
				io.WriteString(conn, strings.Repeat("x", 4/test.parts))
			}
			answer, err := final(bufio.NewReader(conn))
			if err != nil || answer.Close || bodyOf(answer) != "4 <nil>" {
				t.Errorf("%s, %s, %s: %+v, %v", test.path, test.header, over, answer, err)
			}
		}
	}
}

// TestHoldersMakeRoom: as many as there may be connections do not keep others
// out for longer than ConnectionTimeout lets them.
func TestHoldersMakeRoom(t *testing.T) {
	t.Parallel()
	const most = 500
	const timeout = 500 * time.Millisecond
	s := run(t, aerys.Options{MaxConnections: most, ConnectionTimeout: timeout},
		at(bodyless(t)...).Name("a"))
	for n := range most {
		conn := dial(t, s.addresses[0])
		ways := []string{"GET /large", "GET /flush", "GET /file", "OPTIONS *", "POST http://b/", "POST /abort", "POST /close"}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", ways[n%len(ways)])
	}
	for end := time.Now().Add(30 * timeout); !getsIn(s.addresses[0], end); time.Sleep(timeout / 10) {
		if time.Now().After(end) {
			t.Fatal("nobody else gets in")
		}
	}
}

func getsIn(address net.Addr, end time.Time) bool {
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(end)
	_, _, err = ask(conn, bufio.NewReader(conn), request("a", "/small"))
	return err == nil
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
	s, dialers := both(t, timed, aerys.Options{ConnectionTimeout: time.Second}, aerys.Router().
		Post("/answer", late(10, false)).Post("/much", late(20_000, false)).Post("/read", late(10, true)))
	for over, dial := range dialers {
		for _, path := range []string{"/answer", "/much", "/read"} {
			for _, size := range []int{0, 10, 100_000} {
				begun.Add(1)
				all.Add(1)
				go func() {
					defer all.Done()
					conn := dial()
					answer, _, err := ask(conn, bufio.NewReader(conn), post(path, size))
					if err != nil || answer.StatusCode != 200 || answer.Close {
						t.Errorf("%s of %d bytes, %s: %+v, %v", path, size, over, answer, err)
					}
				}()
			}
		}
	}
	begun.Wait()
	s.pass(60)
	close(passed)
	all.Wait()
	ended.Range(func(path, _ any) bool { t.Errorf("%s: the context ended", path); return true })
}

func TestUnreadBodiesDoNotHoldConnections(t *testing.T) {
	s := timed(t, aerys.Options{}, local("x"))
	var text string
	s.passWhile(func() {
		text = converse(t, s.addresses[0], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly this")
	})
	if status, _ := statusAndBody(t, text); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestStalledBodiesFail(t *testing.T) {
	begun, passed := make(chan struct{}), make(chan struct{})
	s := timed(t, aerys.Options{ConnectionTimeout: time.Second}, at(func(req *aerys.Request, res *aerys.Response) {
		begun <- struct{}{}
		n, err := io.Copy(io.Discard, req.Body())
		if err == nil { // the deadline is gone: this would end the request
			select {
			case <-req.Context().Done():
				err = req.Context().Err()
			case <-passed:
			}
		}
		res.End(fmt.Sprint(n, " ", err != nil))
	}))
	for rest, want := range map[string]string{"": "5 true", "-rest": "10 false"} {
		text := make(chan string)
		go func() {
			text <- converse(t, s.addresses[0], "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345"+rest)
		}()
		<-begun
		s.pass(2 * waited)
		select {
		case passed <- struct{}{}:
		default: // it has failed
		}
		if _, body := statusAndBody(t, <-text); body != want {
			t.Errorf("%q: %q, want %q", rest, body, want)
		}
	}
}

// TestLongRequests keeps requests under way for longer than ConnectionTimeout.
func TestLongRequests(t *testing.T) {
	const timeout = 50 * time.Millisecond
	s := run(t, aerys.Options{ConnectionTimeout: timeout}, at(func(req *aerys.Request, res *aerys.Response) {
		select {
		case <-time.After(3 * timeout):
			res.End("ok")
		case <-req.Context().Done():
			t.Errorf("%s: cut off", req.Proto)
		}
	}))
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2"} {
		response, err := client(t, protocol).Get(s.url())
		if err != nil {
			t.Fatal(protocol, err)
		}
		response.Body.Close()
	}
}
