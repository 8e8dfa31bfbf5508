package loop

import (
	"bytes"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What a protocol needs that is not request and response.

// TryWrite never waits, whatever carries the connection: what the peer does not
// take stays with the owner, who is told when to go on.
func TestTryWriteDoesNotWait(t *testing.T) {
	message := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var mu sync.Mutex
	rests := make(map[*Conn][]byte)
	began, full := make(chan bool), make(chan int)
	write := func(c *Conn) (waits int) {
		mu.Lock()
		defer mu.Unlock()
		for len(rests[c]) > 0 {
			n, err := c.TryWrite(rests[c])
			if rests[c] = rests[c][n:]; err != nil || n == 0 {
				break
			}
		}
		return len(rests[c])
	}
	o := &owner{writable: func(c *Conn) { write(c) }}
	o.serve = func(c *Conn) error {
		var p [1]byte
		_, err := c.TryRead(p[:])
		if err == nil {
			mu.Lock()
			rests[c] = message
			mu.Unlock()
			began <- true
			full <- write(c)
			err = ErrAgain
		}
		return err
	}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		conn.Write([]byte("x"))
		<-began
		if waits := <-full; waits == 0 { // nobody has read anything
			t.Error("the peer took all at once")
		}
		got := make([]byte, len(message))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, message) {
			t.Errorf("other bytes came, or an error: %v", err)
		}
	})
}

// What an owner lets wait is there when it goes on, and it is told of the end.
func TestPause(t *testing.T) {
	var c atomic.Pointer[Conn]
	var paused atomic.Bool
	calls := make(chan string, 100)
	o := &owner{}
	o.serve = func(conn *Conn) error {
		c.Store(conn)
		if paused.Load() {
			calls <- "paused"
			return ErrPause
		}
		var p [100]byte
		n, err := conn.TryRead(p[:])
		if calls <- string(p[:n]); n > 0 {
			return ErrYield
		}
		return err
	}
	each(t, o, func(t *testing.T, f *fixture) {
		paused.Store(false)
		conn := f.dial(t)
		next := func(want string) {
			t.Helper()
			for {
				select {
				case got := <-calls:
					if got == want {
						return
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("no %q", want)
				}
			}
		}
		conn.Write([]byte("first"))
		next("first")
		next("")
		paused.Store(true)
		conn.Write([]byte("second"))
		next("paused")
		paused.Store(false)
		c.Load().Resume()
		next("second")
		next("")
		closeWrite(conn)
		next("")
	})
}

// A Serve that has ended its goroutine is called again if it has asked for that.
func TestGoexitGoesOn(t *testing.T) {
	over := make(chan error, 1)
	o := &owner{over: func(_ *Conn, err error) { over <- err }}
	o.serve = func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		if p[0] == 'r' {
			c.Resume()
		}
		c.Write(p[:])
		runtime.Goexit()
		return nil
	}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		for range 3 {
			exchange(t, conn, []byte("r"))
		}
		exchange(t, conn, []byte("x"))
		if err := <-over; err != ErrGoexit {
			t.Errorf("over: %v", err)
		}
	})
}

// Over is called once, and the connection is closed, although it ends its
// goroutine.
func TestGoexitInOver(t *testing.T) {
	var calls atomic.Int32
	o := &owner{serve: echo}
	o.over = func(*Conn, error) {
		calls.Add(1)
		runtime.Goexit()
	}
	each(t, o, func(t *testing.T, f *fixture) {
		calls.Store(0)
		conn := f.dial(t)
		exchange(t, conn, []byte("hello"))
		closeWrite(conn)
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("read %d bytes", n)
		}
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times", n)
		}
	})
}

// Two parts arrive as one, whoever carries them.
func TestTwoParts(t *testing.T) {
	first, second := []byte("header"), bytes.Repeat([]byte("payload"), 5000)
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		n, err := c.TryWriteParts(first, second)
		if err == nil {
			all := append(first[:len(first):len(first)], second...)
			_, err = c.Write(all[n:])
		}
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		conn.Write([]byte("x"))
		got := make([]byte, len(first)+len(second))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, append(first[:len(first):len(first)], second...)) {
			t.Errorf("other bytes came, or an error: %v", err)
		}
	})
}

// What several connections cause is done once they have been served, and at last.
func TestAfterRound(t *testing.T) {
	done := make(chan bool, 100)
	o := &owner{}
	o.serve = func(c *Conn) error {
		err := echo(c)
		c.AfterRound(func() { done <- true })
		return err
	}
	each(t, o, func(t *testing.T, f *fixture) {
		exchange(t, f.dial(t), []byte("hello"))
		<-done
	})
}

// Who waits for many bytes has them all at once, or hurries.
func TestAwait(t *testing.T) {
	const many = 50_000
	var c atomic.Pointer[Conn]
	calls := make(chan int, 1000)
	o := &owner{serve: func(conn *Conn) error {
		p := make([]byte, 2*many)
		n, err := conn.TryRead(p)
		if calls <- n; n > 0 {
			conn.LimitUnsent()
			conn.Await(many)
			c.Store(conn)
			return ErrYield
		}
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		read := 0
		until := func(want int) {
			t.Helper()
			for read < want {
				select {
				case n := <-calls:
					read += n
				case <-time.After(20 * time.Second):
					t.Fatalf("%d bytes of %d", read, want)
				}
			}
		}
		send := func(n int) { go conn.Write(make([]byte, n)) }
		send(many)
		until(many)
		send(many)
		until(2 * many)
		send(10)
		for read < 2*many+10 {
			c.Load().Hurry()
			select {
			case n := <-calls:
				read += n
			case <-time.After(time.Millisecond):
			}
		}
		if c.Load().Held() < 0 {
			t.Error("less than nothing is on its way")
		}
	})
}
