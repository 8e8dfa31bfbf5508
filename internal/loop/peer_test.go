package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// The peer's end is seen while Serve is at something, unless there is something to
// read before it; and nothing of that is lost.
func TestPeerEnded(t *testing.T) {
	for _, before := range []string{"", "y", "yyyyy"} {
		var ended, aheads atomic.Int32
		var current atomic.Pointer[Conn] // whose end is to come
		entered, leave, read := make(chan struct{}), make(chan struct{}), make(chan string, 1)
		o := &owner{
			serve: func(c *Conn) error {
				var p [1]byte
				if n, err := c.TryRead(p[:]); n == 0 || err != nil {
					return err
				}
				current.Store(c)
				entered <- struct{}{}
				<-leave
				var rest bytes.Buffer
				_, err := rest.ReadFrom(reader{c})
				read <- rest.String()
				return errors.Join(err, io.EOF)
			},
			ahead: func(c *Conn, _ bool) {
				if current.Load() != c {
					return
				}
				if c.PeerEnded() {
					ended.Add(1)
				}
				aheads.Add(1)
			},
		}
		each(t, o, func(t *testing.T, f *fixture) {
			ended.Store(0)
			aheads.Store(0)
			conn := f.dial(t)
			io.WriteString(conn, "x")
			<-entered
			io.WriteString(conn, before)
			closeWrite(conn)
			eventually(t, "it is told", func() bool { return ended.Load() > 0 || before != "" && aheads.Load() > 0 })
			if n := ended.Load(); before != "" && n > 0 {
				t.Error("the end is said to come before what precedes it")
			}
			current.Store(nil)
			leave <- struct{}{}
			if got := <-read; got != before {
				t.Errorf("%q was read, want %q", got, before)
			}
		})
	}
}

// Resume has Serve called without anything to read.
func TestResume(t *testing.T) {
	conns := make(chan *Conn, 100)
	o := &owner{serve: func(c *Conn) error {
		conns <- c
		return echo(c)
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		exchange(t, conn, []byte("hello"))
		c := <-conns
		for range 10 {
			for len(conns) > 0 {
				<-conns
			}
			c.Resume()
			<-conns
		}
		exchange(t, conn, []byte("hello"))
		conn.Close()
		eventually(t, "it is over", func() bool { return f.loop.Len() == 0 })
		for len(conns) > 0 {
			<-conns
		}
	})
}

// Serve is called again for what it has not read, also where the socket has
// nothing more to tell because TLS has read it.
func TestServeIsCalledAgain(t *testing.T) {
	o := &owner{serve: func(c *Conn) error {
		var p [3]byte
		n, err := c.TryRead(p[:])
		if err != nil {
			return err
		}
		c.Write(p[:n])
		return ErrAgain // though there may be more
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		if secured, ok := conn.(*tls.Conn); ok { // several records in one segment
			together := &gathering{Conn: secured.NetConn()}
			secured = tls.Client(together, clientConfig)
			secured.Handshake()
			together.hold = true
			for range 5 {
				io.WriteString(secured, "0123456789")
			}
			together.release()
			conn = secured
		} else {
			io.WriteString(conn, strings.Repeat("0123456789", 5))
		}
		got := make([]byte, 50)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != strings.Repeat("0123456789", 5) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// gathering is a connection that holds back what is written.
type gathering struct {
	net.Conn
	hold bool
	held []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	if !g.hold {
		return g.Conn.Write(p)
	}
	g.held = append(g.held, p...)
	return len(p), nil
}

func (g *gathering) release() {
	g.hold = false
	g.Conn.Write(g.held)
}

// ErrYield has others go first, and Serve called again.
func TestYield(t *testing.T) {
	var calls atomic.Int32
	o := &owner{serve: func(c *Conn) error {
		if calls.Add(1)%5 != 0 {
			return ErrYield
		}
		return echo(c)
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		for range 3 {
			exchange(t, f.dial(t), []byte("hello"))
		}
	})
}

// What was written has left when the connection ends, however slowly the peer
// takes it; and every byte is counted once.
func TestLastWriteArrives(t *testing.T) {
	const size = 8 << 20
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		_, err := c.Write(make([]byte, size))
		return errors.Join(err, io.EOF)
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		n, p := 0, make([]byte, 10_000)
		for {
			m, err := conn.Read(p)
			n += m
			if err != nil {
				break
			}
			if n%100 == 0 {
				runtime.Gosched()
			}
		}
		if n != size {
			t.Errorf("%d bytes of %d arrived", n, size)
		}
		eventually(t, "it is over", func() bool { return f.loop.Len() == 0 })
		if _, count := f.loop.Traffic(); count < size || count > size+size/10 {
			t.Errorf("%d bytes are said to be sent", count)
		}
	})
}

// Any progress of a peer that takes little at a time is seen.
func TestStuckPeerThatTakesSome(t *testing.T) {
	var stuck atomic.Pointer[Conn]
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		stuck.Store(c)
		_, err := c.Write(make([]byte, 64<<20))
		return err
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		stuck.Store(nil)
		conn := f.dial(t)
		io.WriteString(conn, "x")
		eventually(t, "the write stands still", func() bool {
			c := stuck.Load()
			if c == nil {
				return false
			}
			_, is := c.Stuck()
			return is
		})
		f.loop.Sweep(10)
		before, _ := stuck.Load().Stuck()
		eventually(t, "it is seen that some was taken", func() bool {
			io.CopyN(io.Discard, conn, 64<<10)
			f.loop.Sweep(1)
			after, _ := stuck.Load().Stuck()
			return after > before+5
		})
	})
}

// What Ahead reads, Serve does not; and whoever has read ahead leaves a connection
// behind that goes on, also when Serve has returned meanwhile.
func TestReadAhead(t *testing.T) {
	var mu sync.Mutex
	seen := ""
	take := func(p []byte, n int, _ error) {
		mu.Lock()
		seen += string(p[:n])
		mu.Unlock()
	}
	entered, leave := make(chan struct{}), make(chan struct{}, 100)
	var serving atomic.Bool
	o := &owner{
		serve: func(c *Conn) error {
			var p [1]byte
			n, err := c.TryRead(p[:])
			if take(p[:], n, err); p[0] == 'x' {
				serving.Store(true)
				entered <- struct{}{}
				<-leave
			}
			if err == nil {
				err = ErrAgain // though there may be more
			}
			return err
		},
		ahead: func(c *Conn, _ bool) {
			if !serving.Load() {
				return // TLS shakes hands, and the first byte is Serve's
			}
			leave <- struct{}{} // Serve returns while this reads
			var p [16]byte
			n, err := c.TryReadAhead(p[:])
			take(p[:], n, err)
		},
	}
	each(t, o, func(t *testing.T, f *fixture) {
		for range 20 {
			mu.Lock()
			seen = ""
			mu.Unlock()
			serving.Store(false)
			conn := f.dial(t)
			io.WriteString(conn, "x")
			<-entered
			for _, want := range []string{"xa", "xab"} {
				io.WriteString(conn, want[len(want)-1:])
				eventually(t, "what came was read: "+want, func() bool {
					mu.Lock()
					defer mu.Unlock()
					return seen == want
				})
			}
			conn.Close()
			eventually(t, "it is over", func() bool { return f.loop.Len() == 0 })
			for len(leave) > 0 {
				<-leave
			}
		}
	})
}
