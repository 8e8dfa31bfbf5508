package ws_test

import (
	"bufio"
	"net"
	"sync"
	"testing"
)

// client is a client's connection to which something happens when so many bytes
// were sent or received.
type client struct {
	net.Conn
	sends, receives int // bytes until then; it does not happen if negative
	happen          func(*net.TCPConn) error
	silent          bool // it has happened: nothing is sent any more
}

func (c *client) Write(p []byte) (int, error) {
	if c.silent {
		return len(p), nil
	}
	c.sends -= len(p)
	if c.sends > 0 || c.sends+len(p) < 0 {
		return c.Conn.Write(p)
	}
	c.Conn.Write(p[:len(p)+c.sends])
	c.silent = true
	return len(p), c.happen(c.Conn.(*net.TCPConn))
}

func (c *client) Read(p []byte) (int, error) {
	if c.receives > 0 {
		p = p[:min(len(p), c.receives)]
	}
	n, err := c.Conn.Read(p)
	if c.receives -= n; c.receives == 0 && n > 0 {
		c.silent = true
		if failed := c.happen(c.Conn.(*net.TCPConn)); err == nil {
			err = failed
		}
	}
	return n, err
}

// reset closes a connection with a RST, and a stream with RST_STREAM.
func reset(c net.Conn) error {
	if c, ok := c.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	return c.Close()
}

// Any byte that a client sends or receives may be its last, or (in
// TestFaultyClientStalls) its last for a long time.
func TestFaultyClient(t *testing.T) {
	t.Parallel()
	sockets(t, func(t *testing.T, at setting) {
		for name, happen := range map[string]func(*net.TCPConn) error{
			"resets":      func(c *net.TCPConn) error { return reset(c) },
			"closes":      (*net.TCPConn).Close,
			"half-closes": (*net.TCPConn).CloseWrite,
		} {
			t.Run(name, func(t *testing.T) {
				s := serveScript(t, at)
				s.everywhere(t, func(sends, receives int) {
					p := s.clientPeer(t, sends, receives, happen)
					p.play(p.write)
					p.nc.Close()
				})
			})
		}
		t.Run("splits", func(t *testing.T) { serveScript(t, at).splitEverywhere(t) })
	})
}

func TestFaultyClientStalls(t *testing.T) {
	sockets(t, func(t *testing.T, at setting) { serveScript(t, at).stallEveryClient(t) })
}

// clientPeer connects a client.
func (s *scripted) clientPeer(t *testing.T, sends, receives int, happen func(*net.TCPConn) error) *peer {
	p := s.lazyPeer(t)
	p.nc = &client{Conn: p.nc, sends: sends, receives: receives, happen: happen}
	p.reader = bufio.NewReader(p.nc)
	return p
}

// everywhere calls something for each byte of the session, from the end of its
// handshake on.
func (s *scripted) everywhere(t *testing.T, do func(sends, receives int)) {
	p := s.clientPeer(t, -1, -1, nil)
	if err := p.play(p.write); err != nil {
		t.Fatal(err)
	}
	p.nc.Close()
	c := p.nc.(*client)
	for n := len(p.handshake()) - 4; n < -c.sends; n++ {
		do(n, -1)
	}
	for n := 1; n < -c.receives; n++ {
		do(-1, n)
	}
}

// stallEveryClient stops the server while clients wait everywhere in their sessions.
func (s *scripted) stallEveryClient(t *testing.T) {
	var group, stalled sync.WaitGroup
	over := make(chan bool)
	s.everywhere(t, func(sends, receives int) {
		stalled.Add(1)
		p := s.clientPeer(t, sends, receives, func(c *net.TCPConn) error {
			stalled.Done()
			<-over
			return c.Close()
		})
		group.Add(1)
		go func() {
			defer group.Done()
			p.play(p.write)
			p.nc.Close()
		}()
	})
	stalled.Wait()
	s.stopSoon(t)
	close(over)
	group.Wait()
}

// splitEverywhere plays sessions in which the server reads what is sent in two parts.
func (s *scripted) splitEverywhere(t *testing.T) {
	for k, split := 1, true; split; k++ {
		p, rest := s.lazyPeer(t), k
		err := p.play(func(wire []byte) {
			if 0 < rest && rest < len(wire) {
				p.write(wire[:rest])
				p.awaitRead()
				p.write(wire[rest:])
			} else {
				p.write(wire)
			}
			rest -= len(wire)
		})
		split = rest < 0
		if err != nil {
			t.Errorf("split behind byte %d: %v", k, err)
		}
		p.nc.Close()
	}
}
