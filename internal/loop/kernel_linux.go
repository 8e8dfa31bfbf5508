package loop

import (
	"net"
	"os"
	"syscall"
)

// Options that package syscall lacks.
const (
	tcpNotSentLowat = 25 // TCP_NOTSENT_LOWAT
	soMemInfo       = 55 // SO_MEMINFO
)

// The kernel takes about so much of what it cannot send yet. It would take more,
// for minutes with some peers, and nothing could overtake it. Who waits to write
// is woken by halves of it.
const (
	unsentBySocket = 1 << 20
	unsentElse     = 128 << 10
)

// LimitUnsent has the operating system take less than it would of what it cannot
// send yet, where it lets itself be told.
func (c *Conn) LimitUnsent() {
	limit := unsentElse
	if _, ok := c.transport.(*socket); ok {
		limit = unsentBySocket
	}
	c.onSocket(func(fd int) { // others than TCP's have none
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, tcpNotSentLowat, limit)
	})
}

// Held is how much memory takes what was written and has not arrived, as far as
// that can be told: when it gets less, the peer makes progress.
func (c *Conn) Held() int {
	n := c.transport.waits()
	c.onSocket(func(fd int) {
		// This is no filter: it is the type of package syscall that has eight numbers.
		info, err := syscall.GetsockoptICMPv6Filter(fd, syscall.SOL_SOCKET, soMemInfo)
		if err == nil {
			const allocated, queued = 2, 5 // SK_MEMINFO_WMEM_ALLOC of Unix sockets, SK_MEMINFO_WMEM_QUEUED of TCP's
			n += int(info.Data[allocated] + info.Data[queued])
		}
	})
	return n
}

// onSocket calls do for the connection's socket, or that below its TLS, if it has
// one.
func (c *Conn) onSocket(do func(fd int)) {
	if s := plain(c); s != nil {
		s.use(func(fd int) (int, error) {
			do(fd)
			return 0, nil
		})
		return
	}
	conn := c.transport.(*stream).net
	for {
		above, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		conn = above.NetConn()
	}
	control(conn, func(fd uintptr) { do(int(fd)) })
}

// fewBytes is less than it pays to wait for, manyBytes is enough to read at a
// time.
const (
	fewBytes  = 32 << 10
	manyBytes = 512 << 10
)

// Await has nothing be told of what comes before many bytes are there, if least
// is many, until Hurry is called: what is large is read in few pieces. They are
// no more than the kernel will keep, headers of small packets included. It is for
// who serves the connection.
func (c *Conn) Await(least int) {
	s, ok := c.transport.(*socket)
	if !ok {
		return // TLS may hold some of them already
	}
	if least >= fewBytes {
		room, _ := syscall.GetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		least = min(least, room/4, manyBytes)
	}
	if least < fewBytes {
		c.Hurry()
		return
	}
	syscall.SetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, least)
	setBits(&s.state, patient, 0) // only now, or Hurry could be too early
}

// Hurry has anything that comes be told again, and what is there.
func (c *Conn) Hurry() {
	if c.state.Load()&patient != 0 && setBits(&c.state, 0, patient)&patient != 0 {
		c.onSocket(func(fd int) { syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, 1) })
	}
}

// TryWriteParts is TryWrite for two parts of which the second is large, and
// neither is copied: the kernel is told that more follows the first. Where that
// is not possible it sends nothing.
func (c *Conn) TryWriteParts(first, second []byte) (n int, err error) {
	s, ok := c.transport.(*socket)
	if !ok {
		return 0, nil
	}
	if s.state.Load()&blocked == 0 {
		n, err = s.writeParts(first, second)
	}
	s.wrote(n, n < len(first)+len(second) && err == nil)
	return n, err
}

func (s *socket) writeParts(first, second []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	n, err = syscall.SendmsgN(int(s.fd), first, nil, nil, syscall.MSG_MORE|syscall.MSG_NOSIGNAL)
	switch {
	case n < len(first) && (err == nil || err == syscall.EAGAIN || err == syscall.EINTR):
		return max(n, 0), nil
	case n < len(first):
		return 0, os.NewSyscallError("sendmsg", err)
	}
	n, err = s.writeOrBlock(second)
	return len(first) + n, err
}
