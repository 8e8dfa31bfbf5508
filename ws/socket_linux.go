package ws

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
)

// socket is a conn of the epoll engine.
type socket struct {
	conn
	fd      int32 // -1 once closed: conn.mu guards it for those who write
	state   atomic.Uint32
	release func() // tells the listener that the connection is over
}

// The bits of socket.state.
const (
	running  = 1 << iota // a goroutine runs the socket, or it is queued
	pending              // there may be bytes that were not there when it last read
	hangup               // the client has ended its direction, or all is lost: read to the end
	parked               // who runs it waits for bytes
	patient              // for many: epoll says nothing of fewer
	blocked              // the socket was full: send when it is writable
	drained              // the client's close frame came, and all that it sent was read
	finished             // and nothing is left to be sent: close the socket
)

// socketEvents are the edges that are reported. EPOLLOUT is one only after a
// write that found the socket full.
const socketEvents = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | syscall.EPOLLET&(1<<32-1)

// open is a socket's first turn: it leaves package net, the client gets its
// 101, then come OnOpen and what came behind the handshake. It reports whether
// the socket is to be run again.
func (s *socket) open(e *Endpoint, t *turn, o *arrival) (again bool) {
	fd, ok := duplicate(o.conn)
	if !ok { // there is no descriptor left
		adoptPortable(e, o)
		return false
	}
	o.conn.Close()
	s.fd, s.release = int32(fd), o.release
	e.opened(&s.conn, o)
	e.entering.Done()
	t.begin(&s.conn)
	err := s.watch() // before a handler waits for the rest of a message
	s.onOpen(o.opener)
	if err == nil && len(o.early) > 0 {
		err = ignorePause(t.received(o.early))
	}
	t.finish()
	if err != nil {
		s.close()
		return false
	}
	// What came meanwhile is an edge already. A stash waits for a sweep.
	return s.in != nil && s.in.stash != nil || !s.settle()
}

// watch asks for the socket's events.
func (s *socket) watch() error {
	event := eventOf(&s.conn, socketEvents)
	return syscall.EpollCtl(s.endpoint.engine.fd, syscall.EPOLL_CTL_ADD, int(s.fd), &event)
}

// notify notes an event and reports whether the socket is to be run for it.
func (s *socket) notify(events uint32) bool {
	if events&syscall.EPOLLOUT != 0 && s.state.Load()&blocked != 0 {
		s.mu.Lock()
		s.state.And(^uint32(blocked))
		s.gathering = false // a handler that takes long does not hold this back
		s.flush()
		s.mu.Unlock()
	}
	if events&^syscall.EPOLLOUT == 0 && s.state.Load()&finished == 0 {
		return false
	}
	bits := uint32(pending)
	if events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		bits |= hangup
	}
	return s.mark(bits)
}

// mark notes that there is something to do. It reports whether the caller is to
// queue the socket; a handler that waits for bytes is woken.
func (s *socket) mark(bits uint32) bool {
	for {
		old := s.state.Load()
		if !s.state.CompareAndSwap(old, (old|bits|running)&^parked) {
			continue
		}
		if old&parked != 0 {
			s.extra.wake <- struct{}{}
		}
		return old&running == 0
	}
}

// run reads and deals with what there is. It reports whether the socket is to
// be run again although no event came: others go first.
func (s *socket) run(t *turn) (again bool) {
	for {
		t.begin(&s.conn)
		err := s.readAll(t)
		t.finish()
		switch {
		case err == errYield:
			return true
		case err == errPaused:
			s.state.And(^uint32(running))
			s.pause() // only now, that no sweep resumes it before
			return false
		case err != nil, s.state.Load()&finished != 0:
			s.close()
			return false
		case s.settle():
			return false
		}
	}
}

// errYield says that a connection has had its share: others go first.
var errYield = errors.New("ws: there is more to read")

// readAll reads until there is nothing more. A read that brought less than
// there was room for is the last: what comes later is an edge. The error is
// errYield, errPaused, or why the connection is over.
func (s *socket) readAll(t *turn) error {
	if err := ignorePause(t.resume()); err != nil {
		return err
	}
	for range maxReads {
		if t.mustPause() {
			return errPaused
		}
		space := t.space()
		n, err := s.readNow(space)
		if err == nil {
			err = ignorePause(t.received(space[:n]))
		}
		switch {
		case err != nil && err != syscall.EAGAIN:
			return err
		case err == syscall.EAGAIN, n < len(space) && s.state.Load()&hangup == 0:
			if t.mustPause() { // there may be a stash
				return errPaused
			}
			if t.in.stash != nil {
				return errPaused
			}
			if s.deaf && s.peerIsDone() {
				s.state.Or(drained)
			}
			s.await(t.missing())
			return nil
		}
	}
	return errYield
}

// settle makes the socket idle, unless an event came since it last read.
func (s *socket) settle() bool {
	for {
		old := s.state.Load()
		if old&pending != 0 {
			return false
		}
		if s.state.CompareAndSwap(old, old&^running) {
			return true
		}
	}
}

// readNow reads what is there. The error is syscall.EAGAIN if nothing is. There
// may be more, and no other edge for it, when p was filled or the client has
// ended its direction.
func (s *socket) readNow(p []byte) (int, error) {
	before := s.state.And(^uint32(pending))
	n, err := ignoringEINTR(syscall.Read, int(s.fd), p)
	if n == 0 && err == nil {
		err = io.EOF
	}
	if n == len(p) || n > 0 && before&hangup != 0 {
		s.state.Or(pending)
	}
	return max(n, 0), err
}

// read waits for bytes, for a handler that wants more of a message.
func (s *socket) read(p []byte, least int) (int, error) {
	wake := s.waker()
	for {
		if s.state.Load()&pending != 0 {
			if n, err := s.readNow(p); err != syscall.EAGAIN {
				return n, err
			}
		}
		s.await(least)
		if s.park() {
			<-wake
		}
		s.hurry()
	}
}

// park notes that whoever runs the socket waits to be woken, unless there may
// be something to read.
func (s *socket) park() bool {
	for {
		old := s.state.Load()
		if old&pending != 0 {
			return false
		}
		if s.state.CompareAndSwap(old, old|parked) {
			return true
		}
	}
}

// fewBytes is less than it pays to wait for, manyBytes is enough to read at a
// time.
const (
	fewBytes  = 32 << 10
	manyBytes = 512 << 10
)

// await has epoll say nothing before many bytes are there, if least is many: a
// large message is read in few pieces. They are no more than the kernel will
// keep, headers of small packets included.
func (s *socket) await(least int) {
	if least >= fewBytes {
		room, _ := syscall.GetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		least = min(least, room/4, manyBytes)
	}
	if least < fewBytes {
		s.hurry()
		return
	}
	syscall.SetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, least)
	s.state.Or(patient) // only now, or a sweep could be too early
}

// hurry has epoll tell of anything again, and of what there is.
func (s *socket) hurry() {
	if s.state.Load()&patient != 0 && s.state.And(^uint32(patient))&patient != 0 && s.fd >= 0 {
		syscall.SetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, 1)
	}
}

// waker is what wakes a handler that waits for bytes.
func (s *socket) waker() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extras().wake == nil {
		s.extra.wake = make(chan struct{}, 1)
	}
	return s.extra.wake
}

// close ends the connection. Only who runs it calls it, once.
func (s *socket) close() {
	s.end()
	s.mu.Lock()
	syscall.Close(int(s.fd))
	s.fd = -1
	s.mu.Unlock()
	s.release()
}

func (s *socket) tryWrite(p []byte) (n int, err error) {
	if s.state.Load()&blocked != 0 {
		return 0, nil
	}
	n, err = s.writeNow(p)
	if n < len(p) && err == nil {
		// The socket may have become writable before the bit was seen.
		s.state.Or(blocked)
		var more int
		more, err = s.writeNow(p[n:])
		n += more
		if n == len(p) {
			s.state.And(^uint32(blocked))
		}
	}
	return n, err
}

func (s *socket) writeNow(p []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err := ignoringEINTR(syscall.Write, int(s.fd), p)
	if err == syscall.EAGAIN {
		err = nil
	}
	return max(n, 0), err
}

// tryWriteFrame sends header and payload together: the kernel is told that more
// follows the header.
func (s *socket) tryWriteFrame(header, payload []byte) (int, error) {
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	if s.state.Load()&blocked != 0 {
		return 0, nil
	}
	n, err := syscall.SendmsgN(int(s.fd), header, nil, nil, syscall.MSG_MORE|syscall.MSG_NOSIGNAL)
	if n < len(header) {
		if err == syscall.EAGAIN || err == syscall.EINTR {
			err = nil
		}
		return max(n, 0), err
	}
	n, err = s.tryWrite(payload)
	return len(header) + n, err
}

func (s *socket) full() {} // the next EPOLLOUT sends the rest

// closeWrite leaves a socket without unread bytes to be closed as it is, which
// is the server's part (RFC 6455 §7.1.1). If the client is in the middle of
// something, a reset could destroy the close frame on its way.
func (s *socket) closeWrite() {
	switch {
	case s.fd < 0:
	case s.state.Load()&drained != 0:
		s.state.Or(finished)
	default:
		syscall.Shutdown(int(s.fd), syscall.SHUT_WR)
	}
}

func (s *socket) interrupt() {
	if s.fd >= 0 {
		syscall.Shutdown(int(s.fd), syscall.SHUT_RDWR)
	}
}

// resume runs a socket that paused.
func (s *socket) resume() {
	if s.mark(pending) {
		s.endpoint.engine.schedule(task{socket: s})
	}
}
