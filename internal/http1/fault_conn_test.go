package http1

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// fault is what goes wrong with a connection: its read or write number at, from
// 0; a negative one never comes.
type fault struct {
	kind  string
	at    int64
	count atomic.Int64
}

func (f *fault) here() bool {
	n := f.count.Add(1) - 1
	return n == f.at || n > f.at && f.at >= 0 && f.kind == "breaks"
}

func (f *fault) reached() bool { return f.at >= 0 && f.count.Load() > f.at }

// faultyListener accepts connections that have these faults, one by one.
type faultyListener struct {
	net.Listener
	faults   chan *fault
	accepted chan *faultyConn
}

func (l faultyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	silent, _ := net.Pipe()
	c := &faultyConn{conn, <-l.faults, silent}
	l.accepted <- c
	return c, nil
}

// faultyConn is a connection with a fault.
type faultyConn struct {
	net.Conn
	*fault
	silent net.Conn // nothing ever comes from there, and nothing is taken
}

var errFault = errors.New("injected fault")

func (c *faultyConn) Read(p []byte) (int, error) {
	if !c.here() {
		return c.Conn.Read(p)
	}
	switch c.kind {
	case "stalls":
		return c.silent.Read(p)
	case "splits":
		return c.Conn.Read(p[:1])
	}
	return 0, errFault
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if !c.here() {
		return c.Conn.Write(p)
	}
	switch c.kind {
	case "stalls":
		return c.silent.Write(p)
	case "splits":
		c.Conn.Write(p[:1])
		n, err := c.Conn.Write(p[1:])
		return n + 1, err
	case "fails behind a byte":
		n, _ := c.Conn.Write(p[:1])
		return n, errFault
	}
	return 0, errFault
}

func (c *faultyConn) SetDeadline(t time.Time) error {
	c.silent.SetDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c *faultyConn) SetReadDeadline(t time.Time) error {
	c.silent.SetReadDeadline(t)
	return c.Conn.SetReadDeadline(t)
}

func (c *faultyConn) SetWriteDeadline(t time.Time) error {
	c.silent.SetWriteDeadline(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c *faultyConn) Close() error {
	c.silent.Close()
	return c.Conn.Close()
}

func (c *faultyConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// shortConn is a client's connection that takes so many bytes and no more.
type shortConn struct {
	*net.TCPConn
	left int
}

var errShort = errors.New("that is all the client sends")

func (c *shortConn) Write(p []byte) (int, error) {
	some := min(len(p), c.left)
	n, err := c.TCPConn.Write(p[:some])
	if c.left -= n; err == nil && n < len(p) {
		err = errShort
	}
	return n, err
}
