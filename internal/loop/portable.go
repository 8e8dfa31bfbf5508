package loop

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// portable is the engine of all systems: goroutines wait for connections.
type portable struct{}

func (portable) listen(l *Listener) error {
	go l.accept()
	return nil
}

func (portable) adopt(l *Loop, conn net.Conn, owner Owner) { l.AdoptPortable(conn, owner) }

func (portable) forget(*Listener) {}

func (portable) rearm() {}

func (portable) stop() {}

// AdoptPortable is Adopt that leaves the connection one of package net.
func (l *Loop) AdoptPortable(conn net.Conn, owner Owner) { newStream(l, conn).start(owner) }

// accept accepts connections until the listener is closed.
func (l *Listener) accept() {
	for {
		conn, err := l.Accept()
		if err == nil {
			l.accepted(conn)
			continue
		}
		if l.closed() {
			return
		}
		l.tired(err)
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

// accepted has a connection served, or refuses it.
func (l *Listener) accepted(conn net.Conn) {
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

// stream is a connection of package net. One goroutine waits for it, which
// holds no buffer, and another one serves it: a stack that has grown stays so.
type stream struct {
	Conn
	net net.Conn
	raw *raw // reads and writes without waiting; nil where that is not possible

	waiter, drainer func()        // wait and drain, bound once
	resident        chan struct{} // has who called Stay wait in the waiter's place; nil for others

	mu       sync.Mutex // guards what follows, of which pending tells whether has or err is set
	watching bool       // a goroutine waits for a byte
	reading  bool       // somebody reads: nobody is to watch
	filled   bool       // a read brought all that there was room for: there is more
	has      bool       // first was found by who watched
	first    [1]byte
	err      error // what ended the reading
	broken   bool  // by Interrupt
	over     bool  // closed

	queue
}

// newStream makes a connection that nobody knows yet.
func newStream(l *Loop, conn net.Conn) *stream {
	s := &stream{net: conn, raw: newRaw(conn)}
	s.waiter, s.drainer = s.wait, s.drain
	s.Conn.init(l, s, remoteOf(conn))
	s.state.Store(running)
	if s.secured() != nil {
		s.state.Store(running | shaking)
	}
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
	s.schedule()
}

func (s *stream) schedule() { go s.serve() }

// serve runs Serve for as long as there is something to do, and leaves the waiting
// to another goroutine.
func (s *stream) serve() {
	served := false
	defer func() {
		if !served {
			s.outlive()
		}
	}()
	for s.run() {
	}
	served = true
	s.watch()
}

// watch has a goroutine wait, unless one does.
func (s *stream) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.await()
}

// await is watch for who holds s.mu.
func (s *stream) await() {
	if s.watching || s.reading || s.has || s.err != nil || s.over {
		return
	}
	s.watching = true
	if s.resident != nil {
		s.resident <- struct{}{}
	} else {
		go s.waiter()
	}
}

// wait waits for a byte.
func (s *stream) wait() {
	n, err := s.net.Read(s.first[:])
	if s.came(n > 0, err) {
		s.serve()
	}
}

// came notes what was waited for: something, or the end. It reports whether the
// caller is to see to it that Serve is called.
func (s *stream) came(something bool, err error) (serve bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watching, s.has = false, something
	if s.over { // it was hijacked, or closed
		signal(s.extras().readable)
		return false
	}
	if !something {
		s.fail(err)
	}
	return s.mark(pending)
}

// fail notes what ended the reading, if something has. s.mu is held.
func (s *stream) fail(err error) {
	if s.err = err; err != nil {
		setBits(&s.state, pending|hangup, 0)
	}
}

// tryRead reads what was found, and what is behind it.
func (s *stream) tryRead(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watching || s.reading || len(p) == 0 {
		return 0, ErrAgain
	}
	switch {
	case !s.has:
	case s.resident != nil: // which has read nothing
		s.has, s.filled = false, true
	default:
		s.has, p[0] = false, s.first[0]
		n, p = 1, p[1:]
	}
	if s.err == nil && (n > 0 || s.filled || s.raw != nil) {
		n += s.readOn(p)
	}
	if s.err == nil {
		setBits(&s.state, 0, pending)
	}
	switch {
	case n > 0:
		s.lookSoon(0) // to watch, if this takes long
		return n, nil
	case s.err == nil:
		s.await()
		return 0, ErrAgain
	}
	return 0, s.err
}

// tryReadAhead is tryRead: who reads there is no matter.
func (s *stream) tryReadAhead(p []byte) (int, error) { return s.tryRead(p) }

// readOn reads behind what was found. s.mu is held, but not meanwhile.
func (s *stream) readOn(p []byte) int {
	s.reading = true
	s.mu.Unlock()
	n, err := s.readNow(p)
	s.mu.Lock()
	s.reading, s.filled = false, n == len(p) && s.resident == nil
	if err != ErrAgain {
		s.fail(err)
	}
	if s.over {
		signal(s.extras().readable)
	}
	return n
}

// probePeriod is how long a read waits for what is likely to be there, where the
// system does not tell whether it is.
const probePeriod = time.Millisecond

// readNow reads what is there.
func (s *stream) readNow(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, ErrAgain
	}
	switch {
	case s.raw != nil:
		return s.raw.read(p)
	case s.resident != nil:
		return s.net.Read(p)
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

func (s *stream) peerEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil && !s.has
}

// queue is what a stream has taken and not sent: a goroutine, which may block,
// writes it.
type queue struct {
	piece   *[pieceSize]byte
	size    int   // of what is in it
	writing bool  // a goroutine writes it, or somebody who waits for that
	ending  bool  // nothing follows it
	lost    error // why nothing more is sent
}

// pieceSize is how much is written at a time, so that progress shows.
const pieceSize = 16 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// tryWrite sends what the system takes, and queues a piece of what it does not.
func (s *stream) tryWrite(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil || s.writing {
		return 0, s.lost
	}
	if s.raw != nil {
		if n, err = s.raw.write(p); err != nil {
			s.lost = err
			return n, err
		}
		s.wrote(n, n < len(p))
	}
	if n < len(p) {
		s.piece, s.writing = pieces.Get().(*[pieceSize]byte), true
		s.size = copy(s.piece[:], p[n:])
		n += s.size
		go s.drainer()
	}
	return n, nil
}

// drain sends what is queued. If that is lost so is the connection: whoever had
// it queued is not there to be told.
func (s *stream) drain() {
	_, err := s.writePiece(s.piece[:s.size])
	pieces.Put(s.piece)
	if err != nil {
		s.interrupt()
	}
	s.endWrite(err)
	s.Owner().Writable(&s.Conn)
}

// writePiece waits for the peer.
func (s *stream) writePiece(p []byte) (int, error) {
	s.wrote(0, true)
	n, err := s.net.Write(p)
	s.wrote(n, false)
	return n, err
}

// write waits for the peer: who writes has a goroutine for it.
func (s *stream) write(p []byte) (n int, err error) {
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	for n < len(p) && err == nil {
		var some int
		some, err = s.writePiece(p[n:min(len(p), n+pieceSize)])
		n += some
	}
	s.endWrite(nil)
	return n, err
}

// beginWrite waits until nobody else writes.
func (s *stream) beginWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		writable := s.extras().writable // before whoever writes can look
		s.mu.Unlock()
		<-writable
		s.mu.Lock()
	}
	s.writing = s.lost == nil
	return s.lost
}

// endWrite lets others write.
func (s *stream) endWrite(err error) {
	s.mu.Lock()
	s.piece, s.size, s.writing = nil, 0, false
	if err != nil {
		s.lost = err
	}
	if s.ending {
		s.endSending()
	}
	s.mu.Unlock()
	if e := s.extra.Load(); e != nil {
		signal(e.writable)
	}
}

func (s *stream) waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *stream) setWriteDeadline(t time.Time) { s.net.SetWriteDeadline(t) }

func (s *stream) retry() {} // a write waits for any room

func (s *stream) closeWrite() error {
	if _, ok := s.net.(writeCloser); !ok {
		return errors.ErrUnsupported
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending = true; !s.writing {
		s.endSending()
	}
	return nil
}

type writeCloser interface{ CloseWrite() error }

// endSending ends the sending direction: that of TLS is written, and may block.
// s.mu is held.
func (s *stream) endSending() {
	if s.ending = false; s.raw != nil {
		s.net.(writeCloser).CloseWrite()
		return
	}
	go s.net.(writeCloser).CloseWrite()
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

func (s *stream) close() {
	s.mu.Lock()
	s.over = true
	if s.resident != nil {
		close(s.resident)
	}
	conn := s.net
	if c := s.secured(); c != nil && (s.broken || s.isStuck()) {
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
