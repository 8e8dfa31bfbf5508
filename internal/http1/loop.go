package http1

import (
	"cmp"
	"crypto/tls"
	"errors"
	"io"
	"slices"

	"aerys/internal/loop"
)

// A Conn as its loop knows it: what the loop tells it, the sweep once a second,
// and what a server asks of all connections of a loop.

var _ loop.Owner = (*Conn)(nil)

// Admit makes an owner of a connection that a loop accepted.
func (s *Server) Admit(c *loop.Conn, counted Counted) loop.Owner {
	owner := s.NewConn(c)
	owner.counted = counted
	return owner
}

// Serve implements loop.Owner.
func (c *Conn) Serve(carrier *loop.Conn) error {
	if !c.met {
		switch protocol := c.meet(carrier); {
		case protocol == "h2" && c.server.HTTP2 != nil:
			return c.becomeHTTP2(nil)
		case protocol != "" && protocol != "http/1.1" && protocol != "http/1.0":
			return io.EOF // acme-tls/1 has nothing to say behind the handshake (RFC 8737 §3)
		}
	}
	why := c.Turn()
	if why == loop.ErrHijacked && carrier.Owner() != c { // it is still the loop's
		return loop.ErrAgain
	}
	return why
}

// meet learns who is there, and returns what protocol TLS has agreed on.
func (c *Conn) meet(carrier *loop.Conn) (protocol string) {
	c.met = true
	if secured := carrier.TLS(); secured != nil {
		state := secured.ConnectionState()
		c.tls, protocol = &state, state.NegotiatedProtocol
	}
	return protocol
}

// Ahead implements loop.Owner.
func (c *Conn) Ahead(carrier *loop.Conn, _ bool) {
	if c.watching.Load() && carrier.PeerEnded() {
		c.Gone()
	}
}

// Writable implements loop.Owner.
func (c *Conn) Writable(*loop.Conn) {}

// Soon implements loop.Owner.
func (c *Conn) Soon(*loop.Conn) { c.Flush() }

// Tick implements loop.Owner.
func (c *Conn) Tick(carrier *loop.Conn, now loop.Time) {
	if taken, _ := carrier.Stuck(); taken != c.taken {
		c.taken = taken
		c.life.Lock()
		if c.active != nil {
			c.clock.piece() // however little
		}
		c.life.Unlock()
	}
	c.Sweep(now)
}

// Over implements loop.Owner.
func (c *Conn) Over(_ *loop.Conn, err error) {
	c.Gone()
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
	}
	if !c.handed {
		c.counted.Over()
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

// each calls visit for the connections of HTTP/1 that a loop carries.
func each(carrier *loop.Loop, visit func(*loop.Conn, *Conn)) {
	carrier.Each(func(l *loop.Conn) {
		if c, ok := l.Owner().(*Conn); ok {
			visit(l, c)
		}
	})
}

// Fresh returns how many connections of a loop have had no request yet.
func Fresh(carrier *loop.Loop) (n int) {
	each(carrier, func(_ *loop.Conn, c *Conn) {
		if c.now() == fresh {
			n++
		}
	})
	return n
}

// EndIdle closes the connections of a loop that wait for a request.
func EndIdle(carrier *loop.Loop) {
	each(carrier, func(_ *loop.Conn, c *Conn) { _ = c.expire(idle) || c.expire(fresh) })
}

// EndAnswered closes the connections of a loop that have had their last answer,
// and whose client has not closed them since.
func EndAnswered(carrier *loop.Loop) {
	each(carrier, func(_ *loop.Conn, c *Conn) { c.expire(lingering) })
}

// endAtOnce is how many idle connections give way at once, so that not every new
// connection has to look for one.
const endAtOnce = 16

// EndIdlest closes some of the connections of a loop that wait for another
// request, those that have waited longest. It reports whether there were any.
func EndIdlest(carrier *loop.Loop) (ended bool) {
	type waiting struct {
		*Conn
		since loop.Time
	}
	var idlest []waiting
	each(carrier, func(l *loop.Conn, c *Conn) {
		if c.now() != idle {
			return
		}
		since := l.LastRead()
		at, _ := slices.BinarySearchFunc(idlest, since, func(w waiting, t loop.Time) int { return cmp.Compare(w.since, t) })
		if at < endAtOnce {
			idlest = slices.Insert(idlest[:min(len(idlest), endAtOnce-1)], min(at, endAtOnce-1), waiting{c, since})
		}
	})
	for _, w := range idlest {
		ended = w.expire(idle) || ended
	}
	return ended
}

// judge says what is due at a time, later than that of its last call, to a
// connection in a phase. life is held.
func (c *Conn) judge(p phase, now loop.Time) verdict {
	l := &c.server.limits
	if n := c.moves.Load(); n != c.moments.seen {
		c.moments = moments{n, now}
	}
	if c.active != nil {
		if v := c.clock.judge(p, l, now); v == cut && !c.writeTimed.Load() || v == interrupt && !c.readTimed.Load() || v == expire {
			return v
		}
	}
	resting := now - c.moments.moved
	switch {
	case (p == fresh || p == reading) && exceeds(resting, l.header),
		p == idle && exceeds(resting, l.idle),
		p == lingering && exceeds(resting, l.linger):
		return expire
	}
	return patience
}

// Sweep does what is due. A driver calls it about once a second, one goroutine
// at a time, beside all others.
func (c *Conn) Sweep(now loop.Time) {
	c.life.Lock()
	p := c.now()
	due := c.judge(p, now)
	if due == cut {
		c.stuck.Store(true)
	}
	c.life.Unlock()
	switch due {
	case interrupt:
		c.interrupted.Store(true)
		c.transport.SetReadDeadline(longPast)
	case expire:
		c.expire(p)
	case cut:
		c.transport.Interrupt()
	}
}

// expire closes the connection, if it is still in a phase.
func (c *Conn) expire(from phase) bool {
	ended := c.end(from)
	if ended {
		c.transport.Interrupt()
	}
	return ended
}
