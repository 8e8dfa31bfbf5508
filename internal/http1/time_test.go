package http1

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aerys/internal/loop"
)

// turning is a connection whose time the test turns.
type turning struct {
	*memory
	conn *Conn
	now  loop.Time
}

func newTurning(s *Server, pieces ...string) *turning {
	m := newMemory(pieces...)
	x := &turning{memory: m, now: loop.Time(1e9)}
	x.conn = s.NewConn(m)
	x.conn.Sweep(x.now)
	return x
}

// pass lets seconds pass, and says what the sweeps did first, and when.
func (x *turning) pass(seconds int) (call string, after int) {
	for i := 1; i <= seconds; i++ {
		x.now++
		before := len(x.calls)
		x.conn.Sweep(x.now)
		if len(x.calls) > before {
			return x.calls[before], i
		}
	}
	return "", seconds
}

func TestTimeOfHeads(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet), HeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
	t.Run("nothing", func(t *testing.T) {
		x := newTurning(s)
		if call, after := x.pass(100); call != "abort" || after != 10 {
			t.Error(call, after)
		}
		if x.conn.Turn() != io.EOF {
			t.Error("it goes on")
		}
	})
	t.Run("half a head, a byte every five seconds", func(t *testing.T) {
		x := newTurning(s, hello[:10])
		x.conn.Turn()
		call, total := "", 0
		for i := 10; call == "" && i < 40; i++ {
			var after int
			call, after = x.pass(5)
			total += after
			x.add(hello[i : i+1])
			x.conn.Turn()
		}
		if call != "abort" || total > 11 {
			t.Error(call, total)
		}
	})
}

func TestTimeOfKeptConnections(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet), HeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
	t.Run("kept and silent", func(t *testing.T) {
		x := newTurning(s, hello)
		x.conn.Turn()
		if call, after := x.pass(200); call != "abort" || after < 75 || after > 76 {
			t.Error(call, after)
		}
	})
	t.Run("kept, and a request just in time", func(t *testing.T) {
		x := newTurning(s, hello)
		x.conn.Turn()
		for range 5 {
			if call, after := x.pass(74); call != "" {
				t.Fatal(call, after)
			}
			x.add(hello)
			x.conn.Turn()
		}
	})
	t.Run("kept, and one byte", func(t *testing.T) {
		x := newTurning(s, hello)
		x.conn.Turn()
		x.pass(70)
		x.add("G")
		x.conn.Turn()
		if call, after := x.pass(200); call != "abort" || after > 11 {
			t.Error(call, after)
		}
	})
	t.Run("the last answer was not fetched", func(t *testing.T) {
		x := newTurning(s, "GET / HTTP/1.1\r\n\r\n")
		x.conn.Turn()
		if call, after := x.pass(200); call != "abort" || after > 3 {
			t.Error(call, after)
		}
	})
}

// TestTimeOfBodies has a handler read a body that comes in some way.
func TestTimeOfBodies(t *testing.T) {
	for _, row := range []struct {
		name     string
		every    int // seconds between pieces of
		size     int
		cutAfter int // or 0
	}{
		{"silence", 1000, 0, 30},
		{"a byte a second", 1, 1, 30},
		{"a byte every 29 seconds", 29, 1, 30},
		{"300 bytes a second", 1, 300, 0},
		{"9 KB every 29 seconds", 29, 9000, 0},
		{"6 KB every 29 seconds", 29, 6000, 30},
	} {
		t.Run(row.name, func(t *testing.T) {
			seconds, cut, err := bodyInTime(row.every, row.size)
			switch {
			case cut != (row.cutAfter > 0):
				t.Errorf("cut: %v, after %d s", cut, seconds)
			case cut && (seconds < row.cutAfter || seconds > row.cutAfter+40):
				t.Errorf("cut after %d s", seconds)
			case !os.IsTimeout(err):
				t.Error(err)
			}
		})
	}
}

// bodyInTime lets 200 seconds pass, with pieces of a body every now and then.
// It returns after how many its reader was interrupted, if it was, and the
// error that it got in the end.
func bodyInTime(every, size int) (seconds int, cut bool, err error) {
	failed := make(chan error, 1)
	s := &Server{BodyTimeout: 30 * time.Second, BodyRate: 240}
	s.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		failed <- err
	})
	w := &waitingMemory{memory: newMemory(post + "Content-Length: 1000000000\r\n\r\n"), more: make(chan struct{}, 1), asleep: make(chan struct{})}
	c := s.NewConn(w)
	now := loop.Time(1e9)
	c.Sweep(now)
	go c.Turn()
	<-w.asleep
	for seconds = 1; seconds < 200; seconds++ {
		if seconds%every == 0 {
			w.add(strings.Repeat("b", size))
			w.more <- struct{}{}
			<-w.asleep
		}
		now++
		if c.Sweep(now); w.did("interrupt") {
			return seconds, true, <-failed
		}
	}
	w.SetReadDeadline(longPast)
	return seconds, false, <-failed
}

// waitingMemory tells when it waits, and waits for more.
type waitingMemory struct {
	*memory
	more   chan struct{}
	asleep chan struct{}
}

func (w *waitingMemory) Wait() error {
	select {
	case <-w.reading:
		return timeout{}
	case w.asleep <- struct{}{}:
	}
	select {
	case <-w.more:
		return nil
	case <-w.reading:
		return timeout{}
	}
}

func TestTimeOfSkippedBodies(t *testing.T) {
	s := &Server{Handler: http.HandlerFunc(greet), BodyTimeout: 30 * time.Second}
	x := newTurning(s, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
	if x.conn.Turn() != loop.ErrAgain || !strings.Contains(x.output(), "Hello, World!") {
		t.Fatal("the answer waits for the body")
	}
	if call, after := x.pass(100); call != "abort" || after < 30 || after > 31 {
		t.Error(call, after)
	}
}

// TestTimeOfWriting holds that a response which the client does not take ends,
// and one that it takes slowly does not.
func TestTimeOfWriting(t *testing.T) {
	for _, row := range []struct {
		name  string
		every int // seconds for 64 KiB
		cut   bool
	}{{"nothing", 1000, true}, {"64 KiB in 29 seconds", 29, false}, {"64 KiB in 31 seconds", 31, true}} {
		t.Run(row.name, func(t *testing.T) {
			s := &Server{WriteTimeout: 30 * time.Second}
			s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1<<20)) })
			w := &slowMemory{memory: newMemory(hello), take: make(chan struct{}), writing: make(chan struct{})}
			c := s.NewConn(w)
			now := loop.Time(1e9)
			c.Sweep(now)
			done := make(chan error)
			go func() { done <- c.Turn() }()
			<-w.writing
			ended := false
			for seconds := 1; seconds < 200 && !ended; seconds++ {
				now++
				if c.Sweep(now); w.did("abort") {
					ended = true
				} else if seconds%row.every == 0 {
					w.take <- struct{}{}
					<-w.writing
				}
			}
			if ended != row.cut {
				t.Error("cut:", ended)
			}
			w.Interrupt()
			if next := <-done; next != io.EOF {
				t.Error(next)
			}
		})
	}
}

// slowMemory takes a write when it is told to.
type slowMemory struct {
	*memory
	take    chan struct{}
	writing chan struct{}
}

func (w *slowMemory) Write(p []byte) (int, error) {
	select {
	case w.writing <- struct{}{}:
	case <-w.reading:
		return 0, io.ErrClosedPipe
	}
	select {
	case <-w.take:
		return len(p), nil
	case <-w.reading:
		return 0, io.ErrClosedPipe
	}
}
