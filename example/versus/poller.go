package main

import (
	"syscall"
	"unsafe"
)

// poller is an epoll instance. The load generator and the floor have one each.
type poller struct {
	epoll  int
	events []syscall.EpollEvent
}

func newPoller() poller {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	must(err)
	return poller{fd, make([]syscall.EpollEvent, 512)}
}

// watch changes what is waited for on a descriptor; its events bear the name.
func (p *poller) watch(op, fd, name int, events uint32) {
	must(syscall.EpollCtl(p.epoll, op, fd, &syscall.EpollEvent{Events: events, Fd: int32(name)}))
}

func (p *poller) wait(milliseconds int) []syscall.EpollEvent {
	n, err := syscall.EpollWait(p.epoll, p.events, milliseconds)
	if err != syscall.EINTR {
		must(err)
	}
	return p.events[:max(n, 0)]
}

// socket is a connection that a poller watches for what can be read.
type socket struct {
	fd, name int
	queue    []byte // what the kernel has not taken yet
	taken    int    // but for so much of it
}

// write sends b, now or when the socket takes it. It reports whether the
// connection is still good.
func (p *poller) write(s *socket, b []byte) bool {
	if len(s.queue) > 0 {
		s.queue = append(s.queue, b...)
		return true
	}
	n := transfer(syscall.SYS_WRITE, s.fd, b)
	if n >= 0 && n < len(b) || n == again {
		s.queue = append(s.queue, b[max(n, 0):]...)
		p.watch(syscall.EPOLL_CTL_MOD, s.fd, s.name, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
	return n >= 0 || n == again
}

// writable goes on with the queue of a socket that takes more.
func (p *poller) writable(s *socket) bool {
	n := transfer(syscall.SYS_WRITE, s.fd, s.queue[s.taken:])
	if s.taken += max(n, 0); s.taken == len(s.queue) {
		s.queue, s.taken = s.queue[:0], 0
		p.watch(syscall.EPOLL_CTL_MOD, s.fd, s.name, syscall.EPOLLIN)
	}
	return n >= 0 || n == again
}

func read(fd int, b []byte) int { return transfer(syscall.SYS_READ, fd, b) }

// transfer reads or writes b and returns the count, or -errno. The sockets do
// not block, so Go's scheduler need not hear of it.
func transfer(call uintptr, fd int, b []byte) int {
	n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -int(errno)
	}
	return int(n)
}

const again = -int(syscall.EAGAIN)
