package loop

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
)

// epoll is the engine of sockets: pollers, from the first call of ready on that
// succeeds.
type epoll struct {
	portable // for what is no socket
	loop     *Loop
	pollers  []*poller
	next     atomic.Uint32
	pipes    pipes

	mu      sync.Mutex  // guards what follows
	runs    bool        // there are pollers
	stopped bool        // and there will be none any more
	weary   []*Listener // that found no descriptor left: they are tried again
}

func newEngine(l *Loop) engine { return &epoll{loop: l} }

// processorsOfPoller is how many processors share one, mostPollers how many a
// connection can name.
const (
	processorsOfPoller = 4
	mostPollers        = 1 << 8
)

// ready starts the pollers, unless they run. For want of descriptors that may fail
// now, and succeed later.
func (e *epoll) ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.stopped:
		return net.ErrClosed
	case e.runs:
		return nil
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		e.pipes.most = MaxPipes(int(min(limit.Cur, 1<<30)))
	}
	for len(e.pollers) < min((runtime.GOMAXPROCS(0)+processorsOfPoller-1)/processorsOfPoller, mostPollers) {
		p, err := newPoller(e)
		if err != nil {
			return err
		}
		e.pollers = append(e.pollers, p)
	}
	e.runs = true
	return nil
}

func (e *epoll) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	for _, p := range e.pollers {
		p.stop()
	}
}

// listen has a poller tell when there are connections to accept.
func (e *epoll) listen(l *Listener) error {
	if err := e.ready(); err != nil {
		return err
	}
	switch l.Listener.(type) {
	case *net.TCPListener, *net.UnixListener:
		return e.watch(l, syscall.EPOLL_CTL_ADD, syscall.EPOLLIN)
	}
	return e.portable.listen(l)
}

func (e *epoll) forget(l *Listener) {
	if len(e.pollers) > 0 {
		e.watch(l, syscall.EPOLL_CTL_DEL, 0)
	}
}

// watch asks for a listener's events, which are reported as long as there is
// something to accept.
func (e *epoll) watch(l *Listener, operation int, events uint32) error {
	event := syscall.EpollEvent{Events: events, Fd: int32(l.index), Pad: listenerEvent}
	var err error
	failure := control(l.Listener, func(fd uintptr) {
		err = syscall.EpollCtl(e.pollers[l.index%len(e.pollers)].fd, operation, int(fd), &event)
	})
	return cmp.Or(failure, os.NewSyscallError("epoll_ctl", err))
}

// control calls f with the descriptor of something of package net, which is not
// closed meanwhile.
func control(of any, f func(fd uintptr)) error {
	conn, ok := of.(syscall.Conn)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(f)
}

// acceptAtOnce is how many connections are accepted before others get their
// turn.
const acceptAtOnce = 16

// accept takes connections from a listener.
func (e *epoll) accept(index int32) {
	l := e.loop.listener(int(index))
	for range acceptAtOnce {
		switch err := e.acceptOne(l); err {
		case nil, syscall.EINTR, syscall.ECONNABORTED:
		case syscall.EAGAIN, net.ErrClosed:
			return
		default:
			e.rest(l, err)
			return
		}
	}
}

// acceptOne takes a connection from a listener, unless that was closed.
func (e *epoll) acceptOne(l *Listener) (err error) {
	l.admitting.Lock()
	defer l.admitting.Unlock()
	var fd int
	var peer syscall.Sockaddr
	if control(l.Listener, func(listening uintptr) {
		fd, peer, err = syscall.Accept4(int(listening), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	}) != nil {
		return net.ErrClosed
	}
	if err == nil {
		e.accepted(l, fd, peer)
	}
	return err
}

// rest lets a listener rest until the next sweep: there is no descriptor, or no
// memory, for another connection.
func (e *epoll) rest(l *Listener, err error) {
	l.tired(err)
	e.watch(l, syscall.EPOLL_CTL_MOD, 0)
	e.mu.Lock()
	e.weary = append(e.weary, l)
	e.mu.Unlock()
	e.loop.startSweeping()
}

// rearm wakes the listeners that rest.
func (e *epoll) rearm() {
	e.mu.Lock()
	weary := e.weary
	e.weary = nil
	e.mu.Unlock()
	for _, l := range weary {
		e.watch(l, syscall.EPOLL_CTL_MOD, syscall.EPOLLIN)
	}
}

// accepted makes a connection of a descriptor, or refuses it.
func (e *epoll) accepted(l *Listener, fd int, peer syscall.Sockaddr) {
	s := e.socket(fd, l, addrPort(peer))
	if s.owner = l.admit(&s.Conn); s.owner == nil {
		if s.RemoteAddr().IsValid() { // a reset holds no resources; the peer knows at once
			syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		}
		syscall.Close(fd)
		return
	}
	if s.RemoteAddr().IsValid() {
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	}
	e.open(s)
}

// socket makes a connection of a descriptor, which nobody knows yet.
func (e *epoll) socket(fd int, l *Listener, remote netip.AddrPort) *socket {
	s := &socket{fd: int32(fd)}
	s.Conn.init(e.loop, s, remote)
	s.Conn.poller = uint8(e.next.Add(1) % uint32(len(e.pollers)))
	if l != nil && l.tls != nil {
		s.transport = newSecure(s, l.tls)
	}
	return s
}

// open has a poller tell of a connection. It reports whether the connection is
// not over at once.
func (e *epoll) open(s *socket) bool {
	fd := int(s.fd) // as soon as the connection is known it may be served, and closed
	e.loop.table.add(&s.Conn)
	event := syscall.EpollEvent{Events: socketEvents, Fd: int32(uint32(s.id)), Pad: int32(s.id >> 32)}
	if err := syscall.EpollCtl(s.poller().fd, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
		s.end(err)
		return false
	}
	e.loop.startSweeping()
	return true
}

// adopt makes a connection of one of package net, which it leaves where it is
// if it is no socket, or for want of descriptors.
func (e *epoll) adopt(l *Loop, conn net.Conn, owner Owner) {
	fd, err := e.duplicate(conn)
	if err != nil {
		e.portable.adopt(l, conn, owner)
		return
	}
	s := e.socket(fd, nil, remoteOf(conn))
	conn.Close()
	s.state.Store(running)
	s.owner = owner
	if e.open(s) {
		s.schedule()
	}
}

// duplicate returns a descriptor of our own for a connection's socket.
func (e *epoll) duplicate(conn net.Conn) (fd int, err error) {
	if !isSocket(conn) {
		return 0, errors.ErrUnsupported
	}
	if err := e.ready(); err != nil {
		return 0, err
	}
	failure := control(conn, func(old uintptr) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); errno != 0 {
			err = errno
		}
	})
	return fd, errors.Join(failure, err)
}

// addrPort returns the address of a peer, which is not valid on a Unix socket.
func addrPort(peer syscall.Sockaddr) netip.AddrPort {
	switch a := peer.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
