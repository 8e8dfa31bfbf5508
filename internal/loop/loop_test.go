package loop

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	var over atomic.Int32
	o := &owner{serve: echo, over: func(_ *Conn, err error) {
		if err != io.EOF {
			t.Errorf("over with %v, want EOF", err)
		}
		over.Add(1)
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		over.Store(0)
		var group sync.WaitGroup
		for i := range 20 {
			group.Add(1)
			go func() {
				defer group.Done()
				conn := f.dial(t)
				for n := range 50 {
					exchange(t, conn, bytes.Repeat([]byte{byte(i), byte(n)}, 1+n*n*n/8))
				}
				conn.Close()
			}()
		}
		group.Wait()
		eventually(t, "all are over", func() bool { return over.Load() == 20 && f.loop.Len() == 0 })
	})
}

// A goroutine that serves may wait for more, while others are served.
func TestServeWaits(t *testing.T) {
	o := &owner{serve: func(c *Conn) error {
		var p [10]byte
		if _, err := io.ReadFull(reader{c}, p[:]); err != nil {
			return err
		}
		_, err := c.Write(p[:])
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		var slow []net.Conn
		for range 30 {
			conn := f.dial(t)
			io.WriteString(conn, "0")
			slow = append(slow, conn)
		}
		exchange(t, f.dial(t), []byte("0123456789"))
		for _, conn := range slow {
			exchange(t, conn, []byte("123456789")[:0])
			io.WriteString(conn, "123456789")
			p := make([]byte, 10)
			if _, err := io.ReadFull(conn, p); err != nil || string(p) != "0123456789" {
				t.Errorf("%q, %v", p, err)
			}
		}
	})
}

// reader reads what Conn.Read does.
type reader struct{ c *Conn }

func (r reader) Read(p []byte) (int, error) { return r.c.Read(p) }

func TestDeadlines(t *testing.T) {
	results := make(chan error, 2)
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := c.Read(p[:])
		results <- err
		c.SetReadDeadline(time.Time{})
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = c.Write(make([]byte, 64<<20))
		results <- err
		return io.ErrClosedPipe
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		for _, what := range []string{"read", "write"} {
			if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v, want a deadline", what, err)
			}
		}
	})
}

// An owner is told soon when the peer leaves while it is at something.
func TestPeerLeavesWhileServing(t *testing.T) {
	left, entered := make(chan struct{}, 1), make(chan struct{})
	var inside atomic.Bool
	o := &owner{
		serve: func(c *Conn) error {
			var p [16]byte
			if _, err := c.TryRead(p[:]); err != nil {
				return err
			}
			inside.Store(true)
			entered <- struct{}{}
			<-left
			inside.Store(false)
			return io.ErrClosedPipe
		},
		ahead: func(c *Conn, gone bool) {
			if !inside.Load() { // what has come is for the next Serve
				return
			}
			var p [16]byte
			if _, err := c.TryReadAhead(p[:]); err == io.EOF || gone && err != nil && err != ErrAgain {
				left <- struct{}{}
			}
		},
	}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		<-entered
		conn.Close()
		eventually(t, "the connection is over", func() bool { return f.loop.Len() == 0 })
	})
}

// A peer that does not read holds up nobody else, is known to be stuck, and can
// be got rid of.
func TestStuckPeer(t *testing.T) {
	var stuck atomic.Pointer[Conn]
	o := &owner{serve: func(c *Conn) error {
		var p [16]byte
		n, err := c.TryRead(p[:])
		if err != nil {
			return err
		}
		if string(p[:n]) == "flood" {
			stuck.Store(c)
			_, err = c.Write(make([]byte, 64<<20))
			return err
		}
		_, err = c.Write(p[:n])
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		stuck.Store(nil)
		conn := f.dial(t)
		io.WriteString(conn, "flood")
		eventually(t, "the write stands still", func() bool {
			c := stuck.Load()
			if c == nil {
				return false
			}
			_, is := c.Stuck()
			return is
		})
		exchange(t, f.dial(t), []byte("hello"))
		stuck.Load().Interrupt()
		eventually(t, "the stuck one is over", func() bool { return f.loop.Len() <= 1 })
	})
}

func TestSlowReaderGetsAll(t *testing.T) {
	const size = 8 << 20
	o := &owner{serve: func(c *Conn) error {
		var p [16]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		content := make([]byte, size)
		for i := range content {
			content[i] = byte(i * 7 >> 3)
		}
		_, err := c.Write(content)
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		p := make([]byte, 100_000)
		for offset := 0; offset < size; {
			n, err := conn.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				if p[i] != byte((offset+i)*7>>3) {
					t.Fatalf("byte %d is another one", offset+i)
				}
			}
			offset += n
			runtime.Gosched()
		}
	})
}

func TestHijack(t *testing.T) {
	hijacked := make(chan net.Conn, 1)
	o := &owner{serve: func(c *Conn) error {
		var p [16]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		conn, err := c.Hijack()
		if err != nil {
			t.Error(err)
			return err
		}
		hijacked <- conn
		return ErrHijacked
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		client := f.dial(t)
		io.WriteString(client, "x")
		conn := <-hijacked
		defer conn.Close()
		go func() {
			io.Copy(conn, conn)
			conn.Close()
		}()
		exchange(t, client, []byte(strings.Repeat("hijacked", 10000)))
		conn.SetReadDeadline(time.Now())
		if _, err := io.ReadAll(client); err != nil {
			t.Error(err)
		}
		eventually(t, "the loop does not have it any more", func() bool { return f.loop.Len() == 0 })
	})
}

// A second owner gets what the first one left.
func TestOwnersFollowEachOther(t *testing.T) {
	second := &owner{serve: echo}
	o := &owner{serve: func(c *Conn) error {
		var p [5]byte
		if _, err := io.ReadFull(reader{c}, p[:]); err != nil {
			return err
		}
		c.SetOwner(second)
		return nil
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "first")
		exchange(t, conn, []byte("second"))
		conn = f.dial(t)
		io.WriteString(conn, "firstsecond")
		p := make([]byte, 6)
		if _, err := io.ReadFull(conn, p); err != nil || string(p) != "second" {
			t.Errorf("%q, %v", p, err)
		}
	})
}

// Serve may end its goroutine: the connection is over, and others are served.
func TestServeEndsItsGoroutine(t *testing.T) {
	var over atomic.Int32
	o := &owner{
		serve: func(c *Conn) error {
			var p [4]byte
			n, err := c.TryRead(p[:])
			if p[0] == '!' { // a word may come in pieces
				runtime.Goexit()
			}
			if n > 0 {
				c.Write(p[:n])
			}
			return err
		},
		over: func(_ *Conn, err error) {
			if err == ErrGoexit {
				over.Add(1)
			}
		},
	}
	each(t, o, func(t *testing.T, f *fixture) {
		over.Store(0)
		for range 20 {
			conn := f.dial(t)
			io.WriteString(conn, "!")
			io.Copy(io.Discard, conn)
		}
		exchange(t, f.dial(t), []byte("echo"))
		eventually(t, "all are over", func() bool { return over.Load() == 20 })
	})
}

func TestRefused(t *testing.T) {
	l := New(slog.Default())
	defer l.Close(time.Second)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Listen(ln, nil, func(*Conn) Owner { return nil })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return // the reset was faster
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("not refused")
	}
}

// Sweeps count the seconds that the process ran, and tell when they were.
func TestClock(t *testing.T) {
	l := New(slog.New(slog.DiscardHandler))
	now := l.clock.looked
	for _, test := range []struct{ late, next time.Duration }{ // by how much the sweep is late, and the time to the next
		{0, 1000}, {1, 999}, {0, 1000}, {600, 400}, {0, 1000}, {900, 250}, {0, 850}, {0, 1000},
		{11_000, 250}, {0, 750}, {0, 1000}, {3_600_000, 250},
	} {
		wait := sweepPeriod
		if l.clock.rest > 0 {
			wait = max(sweepPeriod-l.clock.rest, sweepPeriod/4)
		}
		now = now.Add(wait + test.late*time.Millisecond)
		next := l.clock.pass(now)
		l.Sweep(1)
		if next != test.next*time.Millisecond {
			t.Errorf("%d ms late: the next in %v, want %d ms", test.late, next, test.next)
		}
		if ago := now.Sub(l.At(l.Now())); ago < 0 || ago > sweepPeriod {
			t.Errorf("%d ms late: the second was over %v ago", test.late, ago)
		}
	}
}

// Who closes a listener knows all connections that were accepted.
func TestCloseKnowsWhatWasAccepted(t *testing.T) {
	for name, hidden := range map[string]bool{"a socket": false, "a net.Conn": true} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := ln.Addr().String()
			if hidden {
				ln = hiding{ln}
			}
			admitting, admit := make(chan bool), make(chan bool)
			l := New(slog.New(slog.DiscardHandler))
			defer l.Close(time.Second)
			listener, err := l.Listen(ln, nil, func(*Conn) Owner {
				admitting <- true
				<-admit
				return &owner{serve: func(c *Conn) error { <-admit; return io.EOF }}
			})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			<-admitting
			known := make(chan int)
			go func() {
				listener.Close()
				known <- l.Len()
			}()
			<-listener.done // it has begun to close
			admit <- true
			if n := <-known; n != 1 {
				t.Errorf("%d connections are known", n)
			}
			close(admit)
		})
	}
}
