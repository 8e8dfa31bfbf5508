package loop

import (
	"cmp"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"
)

// secure is a socket with TLS on top. Once hands are shaken nothing of it waits:
// crypto/tls reads what the socket has and goes on after errAgain, and what it
// writes is queued if the socket is full.
type secure struct {
	*socket
	conn  *tls.Conn
	below *below

	reading sync.Mutex // guards the following
	empty   bool       // TLS holds nothing back of what it has received
	has     bool       // but first was taken from it, by peerEnded
	first   [1]byte
	ended   bool // as it has told Serve

	mu        sync.Mutex
	out       []byte // encrypted, and not sent yet
	err       error  // why nothing more is sent
	gathering bool   // several records are to leave together
	closing   bool   // nothing follows out
}

func newSecure(s *socket, over func(net.Conn) *tls.Conn) *secure {
	t := &secure{socket: s}
	t.below = &below{secure: t, blocks: true}
	setBits(&s.state, shaking, 0)
	t.conn = over(t.below)
	return t
}

func (t *secure) secured() *tls.Conn { return t.conn }

// shake is the handshake, for which the goroutine waits.
func (t *secure) shake() error {
	err := t.conn.Handshake()
	t.below.blocks = false
	t.extra.Store(nil) // nobody waits any more
	// It may have read the first request, of which the socket says nothing.
	setBits(&t.state, pending, shaking)
	return err
}

// tryRead decrypts what is there.
func (t *secure) tryRead(p []byte) (n int, err error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	if t.has && len(p) > 0 {
		t.has, p[0] = false, t.first[0]
		return 1, nil
	}
	for n < len(p) && err == nil {
		var more int
		more, err = t.conn.Read(p[n:])
		n += more
	}
	t.empty = err == errAgain
	switch {
	case n > 0:
		err = nil // another one comes again
	case t.empty:
		err = ErrAgain
	}
	return n, err
}

func (t *secure) mayRead() bool { return t.socket.mayRead() || t.holdsBack() }

func (t *secure) tryReadAhead(p []byte) (int, error) { return t.tryRead(p) }

// holdsBack reports whether there is something to read of which the socket says
// nothing.
func (t *secure) holdsBack() bool {
	t.reading.Lock()
	defer t.reading.Unlock()
	return !t.empty
}

// peerEnded decrypts what comes next: TLS has an end of its own.
func (t *secure) peerEnded() bool {
	t.reading.Lock()
	defer t.reading.Unlock()
	if t.has || t.ended {
		return t.ended
	}
	n, err := t.conn.Read(t.first[:])
	if err == errAgain {
		return false
	}
	t.has, t.ended, t.empty = n > 0, n == 0, false
	t.resume()
	return t.ended
}

// writeAtOnce is how much is encrypted before it is sent.
const writeAtOnce = 64 << 10

// tryWrite encrypts p as long as the socket takes all of it.
func (t *secure) tryWrite(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, t.failure()
	}
	for n < len(p) && t.state.Load()&blocked == 0 && err == nil {
		piece := p[n:min(len(p), n+writeAtOnce)]
		t.gather(true)
		_, err = t.conn.Write(piece)
		t.gather(false)
		n += len(piece)
		t.flush()
		err = cmp.Or(err, t.failure())
	}
	return n, err
}

// failure returns why nothing more is sent.
func (t *secure) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *secure) queues() bool { return t.waits() > 0 }

// waits is how much is queued.
func (t *secure) waits() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.out)
}

func (t *secure) gather(on bool) {
	t.mu.Lock()
	t.gathering = on
	t.mu.Unlock()
}

// queue takes what crypto/tls writes.
func (t *secure) queue(p []byte) {
	t.mu.Lock()
	t.out = append(t.out, p...)
	wait := t.gathering
	t.mu.Unlock()
	if !wait {
		t.flush()
	}
}

// flush sends what was queued, and reports whether that was all, or is lost.
func (t *secure) flush() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.out) > 0 {
		n, err := t.socket.tryWrite(t.out)
		if err != nil {
			n, t.err = len(t.out), err
		}
		if n < len(t.out) {
			t.out = t.out[:copy(t.out, t.out[n:])]
			return false
		}
		if t.out = t.out[:0]; cap(t.out) > keepAtMost {
			t.out = nil
		}
	}
	if t.closing {
		t.shutdown(syscall.SHUT_WR)
	}
	return true
}

// keepAtMost is what an idle connection may hold for its next record.
const keepAtMost = 1 << 10

// closeWrite sends TLS's own end of this direction before that of TCP.
func (t *secure) closeWrite() error {
	err := t.conn.CloseWrite()
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	t.flush()
	return err
}

func (t *secure) close() {
	if t.state.Load()&shaking == 0 {
		t.conn.Close()
	}
	t.socket.close()
}

// hijack makes the connection below block.
func (t *secure) hijack() (net.Conn, error) {
	conn, err := t.socket.hijack()
	if err != nil {
		return nil, err
	}
	if len(t.out) > 0 {
		if _, err := conn.Write(t.out); err != nil {
			return nil, err
		}
	}
	t.below.own = conn
	return t.conn, nil
}

// below is the net.Conn that crypto/tls reads from and writes to.
type below struct {
	secure *secure
	blocks bool     // during the handshake
	own    net.Conn // since it was hijacked
}

// again is a temporary error: crypto/tls goes on after it.
type again struct{}

var errAgain net.Error = again{}

func (again) Error() string   { return ErrAgain.Error() }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (p *below) Read(b []byte) (int, error) {
	if p.own != nil {
		return p.own.Read(b)
	}
	t := p.secure
	for {
		n, err := t.socket.tryReadAhead(b)
		switch {
		case err != ErrAgain:
			return n, err
		case !p.blocks:
			return 0, errAgain
		}
		t.waitRead(t.extras().readable)
	}
}

func (p *below) Write(b []byte) (int, error) {
	if p.own != nil {
		return p.own.Write(b)
	}
	p.secure.queue(b)
	return len(b), nil
}

func (p *below) Close() error {
	if p.own != nil {
		return p.own.Close()
	}
	return nil // it is the loop's to close
}

func (p *below) LocalAddr() net.Addr {
	if p.own != nil {
		return p.own.LocalAddr()
	}
	return p.secure.localAddr()
}

func (p *below) RemoteAddr() net.Addr {
	if p.own != nil {
		return p.own.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(p.secure.RemoteAddr())
}

func (p *below) SetDeadline(t time.Time) error {
	if p.own != nil {
		return p.own.SetDeadline(t)
	}
	return nil
}

func (p *below) SetReadDeadline(t time.Time) error {
	if p.own != nil {
		return p.own.SetReadDeadline(t)
	}
	return nil
}

func (p *below) SetWriteDeadline(t time.Time) error {
	if p.own != nil {
		return p.own.SetWriteDeadline(t)
	}
	return nil
}

// Socket returns the connection of package net that a hijacked one encrypts, for
// whoever waits for it.
func (p *below) Socket() net.Conn { return p.own }

// NetConn is Socket, as package tls calls it.
func (p *below) NetConn() net.Conn { return p.own }
