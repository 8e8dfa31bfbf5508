package ws

import (
	"syscall"
	"testing"
)

// An event that was on its way while its socket was closed, and its descriptor
// and its place in the table were used again, is for nobody.
func TestEventsOfClosedSockets(t *testing.T) {
	e := newEndpoint(&functions{}, Options{})
	g := &e.engine
	g.endpoint, g.events = e, make([]syscall.EpollEvent, 2)
	var err error
	if g.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(g.fd)
	var old *socket
	var late syscall.EpollEvent
	for n := range 2 * blockSize { // at first there are places never used
		s, peer := watchedSocket(t, e)
		if !g.poll(0) || g.found != 1 || g.find(g.events[0]) != &s.conn {
			t.Fatalf("%d events, of which the first does not find its socket", g.found)
		}
		if n > blockSize && (s.fd != old.fd || uint32(s.id) != uint32(old.id)) {
			t.Fatalf("descriptor %d and id %#x do not take the place of %d and %#x", s.fd, s.id, old.fd, old.id)
		}
		if old != nil && g.find(late) != nil {
			t.Fatal("the event of a closed socket finds its successor")
		}
		old, late = s, g.events[0]
		syscall.Close(int(s.fd))
		syscall.Close(peer)
		e.table.remove(&s.conn)
		if g.find(late) != nil {
			t.Fatal("the event of a closed socket finds one")
		}
	}
}

// watchedSocket returns a socket that has something to read.
func watchedSocket(t *testing.T, e *Endpoint) (s *socket, peer int) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	s = &socket{fd: int32(pair[0])}
	s.transport, s.endpoint = s, e
	e.table.add(&s.conn)
	if err := s.watch(); err != nil {
		t.Fatal(err)
	}
	syscall.Write(pair[1], []byte("x"))
	return s, pair[1]
}
