package http1

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"aerys/internal/loop"
)

const (
	get  = "GET / HTTP/1.1\r\nHost: h\r\n"
	post = "POST / HTTP/1.1\r\nHost: h\r\n"
)

// exchangesAndFates are what a client sends, what the handler does, and what
// becomes of the connection.
var exchangesAndFates = []struct {
	name    string
	request string
	handler func(w http.ResponseWriter, r *http.Request)
	served  int  // how many of the two requests
	says    bool // Connection: close
	calls   string
}{
	{"kept, RFC 9112 §9.3", get + "\r\n", greet, 2, false, ""},
	{"Connection: close, §9.6", get + "Connection: close\r\n\r\n", greet, 1, true, "close write"},
	{"among other options", get + "Connection: x , CLOSE\r\n\r\n", greet, 1, true, "close write"},
	{"the handler's Connection: close", get + "\r\n", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }, 1, true, "close write"},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", greet, 1, false, "close write"},
	{"HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", greet, 2, false, ""},
	{"HTTP/1.0 with keep-alive and close", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", greet, 1, false, "close write"},
	{"HTTP/1.0, a response without a length", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 1, false, "close write"},
	{"less than Content-Length says", get + "\r\n", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.Write([]byte("four"))
	}, 1, false, "close"},
	{"a panic", get + "\r\n", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 1, false, "close"},
	{"a body left unread", post + "Content-Length: 4\r\n\r\nbody", greet, 2, false, ""},
	{"chunks left unread", post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", greet, 2, false, ""},
	{"malformed chunks left unread, §7.1", post + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody0\r\n\r\n", greet, 1, true, "close write"},
	{"a body too long to be skipped", post + "Content-Length: 262145\r\n\r\nbody", greet, 1, true, "close write"},
	{"an expectation unmet, RFC 9110 §10.1.1", post + "Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody", greet, 1, true, "close write"},
	{"another expectation", post + "Expect: x\r\nContent-Length: 4\r\n\r\nbody", greet, 0, true, "close write"},
	{"taken over", get + "\r\n", func(w http.ResponseWriter, _ *http.Request) {
		w.(*response).takeOver()
	}, 1, false, "nothing"},
	{"refused", "GET / HTTP/1.1\r\n\r\n", greet, 0, true, "close write"},
}

// TestFates is the table of fates over whole exchanges: what a client sends,
// what the handler does, and what becomes of the connection. Behind each
// request another one follows in the same bytes.
func TestFates(t *testing.T) {
	for _, row := range exchangesAndFates {
		served := 0
		s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served++
			row.handler(w, r)
		})}
		m := newMemory(row.request + hello)
		c := s.NewConn(m)
		next := c.Turn()
		out := m.output()
		if served != row.served || strings.Contains(out, "Connection: close\r\n") != row.says {
			t.Errorf("%s: %d served\n%s", row.name, served, out)
		}
		switch row.calls {
		case "":
			if next != loop.ErrAgain {
				t.Errorf("%s: %v %v", row.name, next, m.calls)
			}
		case "nothing":
			if next != loop.ErrHijacked || m.did("close write") {
				t.Errorf("%s: %v %v", row.name, next, m.calls)
			}
		default:
			if m.did("close write") != (row.calls == "close write") || row.calls == "close" && next != io.EOF {
				t.Errorf("%s: %v %v", row.name, next, m.calls)
			}
		}
	}
}

func TestLastRequestSaysSo(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet), MaxRequests: 2}
	m := newMemory(hello + hello + hello)
	s.NewConn(m).Turn()
	out := m.output()
	if strings.Count(out, "200 OK") != 2 || strings.Count(out, "Connection: close") != 1 || m.writes != 1 {
		t.Errorf("%d writes\n%s", m.writes, out)
	}
}

func TestBatchesLeaveInOneWrite(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet)}
	m := newMemory(strings.Repeat(hello, 16) + hello[:20])
	c := s.NewConn(m)
	if c.Turn() != loop.ErrAgain || m.writes != 1 || strings.Count(m.output(), "Hello, World!") != 16 {
		t.Errorf("%d writes\n%s", m.writes, m.output())
	}
	m.add(hello[20:])
	if c.Turn() != loop.ErrAgain || m.writes != 2 || strings.Count(m.output(), "Hello, World!") != 17 {
		t.Errorf("%d writes\n%s", m.writes, m.output())
	}
	if c.active != nil {
		t.Error("it holds buffers while it waits")
	}
}

// TestHalfARequestTakesItsSize holds that a client that sends half a head does
// not occupy a buffer for it.
func TestHalfARequestTakesItsSize(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet)}
	m := newMemory(hello[:20])
	c := s.NewConn(m)
	if c.Turn() != loop.ErrAgain || c.input.buffer != nil || cap(c.input.rest) > 32 {
		t.Error(cap(c.input.rest))
	}
}

func TestHeadIsBounded(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet), MaxHeaderBytes: 50000}
	for size, want := range map[int]string{50000: "200", 50001: "431"} {
		head := "GET / HTTP/1.1\r\nHost: h\r\nX: "
		raw := head + strings.Repeat("x", size-len(head)-4) + "\r\n\r\n"
		m := newMemory()
		c := s.NewConn(m)
		for len(raw) > 0 {
			n := min(1000, len(raw))
			m.add(raw[:n])
			raw = raw[n:]
			if c.Turn() == loop.ErrAgain && c.active != nil && cap(c.input.rest) > 4*50000 {
				t.Fatal("it holds", cap(c.input.rest))
			}
		}
		if !strings.HasPrefix(m.output(), "HTTP/1.1 "+want) {
			t.Errorf("%d: %s", size, m.output())
		}
	}
}
