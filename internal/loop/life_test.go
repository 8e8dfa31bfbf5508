package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// What was hijacked is nobody else's: deadlines that were set before do not hold,
// the loop neither waits for it nor ends it.
func TestHijackedIsNobodyElses(t *testing.T) {
	hijacked, leave := make(chan net.Conn, 1), make(chan struct{})
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		time.Sleep(3 * time.Millisecond) // somebody watches, most likely; whether one does makes no difference
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		c.SetReadDeadline(time.Now().Add(-time.Second))
		conn, err := c.Hijack()
		if err != nil {
			return err
		}
		c.Interrupt()
		hijacked <- conn
		<-leave
		return ErrHijacked
	}}
	each(t, o, func(t *testing.T, f *fixture) {
		client := f.dial(t)
		io.WriteString(client, "x")
		conn := <-hijacked
		defer conn.Close()
		f.loop.Close(10 * time.Second)
		if f.loop.Len() > 0 {
			t.Error("the loop still has it")
		}
		go io.Copy(conn, conn)
		exchange(t, client, []byte(strings.Repeat("hijacked", 1000)))
		leave <- struct{}{}
		exchange(t, client, []byte(strings.Repeat("hijacked", 1000)))
		client.Close()
	})
}

// A listener that is closed leaves its connections alone.
func TestCloseOfAListener(t *testing.T) {
	each(t, &owner{serve: echo}, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		exchange(t, conn, []byte("before"))
		if err := f.listener.Close(); err != nil {
			t.Error(err)
		}
		if err := f.listener.Close(); !errors.Is(err, net.ErrClosed) {
			t.Error("closed again:", err)
		}
		exchange(t, conn, []byte("after"))
		if other, err := net.Dial("tcp", f.addr); err == nil {
			other.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := other.Read(make([]byte, 1)); err == nil {
				t.Error("another one is served")
			}
			other.Close()
		}
	})
}

func TestUnixSockets(t *testing.T) {
	conns := make(chan *Conn, 1)
	o := &owner{serve: echo, tick: func(c *Conn, _ Time) {
		select {
		case conns <- c:
		default:
		}
	}}
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			on(t, engine, ln, o, func(t *testing.T, f *fixture) {
				for len(conns) > 0 {
					<-conns
				}
				conn := f.dial(t)
				exchange(t, conn, bytes.Repeat([]byte("unix"), 100_000))
				f.loop.Sweep(1)
				c := <-conns
				if c.RemoteAddr().IsValid() || c.LocalAddr().String() != f.addr || c.Loop() != f.loop {
					t.Error(c.RemoteAddr(), c.LocalAddr())
				}
				conn.Close()
			})
		})
	}
}

// Adopt takes connections of package net, and of any other.
func TestAdopt(t *testing.T) {
	for _, wrap := range []func(net.Conn) net.Conn{
		func(c net.Conn) net.Conn { return c },
		func(c net.Conn) net.Conn { return hidden{c} },
		func(c net.Conn) net.Conn { return tls.Server(c, serverConfig) },
	} {
		each(t, &owner{serve: echo}, func(t *testing.T, f *fixture) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			client.SetDeadline(time.Now().Add(30 * time.Second))
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wrapped := wrap(conn)
			if _, ok := wrapped.(*tls.Conn); ok {
				client = tls.Client(client, clientConfig)
			}
			f.loop.Adopt(wrapped, &owner{serve: echo})
			exchange(t, client, bytes.Repeat([]byte("adopted"), 10_000))
		})
	}
}

// Many short connections leave nothing behind.
func TestManyShortConnections(t *testing.T) {
	each(t, &owner{serve: echo}, func(t *testing.T, f *fixture) {
		exchange(t, f.dial(t), []byte("warm up"))
		before := descriptors()
		var group sync.WaitGroup
		for range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for i := range 25 {
					conn := f.dial(t)
					if i%3 > 0 {
						exchange(t, conn, []byte("hello"))
					}
					conn.Close()
				}
			}()
		}
		group.Wait()
		eventually(t, "all are over", func() bool { return f.loop.Len() <= 1 })
		eventually(t, "their descriptors are closed", func() bool { return descriptors() <= before })
	})
}
