package http1

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"aerys/internal/loop"
)

// exchanges are what faults are injected into: a client's side, and what the
// handlers do. All of each is served where nothing fails.
var exchanges = []struct {
	name    string
	script  string
	handler http.HandlerFunc
	output  int // bytes, about
}{
	{"pipelined", strings.Repeat(hello, 5), greet, 5 * 130},
	{"upload", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("b", 30000) + hello, echo, 30000},
	{"upload in chunks with trailers", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n2000\r\n" + strings.Repeat("b", 0x2000) + "\r\n0\r\nX: y\r\n\r\n" + hello, echo, 8000},
	{"upload that nobody reads", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("b", 30000) + hello, greet, 260},
	{"upload that nobody reads, before a large response", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("b", 30000) + hello, large, 400000},
	{"expectation", "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody" + hello, echo, 250},
	{"stream", hello + hello, stream, 600},
	{"large", hello, large, 200000},
	{"full duplex", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n" + hello, duplex, 200},
	{"taken over", hello + "frames", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(101)
		early, err := w.(*response).takeOver()
		if err != nil {
			return
		}
		if !strings.HasPrefix("frames", string(early)) {
			panic("early bytes")
		}
		if conn, err := w.(*response).conn.transport.Hijack(); err == nil {
			conn.Close()
		}
	}, 60},
	{"hijacked", hello, func(w http.ResponseWriter, r *http.Request) {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
	}, 0},
	{"upgrade", hello + "frames", upgrade, 0},
	{"file", hello, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "fault_test.go") }, 5000},
	{"refused", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + hello, greet, 100},
	{"panic", hello + hello, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
}

func echo(w http.ResponseWriter, r *http.Request) {
	if body, err := io.ReadAll(r.Body); err == nil {
		w.Write(body)
	}
}

// upgrade sends back what it gets.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if rw.Flush() == nil {
		io.Copy(conn, rw)
	}
}

func large(w http.ResponseWriter, _ *http.Request) {
	for range 20 {
		w.Write(make([]byte, 10000))
	}
}

func stream(w http.ResponseWriter, r *http.Request) {
	derived, cancel := context.WithCancel(r.Context())
	defer cancel()
	for range 5 {
		io.WriteString(w, "event\n")
		w.(http.Flusher).Flush()
		if derived.Err() != nil {
			return
		}
	}
}

func duplex(w http.ResponseWriter, r *http.Request) {
	http.NewResponseController(w).EnableFullDuplex()
	p := make([]byte, 5)
	for {
		n, err := r.Body.Read(p)
		w.Write(p[:n])
		w.(http.Flusher).Flush()
		if err != nil {
			return
		}
	}
}

// TestFaults lets each operation of each exchange fail in turn. However it
// ends, the handlers have returned, their contexts are done, and the connection
// is closed, or somebody else's, and holds no buffer.
func TestFaults(t *testing.T) {
	faults := map[string]error{"read": io.ErrUnexpectedEOF, "read end": io.EOF, "read nothing": loop.ErrAgain, "write": errors.New("broken pipe"), "wait": timeout{}}
	for _, e := range exchanges {
		for _, size := range []int{1 << 20, 1000, 17} {
			for kind, err := range faults {
				for n := 1; ; n++ {
					if !inject(t, e.name, e.script, e.handler, size, kind, n, err) {
						break
					}
					if n > 12 {
						n += n / 3 // the rest is more of the same
					}
				}
			}
		}
	}
	noneLeft(t)
}

// inject serves an exchange whose nth operation of a kind fails. It reports
// whether there were that many.
func inject(t *testing.T, name, script string, handler http.HandlerFunc, size int, kind string, n int, fault error) bool {
	t.Helper()
	var contexts []context.Context
	begun, returned := 0, 0
	s := &Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		contexts = append(contexts, r.Context())
		begun++
		defer func() { returned++ }()
		handler(w, r)
	})}
	m := inPieces(script, size)
	operation, _, _ := strings.Cut(kind, " ")
	count := 0
	m.fail = func(op string) error {
		if op != operation {
			return nil
		}
		if count++; count == n || count > n && fault != loop.ErrAgain {
			return fault
		}
		return nil
	}
	c := s.NewConn(&impatient{m})
	next := loop.ErrAgain
	for turns := 0; next == loop.ErrAgain; turns++ {
		if next = c.Turn(); turns > len(script)+10 {
			t.Fatalf("%s, %s %d: it never ends", name, kind, n)
		}
	}
	if begun != returned || c.active != nil {
		t.Fatalf("%s, %s %d: %d handlers of %d, %v", name, kind, n, returned, begun, c.active)
	}
	for _, ctx := range contexts {
		if ctx.Err() == nil {
			t.Fatalf("%s, %s %d: a context is not done", name, kind, n)
		}
	}
	return count >= n
}

// inPieces has a script to read in pieces of a size, and then the end.
func inPieces(script string, size int) *memory {
	m := newMemory()
	m.end = io.EOF
	for rest := script; rest != ""; rest = rest[min(size, len(rest)):] {
		m.add(rest[:min(size, len(rest))])
	}
	return m
}

// impatient does not wait: what is to come is there.
type impatient struct{ *memory }

func (i *impatient) Wait() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.call("wait")
}

// TestExchangesInPieces holds that the output does not depend on how the bytes
// come.
func TestExchangesInPieces(t *testing.T) {
	for _, e := range exchanges {
		var outputs []string
		for _, size := range []int{1, 2, 13, 100, 4096, 1 << 20} {
			s := &Server{Handler: e.handler, ErrorLog: log.New(io.Discard, "", 0)}
			m := inPieces(e.script, size)
			c := s.NewConn(m)
			for c.Turn() == loop.ErrAgain {
			}
			outputs = append(outputs, dates.ReplaceAllString(m.output(), ""))
		}
		for _, output := range outputs {
			if e.name != "full duplex" && output != outputs[0] || len(output) < e.output/2 {
				t.Errorf("%s: %d bytes, not %d\n%.300q\n%.300q", e.name, len(output), len(outputs[0]), output, outputs[0])
			}
		}
	}
}
