package ws

import (
	"syscall"
	"testing"

	"aerys/ws/frame"
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

// A client whose pipe is full is not read to its end before others have a turn, and
// nothing of it is lost.
func TestFullPipeTakesTurns(t *testing.T) {
	bytes := 0
	s, peer := quietSocket(t, &functions{onData: func(_ ClientID, m *Message) {
		p, _ := m.Bytes()
		bytes += len(p)
	}}, Options{MaxBytesPerMinute: -1, MaxFramesPerSecond: -1})
	sent, message := 0, append([]byte{0x82, 0xfe, 0x0f, 0xa0, 0, 0, 0, 0}, make([]byte, 4000)...)
	for n := len(message); n == len(message); {
		if n, _ = syscall.Write(peer, message); n == len(message) {
			sent += 4000
		}
	}
	if sent <= 2*maxReads*bufferSize {
		t.Fatalf("a pipe holds only %d bytes", sent)
	}
	turn := turns.New().(*turn)
	turns := 1
	for before := bytes; s.run(turn); before = bytes {
		turns++
		if read := bytes - before; read > maxReads*largeBufferSize {
			t.Errorf("read %d bytes in a row", read)
		}
	}
	if bytes != sent || turns < 2 {
		t.Errorf("received %d bytes of %d in %d turns", bytes, sent, turns)
	}
}

// Of a large frame that comes fast epoll tells when there is much of it, of a slow
// one, and of all else, at once.
func TestMuchIsAwaited(t *testing.T) {
	const size = 200_000
	header := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: size})
	messages := 0
	s, peer := quietSocket(t, &functions{onData: func(_ ClientID, m *Message) {
		if p, err := m.Bytes(); len(p) != size || err != nil {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		messages++
	}}, Options{AutoFrameSize: size})
	turn := turns.New().(*turn)
	send := func(what string, wire []byte, much bool) {
		if n, err := syscall.Write(peer, wire); n < len(wire) {
			t.Fatalf("%s: sent %d bytes, %v", what, n, err)
		}
		s.run(turn)
		if least := awaited(t, s); least > 1 != much {
			t.Errorf("%s: %d bytes are awaited", what, least)
		}
	}
	for range 2 {
		send("a little", append(header[:len(header):len(header)], make([]byte, 1000)...), false)
		send("much", make([]byte, 60_000), true)
		send("little again", make([]byte, 1000), false)
		send("much again", make([]byte, 60_000), true)
		send("and again", make([]byte, 60_000), false) // too few are missing to wait for
		send("the rest", make([]byte, size-182_000), false)
	}
	if messages != 2 {
		t.Errorf("%d messages of 2", messages)
	}
}

// A client that becomes slow in the middle of a large frame is read by the next
// sweep, also when it is being closed: its close frame is behind that.
func TestSweepHurries(t *testing.T) {
	header := []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0}
	for name, close := range map[string]func(*conn){
		"open":    func(*conn) {},
		"closing": func(c *conn) { c.close(CodeNormal, "") },
	} {
		s, peer := quietSocket(t, &functions{}, Options{AutoFrameSize: 1 << 20})
		syscall.Write(peer, append(header, make([]byte, 60_000)...))
		s.run(turns.New().(*turn))
		if least := awaited(t, s); least <= 1 {
			t.Fatalf("%s: nothing is awaited", name)
		}
		close(&s.conn)
		s.endpoint.clock.Add(1)
		s.sweep(false)
		if least := awaited(t, s); least > 1 {
			t.Errorf("%s: %d bytes are awaited behind a sweep", name, least)
		}
	}
}

// awaited is how many bytes have to come before epoll tells.
func awaited(t *testing.T, s *socket) int {
	t.Helper()
	least, err := syscall.GetsockoptInt(int(s.fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT)
	if err != nil {
		t.Fatal(err)
	}
	return least
}

// quietSocket returns the socket of an endpoint with an epoll instance and no
// goroutines, with nothing to read.
func quietSocket(t *testing.T, handler *functions, options Options) (s *socket, peer int) {
	e := newEndpoint(handler, options)
	if e.engine.fd, e.engine.err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); e.engine.err != nil {
		t.Fatal(e.engine.err)
	}
	s, peer = watchedSocket(t, e)
	t.Cleanup(func() { syscall.Close(peer); syscall.Close(e.engine.fd) })
	syscall.Read(int(s.fd), make([]byte, 1))
	return s, peer
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
