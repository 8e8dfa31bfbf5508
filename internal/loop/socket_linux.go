package loop

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// socket is a connection on epoll.
type socket struct {
	Conn
	fd int32      // -1 once closed
	mu sync.Mutex // held by whoever uses fd, save for Serve's goroutine when it reads
}

// socketEvents are the edges that are reported. EPOLLOUT is one only after a
// write that found the socket full.
const socketEvents = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | syscall.EPOLLET&(1<<32-1)

// plain returns the socket of a connection, nil if it has none.
func plain(c *Conn) *socket {
	switch t := c.transport.(type) {
	case *socket:
		return t
	case *secure:
		return t.socket
	}
	return nil
}

func (s *socket) secured() *tls.Conn { return nil }

// poller returns who tells of the socket.
func (s *socket) poller() *poller { return s.loop.engine.(*epoll).pollers[s.Conn.poller] }

// notify notes an event, and reports whether the connection is to be queued.
func (s *socket) notify(events uint32) bool {
	if events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 && s.state.Load()&blocked != 0 {
		s.writable()
	}
	if events&^syscall.EPOLLOUT == 0 {
		return false
	}
	bits := uint32(pending)
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		bits |= hangup
	}
	return s.mark(bits)
}

// writable lets what waits for room go on.
func (s *socket) writable() {
	setBits(&s.state, 0, blocked)
	if t, ok := s.transport.(*secure); ok && !t.flush() {
		return // there is another event to come
	}
	if setBits(&s.state, 0, writerParked)&writerParked != 0 {
		signal(s.extras().writable)
		return
	}
	s.Owner().Writable(&s.Conn)
}

func (s *socket) retry() {
	if s.state.Load()&blocked != 0 {
		s.writable()
	}
}

// tryRead reads what is there. There may be more, and no other edge for it, when
// p was filled or the peer has ended its direction.
func (s *socket) tryRead(p []byte) (int, error) {
	if s.state.Load()&pending == 0 {
		return 0, ErrAgain
	}
	before := setBits(&s.state, 0, pending)
	n, err := ignoringEINTR(syscall.Read, int(s.fd), p)
	switch {
	case err == syscall.EAGAIN:
		return 0, ErrAgain
	case n == 0 && err == nil && len(p) > 0:
		err = io.EOF
	case err != nil:
		err = os.NewSyscallError("read", err)
	}
	if n == len(p) || before&hangup != 0 || err != nil {
		setBits(&s.state, pending, 0)
	}
	return max(n, 0), err
}

// tryReadAhead is tryRead for a goroutine beside Serve's, which may be closing
// the socket.
func (s *socket) tryReadAhead(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tryRead(p)
}

// peerEnded looks at what comes next, without reading it.
func (s *socket) peerEnded() bool {
	if !s.HungUp() {
		return false
	}
	n, err := s.use(func(fd int) (int, error) {
		n, _, err := syscall.Recvfrom(fd, make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return n, err
	})
	return n <= 0 && err != syscall.EAGAIN && err != syscall.EINTR
}

// write sends all of p, also if there is TLS on top.
func (s *socket) write(p []byte) (n int, err error) {
	for !s.late() {
		some, err := s.TryWrite(p[n:])
		if n += some; err != nil || n == len(p) && s.transport.waits() == 0 {
			return n, err
		}
		s.waitWrite()
	}
	return n, os.ErrDeadlineExceeded
}

// late reports whether the deadline for writing is over.
func (s *socket) late() bool {
	e := s.extra.Load()
	return e != nil && e.write.over.Load()
}

// waitWrite waits for room, or for a deadline.
func (s *socket) waitWrite() {
	if e := s.extras(); !e.write.over.Load() {
		s.park(writerParked, blocked, blocked, e.writable)
	}
}

func (s *socket) tryWrite(p []byte) (n int, err error) {
	if s.state.Load()&blocked == 0 {
		s.mu.Lock()
		n, err = s.writeOrBlock(p)
		s.mu.Unlock()
	}
	s.wrote(n, n < len(p) && err == nil)
	return n, err
}

// writeOrBlock notes that the socket is full, if it does not take all of p. s.mu
// is held.
func (s *socket) writeOrBlock(p []byte) (n int, err error) {
	n, err = s.writeNow(p)
	if n < len(p) && err == nil {
		// The socket may have become writable before the bit was seen.
		setBits(&s.state, blocked, 0)
		var rest int
		rest, err = s.writeNow(p[n:])
		if n += rest; n == len(p) {
			setBits(&s.state, 0, blocked)
		}
	}
	return n, err
}

// writeNow is a write. s.mu is held.
func (s *socket) writeNow(p []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err := ignoringEINTR(syscall.Write, int(s.fd), p)
	if err == syscall.EAGAIN {
		return 0, nil
	}
	return max(n, 0), os.NewSyscallError("write", err)
}

func (s *socket) waits() int { return 0 }

func (s *socket) setWriteDeadline(time.Time) {} // waitWrite is woken

func (s *socket) watch() {} // a poller does

func (s *socket) closeWrite() error { return s.shutdown(syscall.SHUT_WR) }

// interrupt is an event to epoll, and an error to reads and writes.
func (s *socket) interrupt() { s.shutdown(syscall.SHUT_RDWR) }

func (s *socket) shutdown(how int) error {
	_, err := s.use(func(fd int) (int, error) {
		return 0, os.NewSyscallError("shutdown", syscall.Shutdown(fd, how))
	})
	return err
}

// use calls f with the socket's descriptor, which is not closed meanwhile.
func (s *socket) use(f func(fd int) (int, error)) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return f(int(s.fd))
}

func (s *socket) schedule() { s.poller().schedule(s) }

func (s *socket) close() {
	if fd := s.release(); fd >= 0 {
		syscall.Close(fd)
	}
}

// release takes the descriptor from the socket.
func (s *socket) release() (fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, s.fd = int(s.fd), -1
	return fd
}

// hijack makes a connection of package net of the socket.
func (s *socket) hijack() (net.Conn, error) {
	fd := s.release()
	syscall.EpollCtl(s.poller().fd, syscall.EPOLL_CTL_DEL, fd, new(syscall.EpollEvent))
	file := os.NewFile(uintptr(fd), "hijacked")
	defer file.Close() // net.FileConn takes a copy
	return net.FileConn(file)
}

func (s *socket) localAddr() net.Addr {
	s.mu.Lock()
	name, err := syscall.Getsockname(int(s.fd))
	s.mu.Unlock()
	if err != nil {
		return nil
	}
	if unix, ok := name.(*syscall.SockaddrUnix); ok {
		return &net.UnixAddr{Name: unix.Name, Net: "unix"}
	}
	return net.TCPAddrFromAddrPort(addrPort(name))
}
