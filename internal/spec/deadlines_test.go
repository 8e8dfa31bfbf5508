package spec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
)

// TestDeadlinesOfHandlers: those that a handler sets by http.ResponseController
// hold, whatever the server has in place for those who set none, which would end
// each of these requests otherwise.
func TestDeadlinesOfHandlers(t *testing.T) {
	const timeout = time.Second
	const long = 15 // timeouts: a handler without a deadline waits for 10 at most
	reads := func(deadlines ...time.Duration) aerys.Action {
		return func(w http.ResponseWriter, r *http.Request) {
			for i, in := range deadlines {
				deadline := time.Time{}
				if in != 0 {
					deadline = time.Now().Add(in)
				}
				http.NewResponseController(w).SetReadDeadline(deadline)
				if i < len(deadlines)-1 {
					io.ReadFull(r.Body, make([]byte, 1))
				}
			}
			rest, err := io.ReadAll(r.Body)
			fmt.Fprint(w, len(rest), " ", errors.Is(err, os.ErrDeadlineExceeded))
		}
	}
	var begun, all sync.WaitGroup
	passed := make(chan struct{})
	begins := func(*aerys.Request, *aerys.Response) { begun.Done() }
	s, dialers := both(t, timed, aerys.Options{ConnectionTimeout: timeout}, begins, aerys.Router().
		Post("/none", reads(0)).Post("/none/later", reads(time.Hour, 0)).Post("/hour", reads(time.Hour)).
		Post("/past", reads(-time.Hour)).Post("/then/past", reads(time.Hour, -time.Hour)).
		Post("/past/then/none", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Hour))
			r.Body.Read(make([]byte, 1))
			reads(0).(func(http.ResponseWriter, *http.Request))(w, r)
		}))
	for over, dial := range dialers {
		for path, want := range map[string]string{
			"/none": "10 false", "/none/later": "9 false", "/hour": "10 false",
			"/past": "1 true", "/then/past": "0 true", "/past/then/none": "9 false",
		} {
			begun.Add(1)
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1", path)
				if !strings.HasSuffix(want, "true") {
					<-passed
					io.WriteString(conn, "234567890")
				}
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Errorf("%s, %s: %v", path, over, err)
				} else if got := bodyOf(answer); got != want {
					t.Errorf("%s, %s: got %s, want %s", path, over, got, want)
				}
			}()
		}
	}
	begun.Wait()
	s.pass(long)
	close(passed)
	all.Wait()
}

// TestWriteDeadlinesOfHandlers: likewise. Each client takes nothing for longer
// than one may whose handler sets no deadline.
func TestWriteDeadlinesOfHandlers(t *testing.T) {
	const timeout = time.Second
	const size = 30 << 20  // more than fits on the way
	const some = 100 << 10 // that fits, over TLS too
	writes := func(before int, in time.Duration) aerys.Action {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.CopyN(w, zeros{}, int64(before))
			deadline := time.Time{}
			if in != 0 {
				deadline = time.Now().Add(in)
			}
			http.NewResponseController(w).SetWriteDeadline(deadline)
			io.CopyN(w, zeros{}, int64(size-before))
		}
	}
	var begun, all sync.WaitGroup
	passed := make(chan struct{})
	s, dialers := both(t, timed, aerys.Options{ConnectionTimeout: timeout}, aerys.Router().
		Get("/none", writes(0, 0)).Get("/none/later", writes(some, 0)).
		Get("/hour", writes(0, time.Hour)).Get("/hour/later", writes(some, time.Hour)).
		Get("/soon", writes(some, 1)))
	for over, dial := range dialers {
		for path, whole := range map[string]bool{"/none": true, "/none/later": true, "/hour": true, "/hour/later": true, "/soon": false} {
			begun.Add(1)
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path)
				reader := bufio.NewReader(conn)
				reader.Peek(1)
				begun.Done()
				<-passed
				n, _ := io.Copy(io.Discard, reader)
				if n >= size != whole {
					t.Errorf("%s, %s: %d bytes of %d", path, over, n, size)
				}
			}()
		}
	}
	begun.Wait()
	s.pass(15)
	close(passed)
	all.Wait()
}

// zeros has no end.
type zeros struct{}

// TestReadsAfterTheHandler: what a goroutine does with the body of a request that
// is over does not keep the connection from being closed when it is idle.
func TestReadsAfterTheHandler(t *testing.T) {
	again, read := make(chan struct{}), make(chan error)
	late := func(req *aerys.Request, res *aerys.Response) {
		body := req.Request.Body
		go func() {
			<-again
			_, err := io.ReadAll(body)
			read <- err
		}()
		res.End("x")
	}
	s, dialers := both(t, timed, aerys.Options{}, late)
	for over, dial := range dialers {
		conn := dial()
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234567890")
		reader := bufio.NewReader(conn)
		if _, err := http.ReadResponse(reader, nil); err != nil {
			t.Fatal(over, err)
		}
		again <- struct{}{}
		if err := <-read; !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("%s: a late read: %v", over, err)
		}
		s.passWhile(func() {
			if _, err := io.Copy(io.Discard, reader); err != nil {
				t.Errorf("%s: the idle connection: %v", over, err)
			}
		})
	}
}

// TestHijackedRequestsWithBodies: a connection that a handler has taken over has
// no deadline but those of its owner, whether the body was read before, and
// though a deadline was in place.
func TestHijackedRequestsWithBodies(t *testing.T) {
	t.Parallel()
	const timeout = 200 * time.Millisecond
	hijack := func(before func(http.ResponseWriter, *http.Request)) aerys.Action {
		return func(w http.ResponseWriter, r *http.Request) {
			before(w, r)
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go echoMark(conn, buffered.Reader)
		}
	}
	var all sync.WaitGroup
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: timeout}, aerys.Router().
		Post("/unread", hijack(func(w http.ResponseWriter, r *http.Request) {})).
		Post("/read", hijack(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })).
		Post("/some", hijack(func(w http.ResponseWriter, r *http.Request) { r.Body.Read(make([]byte, 1)) })).
		Post("/closed", hijack(func(w http.ResponseWriter, r *http.Request) { r.Body.Close() })).
		Post("/deadline", hijack(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(timeout))
		})))
	for over, dial := range dialers {
		for _, path := range []string{"/unread", "/read", "/some", "/closed", "/deadline"} {
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", path)
				time.Sleep(6 * timeout)
				io.WriteString(conn, "!")
				if received, err := io.ReadAll(conn); string(received) != "!" || err != nil {
					t.Errorf("%s, %s: %q, %v", path, over, received, err)
				}
			}()
		}
	}
	all.Wait()
}

// echoMark sends back the exclamation mark that it waits for.
func echoMark(conn net.Conn, reader *bufio.Reader) {
	defer conn.Close()
	if _, err := reader.ReadString('!'); err != nil {
		fmt.Fprint(conn, err)
		return
	}
	io.WriteString(conn, "!")
}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
