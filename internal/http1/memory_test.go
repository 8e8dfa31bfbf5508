package http1

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/internal/loop"
)

// memory is a Transport without a connection: a script to read, and what was
// written. It never waits: where the script ends there is loop.ErrAgain, or the end.
type memory struct {
	mu       sync.Mutex
	pieces   [][]byte
	end      error // behind the script
	written  bytes.Buffer
	writes   int
	fail     func(operation string) error // faults to inject
	calls    []string
	reading  chan struct{} // closed by Interrupt, and a deadline that is over
	finished bool
}

func newMemory(pieces ...string) *memory {
	m := &memory{end: loop.ErrAgain, reading: make(chan struct{})}
	for _, p := range pieces {
		m.pieces = append(m.pieces, []byte(p))
	}
	return m
}

func (m *memory) call(operation string) error {
	if m.fail != nil {
		return m.fail(operation)
	}
	return nil
}

func (m *memory) TryRead(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("read"); err != nil {
		return 0, err
	}
	if len(m.pieces) == 0 {
		return 0, m.end
	}
	n := copy(p, m.pieces[0])
	if m.pieces[0] = m.pieces[0][n:]; len(m.pieces[0]) == 0 {
		m.pieces = m.pieces[1:]
	}
	return n, nil
}

// add has more to read.
func (m *memory) add(pieces ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pieces {
		m.pieces = append(m.pieces, []byte(p))
	}
}

func (m *memory) Wait() error {
	m.mu.Lock()
	err := m.call("wait")
	m.mu.Unlock()
	if err != nil {
		return err
	}
	<-m.reading
	return timeout{}
}

type timeout struct{}

func (timeout) Error() string   { return "timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

var _ net.Error = timeout{}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.call("write"); err != nil {
		return 0, err
	}
	m.writes++
	return m.written.Write(p)
}

func (m *memory) note(call string) {
	m.mu.Lock()
	m.calls = append(m.calls, call)
	m.mu.Unlock()
}

func (m *memory) did(call string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.calls {
		if c == call {
			return true
		}
	}
	return false
}

func (m *memory) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.finished {
		m.finished = true
		close(m.reading)
	}
}

func (m *memory) RemoteAddr() netip.AddrPort       { return netip.AddrPort{} }
func (m *memory) LocalAddr() net.Addr              { return nil }
func (m *memory) PeerEnded() bool                  { return false }
func (m *memory) Soon()                            { m.note("soon") }
func (m *memory) SetWriteDeadline(time.Time) error { m.note("write deadline"); return nil }
func (m *memory) CloseWrite() error                { m.note("close write"); return nil }
func (m *memory) LimitUnsent()                     { m.note("limit unsent") }
func (m *memory) Interrupt()                       { m.note("abort"); m.stop() }
func (m *memory) Hijack() (net.Conn, error)        { m.note("hijack"); return nil, net.ErrClosed }

// SetReadDeadline ends what waits, if it is over.
func (m *memory) SetReadDeadline(t time.Time) error {
	if t == longPast {
		m.note("interrupt")
		m.stop()
	}
	return nil
}

func (m *memory) SendFile(head []byte, p *loop.FilePart, _ func()) (int64, error) {
	if _, err := m.Write(head); err != nil {
		return 0, err
	}
	return p.CopyTo(m.Write)
}

func (m *memory) output() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.written.String()
}

const hello = "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"

func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = plain
	io.WriteString(w, "Hello, World!")
}

var plain = []string{"text/plain; charset=utf-8"}

// repeated gives the same bytes again and again.
type repeated struct {
	memory
	p    []byte
	left int
}

func (r *repeated) TryRead(p []byte) (int, error) {
	if r.left == 0 {
		return 0, loop.ErrAgain
	}
	r.left--
	return copy(p, r.p), nil
}

func (r *repeated) Write(p []byte) (int, error) { r.writes++; return len(p), nil }

func TestAllocations(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet)}
	r := &repeated{p: []byte(hello)}
	c := s.NewConn(r)
	ours := testing.AllocsPerRun(1000, func() {
		r.left = 1
		if c.Turn() != loop.ErrAgain {
			t.Fatal("closed")
		}
	})
	p := parsers.Get().(*parser)
	parsing := testing.AllocsPerRun(1000, func() { p.parse([]byte(hello)) })
	header := testing.AllocsPerRun(1000, func() { h := http.Header{}; h["Content-Type"] = plain; keep_ = h })
	t.Logf("%v allocations, of which http.ReadRequest %v and the handler's header %v", ours, parsing, header)
	if ours > parsing+header+2 {
		t.Error("more than the request's copy and the response")
	}
}

var keep_ http.Header

func BenchmarkHello(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(map[int]string{1: "one", 16: "pipelined"}[batch], func(b *testing.B) {
			s := &Server{Handler: http.HandlerFunc(greet)}
			r := &repeated{p: []byte(strings.Repeat(hello, batch))}
			c := s.NewConn(r)
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				r.left = 1
				c.Turn()
			}
			b.ReportMetric(float64(r.writes)/float64(b.N), "writes/op")
		})
	}
	b.Run("parsing", func(b *testing.B) {
		p := parsers.Get().(*parser)
		b.ReportAllocs()
		for range b.N {
			p.parse([]byte(hello))
		}
	})
}
