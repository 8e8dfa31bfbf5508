package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// stall is how long nothing may come.
const stall = 10 * time.Second

// load puts one server through one case. It runs on one thread with epoll, for
// load slower than the server would make this look idle.
type load struct {
	poller
	testCase
	*process
	wire     *wire
	duration time.Duration // to measure for
	dest     syscall.SockaddrInet4
	buffer   []byte // for one read
	output   []byte // for one write
	clients  []client
	opening  int // clients that wait for the server's handshake
	dialed   int // connections so far
	start    time.Time
	now      time.Duration // since start
	over     bool          // nothing more is to be sent

	count     int     // messages, deliveries or handshakes measured
	rate      float64 // of them, a second
	latencies []time.Duration

	receiveBuffer int // SO_RCVBUF of new connections, or 0

	onOpen, onMessage func(*client)
	onEnd             func(*client) // without it no connection may end
}

// client is one connection of the load.
type client struct {
	socket          // its fd is -1 when closed, its name is the client's number
	open     bool   // upgraded
	sender   int    // whose messages are received here
	received int    // messages
	partial  []byte // a frame that has not come whole
	message  []byte // the fragments of a message so far
	sent     int    // messages
	owed     int    // messages to be sent
}

func newLoad(c testCase, p *process, duration time.Duration) *load {
	addr := netip.MustParseAddrPort(p.addr)
	l := &load{
		poller: newPoller(), testCase: c, process: p, wire: newWire(c.size, p.blind), duration: duration,
		dest:    syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()},
		buffer:  make([]byte, 256<<10),
		clients: make([]client, c.conns),
		start:   time.Now(),
		onOpen:  func(*client) {}, onMessage: func(*client) {},
	}
	for i := range l.clients {
		l.clients[i].fd = -1
	}
	return l
}

// close frees all that the case has opened.
func (l *load) close() {
	for i := range l.clients {
		l.hangUp(&l.clients[i])
	}
	syscall.Close(l.epoll)
}

// hangUp ends a connection with a reset, which leaves nothing behind.
func (l *load) hangUp(c *client) {
	if c.fd >= 0 {
		syscall.SetsockoptLinger(c.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		syscall.Close(c.fd)
		c.fd = -1
	}
}

// openAll opens some clients and waits until each is upgraded, and until the
// server has listed them, which it may do after its reply.
func (l *load) openAll(from, to int) {
	l.pollUntil(func() bool {
		for ; from < to && l.opening < 256; from++ {
			l.connect(from)
		}
		return from == to && l.opening == 0
	})
	l.pollFor(300 * time.Millisecond)
}

// connect opens a client and sends its handshake. There are many source
// addresses, so that no port is used again soon.
func (l *load) connect(id int) {
	const bindNoPort = 24 // IP_BIND_ADDRESS_NO_PORT: connect picks it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(err)
	c := &l.clients[id]
	*c = client{socket: socket{fd: fd, name: id}, sender: id}
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindNoPort, 1)
	if l.receiveBuffer > 0 {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, l.receiveBuffer)
	}
	l.dialed++
	must(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 1, byte(1 + l.dialed%50)}}))
	must(syscall.Connect(fd, &l.dest)) // blocks, which on the loopback is short
	must(syscall.SetNonblock(fd, true))
	l.opening++
	l.watch(syscall.EPOLL_CTL_ADD, fd, id, syscall.EPOLLIN)
	l.write(&c.socket, handshakeRequest(l.addr, l.path, l.size))
}

func (l *load) tick() { l.now = time.Since(l.start) }

// poll handles what happens within a time, and reports whether anything did.
func (l *load) poll(atMost time.Duration) bool {
	events := l.wait(int(atMost.Milliseconds()))
	l.tick()
	for _, event := range events {
		c := &l.clients[event.Fd]
		if c.fd >= 0 && event.Events&^syscall.EPOLLOUT != 0 {
			l.receive(c)
		}
		if c.fd >= 0 && event.Events&syscall.EPOLLOUT != 0 {
			l.writable(&c.socket) // a failure shows when reading
		}
	}
	return len(events) > 0
}

func (l *load) pollUntil(done func() bool) {
	l.tick()
	for last := l.now; !done(); {
		if l.poll(100 * time.Millisecond) {
			last = l.now
		} else if l.now-last > stall {
			panic(fault{fmt.Errorf("nothing received for %v", stall)})
		}
	}
}

func (l *load) pollFor(d time.Duration) {
	l.tick()
	for end := l.now + d; l.now < end; {
		l.poll(min(100*time.Millisecond, end-l.now+time.Millisecond))
	}
}

func (l *load) receive(c *client) {
	n := read(c.fd, l.buffer)
	l.tick()
	if n == again {
		return
	}
	if n <= 0 {
		l.end(c, fmt.Errorf("closed by the server (%w)", syscall.Errno(-n)))
		return
	}
	b := l.buffer[:n]
	if !c.open {
		b = l.upgraded(c, b)
	}
	l.consume(c, b)
	l.send(c)
}

// upgraded returns what follows the server's handshake, which has to come in
// one piece.
func (l *load) upgraded(c *client, b []byte) []byte {
	head, rest, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	if !whole || !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Contains(b, []byte(handshakeAccept)) {
		panic(fault{fmt.Errorf("client %d: handshake reply %q", c.name, b)})
	}
	c.open = true
	l.opening--
	l.onOpen(c)
	return rest
}

// consume checks the frames in what was received.
func (l *load) consume(c *client, b []byte) {
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		b = c.partial
	}
	for c.fd >= 0 {
		f, rest, err := nextFrame(b)
		if err == nil && f.payload != nil && f.op < opClose {
			err = l.data(c, f)
		}
		switch b = rest; {
		case err != nil:
			panic(fault{fmt.Errorf("client %d: %w", c.name, err)})
		case f.payload == nil:
			c.partial = append(c.partial[:0], b...)
			return
		case f.op == opPing:
			l.write(&c.socket, clientFrame(opPong, f.payload))
		case f.op == opClose:
			l.end(c, fmt.Errorf("close frame %q", f.payload))
			return // whatever follows does not count
		}
	}
}

// data takes a frame of a message.
func (l *load) data(c *client, f frame) error {
	if f.op == opContinuation != (len(c.message) > 0) {
		return fmt.Errorf("message %d: opcode %d", c.received, f.op)
	}
	if !f.final || len(c.message) > 0 {
		c.message = append(c.message, f.payload...)
		f.payload = c.message
	}
	if !f.final {
		return nil
	}
	err := l.wire.check(f.payload, c.sender, c.received)
	c.message = c.message[:0]
	c.received++
	l.onMessage(c)
	return err
}

// end is the end of a connection, which most cases do not expect.
func (l *load) end(c *client, why error) {
	if l.onEnd == nil || !c.open {
		panic(fault{fmt.Errorf("client %d: %w", c.name, why)})
	}
	l.hangUp(c)
	l.onEnd(c)
}

// send sends the messages owed, in one write.
func (l *load) send(c *client) {
	l.output = l.output[:0]
	for ; c.owed > 0; c.owed-- {
		l.output = append(l.output, l.wire.frame...)
		l.wire.stamp(l.output, c.name, c.sent)
		c.sent++
	}
	if len(l.output) > 0 && !l.write(&c.socket, l.output) {
		l.end(c, errors.New("cannot write"))
	}
}
