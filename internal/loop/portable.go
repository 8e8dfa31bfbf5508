package loop

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// stream is a connection of package net. One goroutine waits for it, which
// holds no buffer, and another one serves it: a stack that has grown stays so.
type stream struct {
	Conn
	net net.Conn
	raw raw // reads and writes without waiting, where the system can

	waiter func() // wait, bound once

	mu       sync.Mutex // guards what follows
	serving  bool       // a goroutine runs Serve
	again    bool       // and is to call it once more
	more     bool       // something came since
	watching bool       // a goroutine waits for a byte
	reading  bool       // somebody reads: nobody is to watch
	filled   bool       // a read brought all that there was room for: there is more
	has      bool       // first was found by who watched
	first    [1]byte
	err      error // what ended the watching
	broken   bool  // by Interrupt
	over     bool  // closed

	queue
}

// newStream makes a connection that nobody knows yet.
func newStream(l *Loop, conn net.Conn) *stream {
	s := &stream{net: conn, serving: true}
	s.waiter, s.drainer = s.wait, s.drain
	s.raw.init(conn)
	l.ready(&s.Conn, s, remoteOf(conn))
	return s
}

// remoteOf returns the address of a peer, not valid if it has none.
func remoteOf(conn net.Conn) (remote netip.AddrPort) {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		remote = a.AddrPort()
	}
	return remote
}

// start has a connection served by goroutines.
func (s *stream) start(owner Owner) {
	s.owner = owner
	s.loop.table.add(&s.Conn)
	s.loop.startSweeping()
	go s.serve()
}

// serve runs Serve for as long as there is something to do.
func (s *stream) serve() {
	returned := false
	defer func() {
		if !returned {
			s.outlive()
		}
	}()
	err := s.shake()
	for err == nil {
		s.begin()
		switch err = s.Owner().Serve(&s.Conn); {
		case err == ErrYield:
			err = nil
		case err != nil && err != ErrAgain && err != ErrPause:
		case s.settle(err == ErrPause):
			returned = true
			return
		default:
			err = nil
		}
	}
	returned = true
	s.finish(err)
}

// begin is called before Serve.
func (s *stream) begin() {
	s.mu.Lock()
	s.again, s.more = false, false
	s.mu.Unlock()
}

// outlive sees to a connection whose Serve has ended the goroutine.
func (s *stream) outlive() {
	s.mu.Lock()
	again := s.again
	s.mu.Unlock()
	if again {
		go s.serve()
		return
	}
	s.finish(ErrGoexit)
}

// shake is the handshake of TLS.
func (s *stream) shake() error {
	if c, ok := s.net.(*tls.Conn); ok {
		return c.HandshakeContext(context.Background()) // it ends by Interrupt
	}
	return nil
}

// settle leaves the waiting to another goroutine, unless there is something to
// do already. What has come does not count if it is to wait.
func (s *stream) settle(pauses bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again || s.more || !pauses && (s.has || s.err != nil) {
		return false
	}
	s.serving = false
	s.watch()
	return true
}

// watch has a goroutine wait, unless one does. s.mu is held.
func (s *stream) watch() {
	if !s.watching && !s.reading && !s.has && s.err == nil && !s.over {
		s.watching = true
		go s.waiter()
	}
}

// wait waits for a byte.
func (s *stream) wait() {
	n, err := s.net.Read(s.first[:])
	s.mu.Lock()
	s.watching, s.has, s.more = false, n > 0, true
	if n == 0 && !s.over {
		s.err = err
	}
	serving, over := s.serving, s.over
	s.serving = true
	s.mu.Unlock()
	switch {
	case !serving:
		s.serve()
		return
	case !over: // else it was hijacked, or closed
		s.Owner().Ahead(&s.Conn, err != nil)
	}
	signal(s.extras().readable)
}

// tryRead reads what was found, and what is behind it.
func (s *stream) tryRead(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watching || s.reading || len(p) == 0 {
		return 0, ErrAgain
	}
	if s.has {
		s.has, p[0] = false, s.first[0]
		n, p = 1, p[1:]
	}
	if s.err == nil && (n > 0 || s.filled || s.raw.possible()) {
		s.reading = true
		s.mu.Unlock()
		var more int
		more, err = s.readNow(p)
		s.mu.Lock()
		s.reading, s.filled = false, more == len(p)
		n += more
		if err != ErrAgain {
			s.err = err
		}
	}
	if n > 0 {
		s.lookSoon(0) // to watch, if this takes long
		return n, nil
	}
	if s.err == nil {
		s.watch()
		return 0, ErrAgain
	}
	return 0, s.err
}

// tryReadAhead is tryRead beside Serve, which may wait for it, or have returned
// meanwhile because it would have had to.
func (s *stream) tryReadAhead(p []byte) (int, error) {
	n, err := s.tryRead(p)
	s.mu.Lock()
	switch {
	case s.serving:
	case s.err != nil && !s.over:
		s.serving = true
		go s.serve()
	default:
		s.watch()
	}
	s.mu.Unlock()
	signal(s.extras().readable)
	return n, err
}

// probePeriod is how long a read waits for what is likely to be there, where the
// system does not tell whether it is.
const probePeriod = time.Millisecond

// readNow reads what is there.
func (s *stream) readNow(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, ErrAgain
	}
	if s.raw.possible() {
		return s.raw.read(p)
	}
	s.net.SetReadDeadline(time.Now().Add(probePeriod))
	n, err := s.net.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return n, net.ErrClosed
	}
	s.net.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrAgain
	}
	return n, err
}

// lookAhead has a goroutine watch for the peer's leaving when Serve takes long.
func (s *stream) lookAhead() (came, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving && !s.reading {
		s.watch()
	}
	return false, false
}

func (s *stream) peerEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil && !s.has
}

func (s *stream) waitRead(wake <-chan struct{}) {
	s.mu.Lock()
	wait := s.watching || s.reading
	s.mu.Unlock()
	if wait {
		<-wake
	}
}

func (s *stream) mayRead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has || s.err != nil
}

func (s *stream) hungUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// longPast is a deadline that ends what waits.
var longPast = time.Unix(1, 0)

func (s *stream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over { // else it may be another's
		s.broken = true
		s.net.SetDeadline(longPast)
	}
}

func (s *stream) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again = s.serving; !s.serving {
		s.serving = true
		go s.serve()
	}
}

func (s *stream) close() {
	s.mu.Lock()
	s.over = true
	conn := s.net
	if c, ok := conn.(*tls.Conn); ok && (s.broken || s.isStuck()) {
		conn = c.NetConn() // TLS would wait to say goodbye
	}
	s.mu.Unlock()
	conn.Close()
}

// hijack ends the watching, of which a byte may be left over.
func (s *stream) hijack() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.watching {
		s.net.SetReadDeadline(longPast)
	}
	for s.watching || s.reading {
		s.mu.Unlock()
		<-s.extras().readable
		s.mu.Lock()
	}
	if !s.broken {
		s.net.SetDeadline(time.Time{})
	}
	if s.has {
		return &prefixed{Conn: s.net, first: s.first, has: true}, nil
	}
	return s.net, nil
}

// prefixed is a connection of which a byte was read already.
type prefixed struct {
	net.Conn
	first [1]byte
	has   bool
}

func (p *prefixed) Read(b []byte) (int, error) {
	if p.has && len(b) > 0 {
		p.has, b[0] = false, p.first[0]
		return 1, nil
	}
	return p.Conn.Read(b)
}

func (s *stream) localAddr() net.Addr { return s.net.LocalAddr() }

func (s *stream) secured() *tls.Conn {
	c, _ := s.net.(*tls.Conn)
	return c
}

// acceptPortable accepts connections until the listener is closed.
func (l *Listener) acceptPortable() {
	for {
		conn, err := l.Accept()
		if err == nil {
			l.acceptedPortable(conn)
			continue
		}
		if l.closed() {
			return
		}
		l.loop.log.Warn("aerys: cannot accept a connection, trying again in a second", "address", l.Addr().String(), "error", err)
		select {
		case <-l.done:
		case <-time.After(time.Second):
		}
	}
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// acceptedPortable has a connection served, or refuses it.
func (l *Listener) acceptedPortable(conn net.Conn) {
	l.admitting.Lock()
	defer l.admitting.Unlock()
	if l.closed() {
		conn.Close()
		return
	}
	plain := conn
	if l.tls != nil {
		conn = tls.Server(conn, l.tls)
	}
	s := newStream(l.loop, conn)
	owner := l.admit(&s.Conn)
	if owner == nil {
		if tcp, ok := plain.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset holds no resources; the peer knows at once
		}
		plain.Close()
		return
	}
	s.start(owner)
}
