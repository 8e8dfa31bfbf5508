//go:build unix

package loop

import (
	"io"
	"net"
	"os"
	"syscall"
)

// raw reads and writes a socket of package net without waiting. One goroutine at
// a time reads, and one writes.
type raw struct{ reader, writer rawCall }

// rawCall is a system call, and what it is to do and has done.
type rawCall struct {
	name string
	call func(int, []byte) (int, error)
	on   func(func(uintptr) bool) error // the socket
	once func(uintptr) bool             // do, bound once
	p    []byte
	n    int
	err  error
}

// newRaw returns nil for what is no socket.
func newRaw(conn net.Conn) *raw {
	if !isSocket(conn) {
		return nil
	}
	c, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	r := &raw{rawCall{name: "read", call: syscall.Read, on: c.Read}, rawCall{name: "write", call: syscall.Write, on: c.Write}}
	r.reader.once, r.writer.once = r.reader.do, r.writer.do
	return r
}

// isSocket reports whether a connection is one of package net's own: what embeds
// them may do something else.
func isSocket(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

func (c *rawCall) do(fd uintptr) bool {
	c.n, c.err = ignoringEINTR(c.call, int(fd), c.p)
	return true
}

// try makes the call. The error is ErrAgain if it would have to wait.
func (c *rawCall) try(p []byte) (int, error) {
	c.p = p
	failure := c.on(c.once)
	c.p = nil
	switch {
	case failure != nil:
		return 0, failure
	case c.err == syscall.EAGAIN:
		return 0, ErrAgain
	}
	return max(c.n, 0), os.NewSyscallError(c.name, c.err)
}

func (r *raw) read(p []byte) (int, error) {
	n, err := r.reader.try(p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// write returns how much was sent, which may be nothing.
func (r *raw) write(p []byte) (int, error) {
	n, err := r.writer.try(p)
	if err == ErrAgain {
		err = nil
	}
	return n, err
}

// ignoringEINTR repeats a system call that a signal interrupted.
func ignoringEINTR(call func(int, []byte) (int, error), fd int, p []byte) (n int, err error) {
	for {
		if n, err = call(fd, p); err != syscall.EINTR {
			return n, err
		}
	}
}
