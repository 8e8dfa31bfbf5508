package ws

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// watched is the socket below a TLS connection, as far as the epoll engine has
// to know it: it waits for the socket, in place of a goroutine whose stack
// reading has made large. The rest is up to TLS.
type watched struct {
	fd          int32
	ok          bool // the engine can wait for it
	added       bool // and knows it
	drained     bool // TLS holds nothing back of what it has received
	interrupted bool // conn.mu guards it
	closed      bool // likewise: fd is somebody else's
}

func (w *watched) init(e *Endpoint, conn net.Conn) {
	c, ok := conn.(*tls.Conn)
	if !ok || e.options.Engine == EnginePortable || !e.engine.ready(e) {
		return
	}
	socket, ok := c.NetConn().(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := socket.SyscallConn(); err == nil {
		w.ok = raw.Control(func(fd uintptr) { w.fd = int32(fd) }) == nil
	}
}

func (w *watched) possible() bool { return w.ok }

// watch has the stream served when there is something to read.
func (s *stream) watch() error {
	w := &s.tls
	if !w.drained {
		go s.server()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.interrupted {
		return net.ErrClosed
	}
	operation := syscall.EPOLL_CTL_MOD
	if !w.added {
		w.added, operation = true, syscall.EPOLL_CTL_ADD
	}
	event := eventOf(&s.conn, syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLONESHOT)
	return syscall.EpollCtl(s.endpoint.engine.fd, operation, int(w.fd), &event)
}

// interrupt reports an event. conn.mu is held.
func (w *watched) interrupt() {
	w.interrupted = true
	if w.ok && !w.closed {
		syscall.Shutdown(int(w.fd), syscall.SHUT_RDWR)
	}
}

// forget leaves the descriptor to whoever gets its number next. conn.mu is held.
func (w *watched) forget() { w.closed = true }

// decrypt is a turn of a stream whose socket has something to read, or of which
// TLS holds something back. It waits for two bytes at most: they may be of a
// record that has not come as a whole, and until it has nobody is to hold a
// buffer for it.
func (s *stream) decrypt() error {
	s.mu.Lock() // until whoever asked for the event is done
	drained := s.tls.drained
	s.tls.drained = false
	s.mu.Unlock()
	found := 0
	if drained {
		n, err := s.net.Read(s.first[:])
		if n == 0 {
			return err
		}
		found = n
	}
	t := turns.Get().(*turn)
	s.begin(t)
	defer s.finish(t)
	space := t.buffer
	copy(space, s.first[:found])
	for {
		n, err := s.readHeldBack(space[found:])
		if found += n; found == 0 {
			s.tls.drained = err == nil
			return err
		}
		err = ignorePause(t.received(space[:found]))
		if err != nil || t.mustPause() {
			return err
		}
		space, found = t.space(), 0
	}
}

// readHeldBack reads what TLS has received, which may be nothing.
func (s *stream) readHeldBack(p []byte) (n int, err error) {
	s.net.SetReadDeadline(longPast)
	n, err = s.net.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tls.interrupted {
		return n, err
	}
	s.net.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n, err
}
