package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Write(body)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		for _, body := range []string{"", "x", strings.Repeat("abc", 1000), strings.Repeat("0123456789", 100000)} {
			request, _ := http.NewRequest("POST", "http://h/", strings.NewReader(body))
			request.Write(c)
			c.want(200, body)
			request, _ = http.NewRequest("POST", "http://h/", io.MultiReader(strings.NewReader(body)))
			request.Write(c)
			c.want(200, body)
		}
	})
}

// TestHijack: gorilla's, coder's and ReverseProxy's way.
func TestHijack(t *testing.T) {
	onEach(t, greet, func(t *testing.T, r *rig) {
		r.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			stop := context.AfterFunc(q.Context(), func() {}) // somebody watches
			defer stop()
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, isTCP := conn.(*net.TCPConn); r.name == "TCP" && !isTCP {
				t.Errorf("%T", conn)
			}
			line, err := rw.ReadString('\n')
			if err != nil || line != "early\n" {
				t.Errorf("%q %v", line, err)
			}
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nhello\n")
			rw.Flush()
			line, err = rw.ReadString('\n')
			if err != nil || line != "late\n" {
				t.Errorf("%q %v", line, err)
			}
			if _, err := w.Write(nil); err != http.ErrHijacked {
				t.Error(err)
			}
		})
		c := r.dial(t)
		c.send(hello + "early\n")
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil || response.StatusCode != 101 {
			t.Fatal(err)
		}
		if line, _ := c.ReadString('\n'); line != "hello\n" {
			t.Errorf("%q", line)
		}
		c.send("late\n")
		if rest := c.end(); rest != "" {
			t.Errorf("%q", rest)
		}
	})
}

// TestLateCalls: what a handler keeps is of no use after it, and harms nobody.
func TestLateCalls(t *testing.T) {
	kept := make(chan http.ResponseWriter, 1)
	keptRequest := make(chan *http.Request, 1)
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keep" {
			kept <- w
			keptRequest <- r
			io.WriteString(w, "kept")
			return
		}
		late, lateRequest := <-kept, <-keptRequest
		late.Header().Set("X-Late", "late")
		late.WriteHeader(500)
		control := http.NewResponseController(late)
		_, written := io.WriteString(late, "late")
		_, copied := io.Copy(late, strings.NewReader("late"))
		_, _, hijacked := control.Hijack()
		for _, err := range []error{written, copied, hijacked, control.Flush(), control.SetWriteDeadline(time.Unix(1, 0))} {
			if err != ErrHandlerReturned {
				t.Error(err)
			}
		}
		if _, err := lateRequest.Body.Read(make([]byte, 10)); err != http.ErrBodyReadAfterClose {
			t.Error(err)
		}
		if lateRequest.Context().Err() != context.Canceled {
			t.Error("its context goes on")
		}
		io.WriteString(w, "own")
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		for range 3 {
			c.send("POST /keep HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
			c.want(200, "kept")
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
			if c.want(200, "own").Header.Get("X-Late") != "" {
				t.Error("the other's header")
			}
		}
	})
}

func TestTimeoutHandler(t *testing.T) {
	release := make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
			w.Write([]byte("too late"))
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(w, "in time")
	})
	handler := http.TimeoutHandler(slow, 50*time.Millisecond, "timeout")
	onEach(t, handler.ServeHTTP, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody")
		c.want(503, "timeout")
		release <- struct{}{}
		c.send("GET /fast HTTP/1.1\r\nHost: h\r\n\r\n")
		c.want(200, "in time")
	})
}

func TestDeadlinesOfAHandler(t *testing.T) {
	errs := make(chan error, 1)
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		switch r.URL.Path {
		case "/read":
			control.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := io.ReadAll(r.Body)
			errs <- err
		case "/write":
			control.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := w.Write(make([]byte, 64<<20))
			errs <- err
		case "/set":
			control.SetReadDeadline(time.Now().Add(-time.Second))
			control.SetWriteDeadline(time.Now().Add(patient))
		}
	}, func(t *testing.T, r *rig) {
		for _, path := range []string{"/read", "/write"} {
			c := r.dial(t)
			length := map[string]string{"/read": "4", "/write": "0"}[path]
			c.send("POST " + path + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + length + "\r\n\r\n")
			if err := before(t, errs, "a deadline"); !os.IsTimeout(err) {
				t.Error(path, err)
			}
		}
		c := r.dial(t)
		for range 3 { // a deadline is its own request's
			c.send("GET /set HTTP/1.1\r\nHost: h\r\n\r\n")
			c.want(200, "")
			c.send("POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n")
			c.send("x")
			c.want(200, "")
		}
	})
}

func TestFullDuplex(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.(http.Flusher).Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			io.WriteString(w, "echo "+lines.Text()+"\n")
			w.(http.Flusher).Flush()
		}
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(response.Body)
		for range 3 {
			c.send("5\r\nline\n\r\n")
			if line, _ := body.ReadString('\n'); line != "echo line\n" {
				t.Errorf("%q", line)
			}
		}
		c.send("0\r\n\r\n")
		if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
			t.Error(err)
		}
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.want(200, "")
	})
}

// TestExpectation: 100 Continue goes out when the body is asked for.
func TestExpectation(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			io.Copy(w, r.Body)
		}
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		for range 2 {
			c.send("POST /read HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
			c.want(100, "")
			c.send("body")
			c.want(200, "body")
		}
		c.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if !c.want(200, "").Close {
			t.Error("it may still be sent, and taken for a request")
		}
	})
}

func TestMistakesOfHandlersAreLogged(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		w.WriteHeader(500)
		if r.URL.Path == "/panic" {
			panic("at the disco")
		}
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /panic HTTP/1.1\r\nHost: h\r\n\r\n")
		c.want(200, "")
		if rest := c.end(); rest != "" {
			t.Errorf("%q", rest)
		}
		for _, want := range []string{"superfluous response.WriteHeader call from ", "(conn_test.go:", "panic serving 127.0.0.1:", "at the disco", "goroutine "} {
			if !strings.Contains(r.log.String(), want) {
				t.Errorf("%q is not in\n%s", want, r.log)
			}
		}
	})
}

func TestHandlerEndsItsGoroutine(t *testing.T) {
	contexts := make(chan context.Context, 1)
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		contexts <- r.Context()
		io.WriteString(w, "partial")
		runtimeGoexit()
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send(hello)
		if rest := c.end(); rest != "" {
			t.Errorf("%q", rest)
		}
		before(t, (<-contexts).Done(), "the end of the context")
	})
}

// TestSlowHandlerBehindOthers: their responses do not wait for it.
func TestSlowHandlerBehindOthers(t *testing.T) {
	release := make(chan struct{})
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		io.WriteString(w, r.URL.Path)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
		c.want(200, "/1")
		c.want(200, "/2")
		release <- struct{}{}
		c.want(200, "/slow")
	})
}

// TestEndAfterResponse is what a server does to its connections when it ends.
func TestEndAfterResponse(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			begun <- struct{}{}
			<-release
		}
	}, func(t *testing.T, r *rig) {
		kept, fresh, busy := r.dial(t), r.dial(t), r.dial(t)
		kept.send(hello)
		kept.want(200, "")
		busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
		<-begun
		r.EndAfterResponse()
		EndIdle(r.loop)
		if rest := kept.end(); rest != "" {
			t.Errorf("%q", rest)
		}
		release <- struct{}{}
		if !busy.want(200, "").Close {
			t.Error("it does not say so")
		}
		busy.Close()
		fresh.Close()
		eventually(t, "all are over", func() bool { return r.loop.Len() == 0 })
	})
}

// TestPrefaceOfHTTP2 is handed over with all that was read, however it came.
func TestPrefaceOfHTTP2(t *testing.T) {
	for _, size := range []int{1, 5, 100} {
		onEach(t, greet, func(t *testing.T, r *rig) {
			got := make(chan string, 1)
			r.HTTP2 = func(conn net.Conn, counted Counted) {
				defer counted.Over()
				all, _ := io.ReadAll(conn)
				io.WriteString(conn, "frames")
				conn.Close()
				got <- string(all)
			}
			c := r.dial(t)
			all := preface + "frames"
			for rest := all; rest != ""; rest = rest[min(size, len(rest)):] {
				c.send(rest[:min(size, len(rest))])
			}
			c.closeWrite()
			if s := before(t, got, "the preface"); s != all {
				t.Errorf("%q", s)
			}
			if s := c.end(); s != "frames" {
				t.Errorf("%q", s)
			}
			c = r.dial(t)
			c.send(strings.Replace(hello, "GET", "PRI", 1))
			c.want(200, "Hello, World!")
		})
	}
}
