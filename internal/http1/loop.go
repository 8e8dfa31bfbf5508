package http1

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"aerys/internal/loop"
)

var (
	_ Transport  = (*looped)(nil)
	_ FileSender = (*looped)(nil)
	_ loop.Owner = (*looped)(nil)
)

// looped is a connection that a loop carries: its Transport, and its owner.
type looped struct {
	Conn
	carrier     *loop.Conn
	counted     Counted
	tls         *tls.ConnectionState // nil without TLS
	taken       loop.Time            // when the client last took something, as of the last Tick
	interrupted atomic.Bool
	watching    atomic.Bool
	met         bool // TLS has shaken hands
	handed      bool // to another protocol, which counts it
}

// Admit makes an owner of a connection that a loop accepted.
func (s *Server) Admit(c *loop.Conn, counted Counted) loop.Owner {
	s.prepare()
	l := &looped{carrier: c, counted: counted}
	l.open(s, l)
	return l
}

// Serve implements loop.Owner.
func (l *looped) Serve(c *loop.Conn) error {
	if !l.met {
		l.meet(c)
		if t := l.tls; t != nil {
			switch t.NegotiatedProtocol {
			case "", "http/1.1", "http/1.0":
			case "h2":
				return l.negotiated()
			default: // acme-tls/1 has nothing to say behind the handshake (RFC 8737 §3)
				return io.EOF
			}
		}
	}
	switch l.Turn() {
	case Wait:
		return loop.ErrAgain
	case Taken:
		if c.Owner() != l { // it is still the loop's
			return loop.ErrAgain
		}
		return loop.ErrHijacked
	}
	return io.EOF
}

// meet learns who is there.
func (l *looped) meet(c *loop.Conn) {
	l.met = true
	if secured := c.TLS(); secured != nil {
		state := secured.ConnectionState()
		l.tls = &state
	}
}

// negotiated hands the connection to HTTP/2.
func (l *looped) negotiated() error {
	conn, err := l.carrier.Hijack()
	if err != nil {
		return err
	}
	l.handedOver()
	l.handed = true
	go l.server.serveHTTP2(conn, l.counted)
	return loop.ErrHijacked
}

func (s *Server) serveHTTP2(conn net.Conn, counted Counted) {
	if s.HTTP2 == nil {
		conn.Close()
		counted.Over()
		return
	}
	s.HTTP2(conn, counted)
}

// Ahead implements loop.Owner.
func (l *looped) Ahead(c *loop.Conn, _ bool) {
	if l.watching.Load() && c.PeerEnded() {
		l.Gone()
	}
}

// Writable implements loop.Owner.
func (l *looped) Writable(*loop.Conn) {}

// Soon implements loop.Owner.
func (l *looped) Soon(*loop.Conn) { l.Flush() }

// Tick implements loop.Owner.
func (l *looped) Tick(c *loop.Conn, now loop.Time) {
	if taken, _ := c.Stuck(); taken != l.taken {
		l.taken = taken
		l.took()
	}
	l.Sweep(now)
}

// Over implements loop.Owner.
func (l *looped) Over(_ *loop.Conn, err error) {
	l.Gone()
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	if !l.handed {
		l.counted.Over()
	}
}

// looksLikeHTTP reports whether what should have been the head of a record of TLS
// is the beginning of a request in clear text.
func looksLikeHTTP(head [5]byte) bool {
	switch string(head[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}

// ClientAddr implements Transport.
func (l *looped) ClientAddr() string {
	if remote := l.carrier.RemoteAddr(); remote.IsValid() {
		return remote.String()
	}
	return ""
}

// LocalAddr implements Transport.
func (l *looped) LocalAddr() net.Addr { return l.carrier.LocalAddr() }

// TLS implements Transport.
func (l *looped) TLS() *tls.ConnectionState { return l.tls }

// Read implements Transport.
func (l *looped) Read(p []byte) (int, error) {
	if l.interrupted.Load() {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := l.carrier.TryRead(p)
	if err == loop.ErrAgain {
		err = ErrWait
	}
	return n, err
}

// Wait implements Transport.
func (l *looped) Wait() error { return l.carrier.Wait() }

// Write implements Transport.
func (l *looped) Write(p []byte) (int, error) { return l.carrier.Write(p) }

// Watch implements Transport.
func (l *looped) Watch() (gone bool) {
	l.watching.Store(true)
	return l.carrier.PeerEnded()
}

// Unwatch implements Transport.
func (l *looped) Unwatch() { l.watching.Store(false) }

// FlushSoon implements Transport.
func (l *looped) FlushSoon() { l.carrier.Soon() }

// SetReadDeadline implements Transport.
func (l *looped) SetReadDeadline(t time.Time) error {
	if l.interrupted.Load() {
		return nil
	}
	return l.carrier.SetReadDeadline(t)
}

// SetWriteDeadline implements Transport.
func (l *looped) SetWriteDeadline(t time.Time) error { return l.carrier.SetWriteDeadline(t) }

// Interrupt implements Transport.
func (l *looped) Interrupt() {
	l.interrupted.Store(true)
	l.carrier.SetReadDeadline(longPast)
}

// CloseWrite implements Transport.
func (l *looped) CloseWrite() error { return l.carrier.CloseWrite() }

// Close implements Transport. The loop closes what Serve is done with.
func (l *looped) Close() error { return nil }

// Abort implements Transport.
func (l *looped) Abort() { l.carrier.Interrupt() }

// Hijack implements Transport.
func (l *looped) Hijack() (net.Conn, error) { return l.carrier.Hijack() }

// SendFile implements FileSender.
func (l *looped) SendFile(head []byte, p *loop.FilePart, progress func()) (int64, error) {
	return l.carrier.SendFile(head, p, progress)
}

// Counted is told when a connection speaks another protocol, which may be counted
// in another way, and once when it is not one of the server any more. Connections
// may share one.
type Counted interface {
	Upgraded() Counted
	Over()
}

// A HeadWriter is a ResponseWriter that takes the header with the status.
type HeadWriter interface {
	WriteHead(status int, header http.Header)
}

// A Detacher is a ResponseWriter whose connection can be taken for another
// protocol.
type Detacher interface {
	Detach() (Detached, error)
}

// Detached is a connection that another protocol takes.
type Detached struct {
	Carrier *loop.Conn // to be given another owner, or hijacked, before the handler returns
	Counted Counted    // to be told when that is over
	Conn    net.Conn   // where no loop carries it
	Early   []byte     // what was read behind the request
}

// Detach implements Detacher.
func (w *response) Detach() (d Detached, err error) {
	t, early, err := w.takeOver()
	if err != nil {
		return Detached{}, err
	}
	d.Early = early
	if l, ok := t.(*looped); ok {
		l.handed = true
		d.Carrier, d.Counted = l.carrier, l.counted.Upgraded()
		return d, nil
	}
	if d.Conn, err = t.Hijack(); err != nil {
		t.Abort()
	}
	return d, err
}

// each calls visit for the connections of HTTP/1 that a loop carries.
func each(carrier *loop.Loop, visit func(*looped)) {
	carrier.Each(func(c *loop.Conn) {
		if l, ok := c.Owner().(*looped); ok {
			visit(l)
		}
	})
}

// Fresh returns how many connections of a loop have had no request yet.
func Fresh(carrier *loop.Loop) (n int) {
	each(carrier, func(l *looped) {
		if phase(l.phase.Load()) == fresh {
			n++
		}
	})
	return n
}

// EndIdle closes the connections of a loop that wait for a request.
func EndIdle(carrier *loop.Loop) { each(carrier, func(l *looped) { l.EndIdle() }) }

// EndAnswered closes the connections of a loop that have had their last answer,
// and whose client has not closed them since.
func EndAnswered(carrier *loop.Loop) { each(carrier, func(l *looped) { l.expire(lingering) }) }

// endAtOnce is how many idle connections give way at once, so that not every new
// connection has to look for one.
const endAtOnce = 16

// EndIdlest closes some of the connections of a loop that wait for another
// request, those that have waited longest. It reports whether there were any.
func EndIdlest(carrier *loop.Loop) bool {
	var idlest []*looped
	each(carrier, func(l *looped) {
		if phase(l.phase.Load()) != idle {
			return
		}
		at, _ := slices.BinarySearchFunc(idlest, l.carrier.LastRead(), func(other *looped, read loop.Time) int {
			return cmp.Compare(other.carrier.LastRead(), read)
		})
		if at < endAtOnce {
			idlest = slices.Insert(idlest[:min(len(idlest), endAtOnce-1)], min(at, endAtOnce-1), l)
		}
	})
	ended := false
	for _, l := range idlest {
		ended = l.expire(idle) || ended
	}
	return ended
}

// EndAfterResponse lets every connection end with its next response.
func (s *Server) EndAfterResponse() { s.closing.Store(true) }
