package loop

import (
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a connection on epoll.
type socket struct {
	Conn
	state atomic.Uint32
	fd    int32      // -1 once closed
	mu    sync.Mutex // held by whoever uses fd, save for Serve's goroutine when it reads
}

// The bits of socket.state.
const (
	running      = 1 << iota // a goroutine runs Serve, or it is queued
	pending                  // there may be bytes that were not there when it last read
	hangup                   // the peer has ended its direction, or all is lost: read to the end
	more                     // something came since Serve was called
	looking                  // and it is on the list of those to look at soon
	readerParked             // somebody waits for bytes
	writerParked             // somebody waits for room
	blocked                  // the socket was full
	resumed                  // Serve is to be called once more, whatever it reads now
	patient                  // for many bytes: epoll says nothing of fewer
	shaking                  // TLS shakes hands: what comes is none of the owner's yet
	finished                 // it is over
)

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

// tls returns what is on top of the socket, nil in clear text.
func (s *socket) tls() *secure {
	t, _ := s.transport.(*secure)
	return t
}

// poller returns who tells of the socket.
func (s *socket) poller() *poller { return s.loop.engine.pollers[s.Conn.poller] }

// start makes the connection known and asks for its events.
func (s *socket) start() error {
	fd := s.fd // as soon as it is known it may be served, and closed
	s.loop.table.add(&s.Conn)
	event := eventOf(s.id, socketEvents)
	err := syscall.EpollCtl(s.poller().fd, syscall.EPOLL_CTL_ADD, int(fd), &event)
	if err != nil {
		s.loop.table.remove(&s.Conn)
	}
	return err
}

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
	if t := s.tls(); t != nil && !t.flush() {
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

// mark notes that there is something to do. It reports whether the caller is to
// queue the connection; who waits for bytes is woken.
func (s *socket) mark(bits uint32) (queue bool) {
	old := setBits(&s.state, bits|running, readerParked)
	switch {
	case old&readerParked != 0:
		signal(s.extras().readable)
	case old&running == 0:
		return true
	case bits&pending != 0:
		if setBits(&s.state, more|looking, 0)&looking == 0 {
			s.lookSoon(0)
		}
	}
	return false
}

// lookAhead reports whether something came while Serve is running, and whether
// the peer is gone.
func (s *socket) lookAhead() (came, gone bool) {
	before := setBits(&s.state, 0, looking)
	const those = looking | running
	return before&(those|shaking) == those, before&hangup != 0
}

// run serves what there is. It reports whether the connection is to be run again
// although no event came: others go first.
func (s *socket) run() (again bool) {
	for {
		setBits(&s.state, 0, more|resumed)
		err := s.serve()
		switch {
		case err == ErrYield:
			return true
		case err == ErrPause:
			if s.settle(more | resumed) {
				return false
			}
		case err != nil && err != ErrAgain:
			s.end(err)
			return false
		case s.settle(pending | resumed):
			return false
		}
	}
}

func (s *socket) end(err error) {
	setBits(&s.state, finished, 0)
	s.finish(err)
}

// outlive sees to a connection whose Serve, or Over, has ended the goroutine.
func (s *socket) outlive() {
	switch state := s.state.Load(); {
	case state&finished != 0:
	case state&resumed != 0:
		s.poller().schedule(s)
	default:
		s.end(ErrGoexit)
	}
}

// serve calls Serve, once TLS has shaken hands.
func (s *socket) serve() error {
	t := s.tls()
	if t != nil && s.state.Load()&shaking != 0 {
		if err := t.shake(); err != nil {
			return err
		}
	}
	err := s.owner.Serve(&s.Conn) // which alone changes it
	if t != nil && err == ErrAgain && t.holdsBack() {
		setBits(&s.state, resumed, 0)
	}
	return err
}

// settle makes the connection idle, unless one of these bits is set.
func (s *socket) settle(unless uint32) bool {
	for {
		old := s.state.Load()
		if old&unless != 0 {
			return false
		}
		if s.state.CompareAndSwap(old, old&^running) {
			return true
		}
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

func (s *socket) mayRead() bool { return s.state.Load()&pending != 0 }

func (s *socket) hungUp() bool { return s.state.Load()&hangup != 0 }

// peerEnded looks at what comes next, without reading it.
func (s *socket) peerEnded() bool {
	if s.state.Load()&hangup == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return true
	}
	var p [1]byte
	n, _, err := syscall.Recvfrom(int(s.fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n <= 0 && err != syscall.EAGAIN && err != syscall.EINTR
}

// waitRead waits for bytes, or for a deadline.
func (s *socket) waitRead(wake <-chan struct{}) {
	if s.park(readerParked, pending, pending) {
		<-wake
		setBits(&s.state, 0, readerParked)
	}
}

// waitWrite waits for room, or for a deadline.
func (s *socket) waitWrite(wake <-chan struct{}) {
	if s.park(writerParked, blocked, 0) {
		<-wake
		setBits(&s.state, 0, writerParked)
	}
}

// park notes that somebody waits, unless the bits of mask are unlike those that
// are waited for.
func (s *socket) park(parked, mask, over uint32) bool {
	for {
		old := s.state.Load()
		if old&mask == over {
			return false
		}
		if s.state.CompareAndSwap(old, old|parked) {
			return true
		}
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

func (s *socket) queues() bool { return false }

func (s *socket) setWriteDeadline(time.Time) {} // waitWrite is woken

func (s *socket) closeWrite() error { return s.shutdown(syscall.SHUT_WR) }

// interrupt is an event to epoll, and an error to reads and writes.
func (s *socket) interrupt() { s.shutdown(syscall.SHUT_RDWR) }

func (s *socket) shutdown(how int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	return os.NewSyscallError("shutdown", syscall.Shutdown(int(s.fd), how))
}

func (s *socket) resume() {
	if s.mark(resumed) {
		s.poller().schedule(s)
	}
}

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
	switch a := name.(type) {
	case *syscall.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *syscall.SockaddrUnix:
		return &net.UnixAddr{Name: a.Name, Net: "unix"}
	}
	return nil
}
