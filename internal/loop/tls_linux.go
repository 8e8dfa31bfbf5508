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
	has     bool       // first was taken from TLS, by peerEnded
	first   [1]byte
	ended   bool // as it has told Serve

	mu        sync.Mutex
	out       []byte // encrypted, and not sent yet
	err       error  // why nothing more is sent
	gathering bool   // several records are to leave together
	closing   bool   // nothing follows out
}

func newSecure(s *socket, config *tls.Config) *secure {
	t := &secure{socket: s}
	t.below = &below{wire{t}}
	setBits(&s.state, shaking|kept, 0)
	t.conn = tls.Server(t.below, config)
	return t
}

func (t *secure) secured() *tls.Conn { return t.conn }

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
	if err == errAgain {
		err = ErrAgain
		setBits(&t.state, 0, kept)
	} else {
		setBits(&t.state, kept, 0)
	}
	if n > 0 {
		err = nil // another one comes again
	}
	return n, err
}

func (t *secure) tryReadAhead(p []byte) (int, error) { return t.tryRead(p) }

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
	t.has, t.ended = n > 0, n == 0
	t.call(kept | resumed)
	return t.ended
}

// writeAtOnce is how much is encrypted before it is sent.
const writeAtOnce = 64 << 10

// tryWrite encrypts p as long as the socket takes all of it.
func (t *secure) tryWrite(p []byte) (n int, err error) {
	err = t.failure()
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
	t.below.Conn = conn
	return t.conn, nil
}

// below is the net.Conn that crypto/tls reads from and writes to: at first a wire,
// and what became of the socket once it was hijacked.
type below struct{ net.Conn }

// NetConn returns the connection that TLS encrypts, for whoever waits for it.
func (b *below) NetConn() net.Conn { return b.Conn }

// wire is a socket as crypto/tls sees it. It is the loop's to close, and to time.
type wire struct{ *secure }

// again is a temporary error: crypto/tls goes on after it.
type again struct{}

var errAgain net.Error = again{}

func (again) Error() string   { return ErrAgain.Error() }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read waits during the handshake.
func (w wire) Read(b []byte) (int, error) {
	for {
		n, err := w.socket.tryReadAhead(b)
		switch {
		case err != ErrAgain:
			return n, err
		case w.state.Load()&shaking == 0:
			return 0, errAgain
		}
		w.park(readerParked, pending, 0, w.extras().readable)
	}
}

func (w wire) Write(b []byte) (int, error) {
	w.queue(b)
	return len(b), nil
}

func (w wire) Close() error { return nil }

func (w wire) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(w.secure.RemoteAddr()) }

func (w wire) SetDeadline(time.Time) error { return nil }

func (w wire) SetReadDeadline(time.Time) error { return nil }

func (w wire) SetWriteDeadline(time.Time) error { return nil }
