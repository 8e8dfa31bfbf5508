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
type raw struct {
	conn   syscall.RawConn
	reader rawCall
	writer rawCall
}

// rawCall is a system call, and what it is to do and has done.
type rawCall struct {
	call func(int, []byte) (int, error)
	once func(uintptr) bool // do, bound once
	p    []byte
	n    int
	err  error
}

func (r *raw) init(conn net.Conn) {
	switch c := conn.(type) { // these alone: what embeds them may do something else
	case *net.TCPConn:
		r.conn, _ = c.SyscallConn()
	case *net.UnixConn:
		r.conn, _ = c.SyscallConn()
	}
	r.reader.call, r.writer.call = syscall.Read, syscall.Write
	r.reader.once, r.writer.once = r.reader.do, r.writer.do
}

func (c *rawCall) do(fd uintptr) bool {
	c.n, c.err = ignoringEINTR(c.call, int(fd), c.p)
	return true
}

func (r *raw) possible() bool { return r.conn != nil }

func (r *raw) read(p []byte) (int, error) {
	c := &r.reader
	c.p = p
	failure := r.conn.Read(c.once)
	c.p = nil
	switch {
	case failure != nil:
		return 0, failure
	case c.err == syscall.EAGAIN:
		return 0, ErrAgain
	case c.err != nil:
		return 0, os.NewSyscallError("read", c.err)
	case c.n == 0:
		return 0, io.EOF
	}
	return c.n, nil
}

// write returns how much was sent, which may be nothing.
func (r *raw) write(p []byte) (int, error) {
	c := &r.writer
	c.p = p
	failure := r.conn.Write(c.once)
	c.p = nil
	switch {
	case failure != nil:
		return 0, failure
	case c.err == syscall.EAGAIN:
		return 0, nil
	}
	return max(c.n, 0), os.NewSyscallError("write", c.err)
}

// ignoringEINTR repeats a system call that a signal interrupted.
func ignoringEINTR(call func(int, []byte) (int, error), fd int, p []byte) (n int, err error) {
	for {
		if n, err = call(fd, p); err != syscall.EINTR {
			return n, err
		}
	}
}
