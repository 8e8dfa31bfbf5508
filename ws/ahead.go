package ws

import (
	"io"
	"math"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// While a handler runs, or while its client has to wait because of a rate, what
// comes is read ahead: control frames are dealt with at once (RFC 6455 §5.5),
// data waits for its turn. Whoever does it holds inbox.mu.

// readAhead is what was read of a conn before its turn: frames of data, in order.
type readAhead struct {
	bytes []byte
	taken int   // of them, by the turn
	end   error // why nothing follows

	looked     bool  // the following is known
	next       int64 // bytes from what is not taken up to the next header to be looked at
	fragmented bool  // there, a message is under way
	bad        bool  // what is there breaks a rule: it fails in its turn
	full       bool  // nothing more was to be read
}

// leastAhead is room for any control frame, and some more.
const leastAhead = 4 << 10

// any reports whether there is something for the turn.
func (a *readAhead) any() bool { return a.bytes != nil || a.end != nil }

func (a *readAhead) waiting() []byte { return a.bytes[a.taken:] }

func (a *readAhead) drop() {
	if a.bytes != nil {
		putBuffer(a.bytes)
	}
	*a = readAhead{}
}

// putBack puts what a turn has read, and did not parse, before what waits.
func (a *readAhead) putBack(p []byte) {
	switch {
	case len(p) == 0:
		return
	case len(p) <= a.taken: // that is where it came from
		a.taken -= len(p)
	default:
		old := a.bytes
		a.bytes = append(append(getBuffer(len(p)+len(a.waiting())), p...), a.waiting()...)
		if a.taken = 0; old != nil {
			putBuffer(old)
		}
	}
	a.looked = false
}

// cut removes a control frame of n bytes.
func (a *readAhead) cut(n int) {
	at := a.taken + int(a.next)
	a.bytes = append(a.bytes[:at], a.bytes[at+n:]...)
}

// tidy lets go of a buffer with nothing in it, and of what is known of what comes
// next: it may come to a handler that waits for it.
func (a *readAhead) tidy() {
	if len(a.bytes) > a.taken {
		return
	}
	if a.bytes != nil {
		putBuffer(a.bytes)
	}
	a.bytes, a.taken, a.looked = nil, 0, false
}

// takeAhead reads what was read ahead. Without any, the error is how it ended.
func (t *turn) takeAhead(p []byte) (n int, err error) {
	a := &t.in.ahead
	if a.bytes == nil {
		return 0, a.end
	}
	n = copy(p, a.waiting())
	a.taken += n
	a.looked = false
	a.tidy()
	return n, nil
}

// catchUp deals with what was read ahead. If the client has to pause it sees to
// what comes meanwhile: the error is errPaused.
func (t *turn) catchUp() error {
	for {
		if t.mustPause() {
			t.fillAhead()
			if t.mustPause() { // its end may have come
				return errPaused
			}
		}
		if !t.in.ahead.any() {
			return nil
		}
		space := t.space()
		n, err := t.takeAhead(space)
		switch {
		case err == errPeerClose:
			t.in.ahead.end = nil
			t.failed(err)
			return nil
		case err != nil:
			return err
		}
		if err := ignorePause(t.deal(space[:n])); err != nil {
			return err
		}
	}
}

// lookAhead deals with the control frames among what was read, and not parsed.
func (t *turn) lookAhead() {
	in, a := t.in, &t.in.ahead
	if in.partials > 0 {
		a.putBack(in.partial[:in.partials])
		in.partials = 0
	} else {
		a.putBack(t.rest)
		t.rest = nil
	}
	if !a.looked {
		a.looked, a.next, a.fragmented, a.bad = true, in.remaining, in.opcode != 0 && !in.header.Fin, false
	}
	for t.lookAtNext() {
	}
}

// lookAtNext looks at one frame. It reports whether there may be another.
func (t *turn) lookAtNext() bool {
	a := &t.in.ahead
	if a.bad || a.end != nil || a.next >= int64(len(a.waiting())) {
		return false
	}
	p := a.waiting()[a.next:]
	h, n, err := frame.ParseHeader(p)
	if err == nil && n > 0 {
		err = frame.Check(h, frame.State{FromClient: true, Fragmented: a.fragmented, Compression: t.conn.deflate.Enabled()})
	}
	switch {
	case err != nil, n > 0 && h.Length > min(t.conn.endpoint.options.MaxFrameSize, math.MaxInt64/2):
		a.bad = true
		return false
	case n == 0:
		return false
	case !h.Opcode.Control():
		a.next += int64(n) + h.Length
		a.fragmented = !h.Fin
		return true
	case n+int(h.Length) > len(p), t.overdrawn():
		return false
	}
	return t.controlAhead(h, p[n:n+int(h.Length)], n+int(h.Length))
}

// controlAhead deals with a control frame that takes size bytes.
func (t *turn) controlAhead(h frame.Header, masked []byte, size int) bool {
	a := &t.in.ahead
	payload := append(make([]byte, 0, frame.MaxControlPayload), masked...)
	switch err := t.control(h, payload); {
	case err == errPeerClose:
		a.end = err
		size = len(a.waiting()) - int(a.next) // RFC 6455 §5.5.1: what follows is discarded
	case err != nil:
		a.bad = true
		return false
	}
	t.read.FramesRead++
	t.frames--
	a.cut(size)
	return a.end == nil
}

// aheadLeft is how many bytes may be read ahead. At the end of what may be read
// it is 0.
func (t *turn) aheadLeft() int {
	a := &t.in.ahead
	if a.bad || a.end != nil || t.overdrawn() {
		return 0
	}
	return max(0, max(t.conn.endpoint.options.MaxReadAhead, leastAhead)-len(a.waiting()))
}

// roomAhead is where the next read ahead may put its bytes, if anywhere.
func (t *turn) roomAhead() []byte {
	room := min(t.aheadLeft(), bufferSize)
	if room == 0 {
		return nil
	}
	a := &t.in.ahead
	if cap(a.bytes)-len(a.bytes) < min(room, leastAhead/2) {
		a.grow(min(room, max(leastAhead, len(a.waiting()))))
	}
	free := a.bytes[len(a.bytes):cap(a.bytes)]
	return free[:min(room, len(free))]
}

// grow makes room for n bytes.
func (a *readAhead) grow(n int) {
	grown := append(getBuffer(len(a.waiting())+n), a.waiting()...)
	if a.bytes != nil {
		putBuffer(a.bytes)
	}
	a.bytes, a.taken = grown, 0
}

// overdrawn reports whether even control frames of the client have to wait.
func (t *turn) overdrawn() bool {
	options := t.conn.endpoint.options
	return t.frames < -int64(options.MaxFramesPerSecond) || t.bytes < -2*largeBufferSize
}

// cameAhead deals with n bytes that were read into roomAhead, and why there are
// no more.
func (t *turn) cameAhead(n int, err error) {
	a := &t.in.ahead
	a.bytes = a.bytes[:len(a.bytes)+n]
	t.count(n)
	t.lookAhead()
	if a.end == nil {
		a.end = err
	}
	c := t.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	t.account()
	t.frames, t.bytes = c.allowance()
	if err == nil {
		return
	}
	if c.hangsUp(); isEnd(err) {
		c.hungUp()
	} else {
		c.abandon(CodeAbnormal, "connection lost")
	}
}

// isEnd reports whether the client has ended its direction, and may be sent to.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// fillAhead reads ahead what there is, if there is room for it. It reports whether
// there is room for more.
func (t *turn) fillAhead() (open bool) {
	c := t.conn
	c.transport.Hurry()
	t.lookAhead()
	for space := t.roomAhead(); space != nil; space = t.roomAhead() {
		n, err := c.transport.TryReadAhead(space)
		if err == loop.ErrAgain {
			break
		}
		t.cameAhead(n, err)
	}
	open = t.endAhead()
	if !open && c.transport.HungUp() {
		c.mu.Lock()
		c.hangsUp() // what does not fit was sent before
		c.mu.Unlock()
	}
	return open
}

// endAhead is called when nothing more can be read ahead for now. It reports
// whether more is to be waited for.
func (t *turn) endAhead() (open bool) {
	c := t.conn
	open = t.aheadLeft() > 0
	t.in.ahead.full = !open
	t.in.ahead.tidy()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.activity == paused:
	case open:
		c.activity = ahead
	default:
		c.activity = handling // nobody listens
		if t.overdrawn() {
			c.lookAtPace()
		}
	}
	return open
}

// lookSoon sees to it that a handler that takes long is noticed. c.mu is held.
func (c *conn) lookSoon() { c.transport.Soon() }

// lateLooks is how many looks, a millisecond or more apart, have to find the same
// handler running, so that what comes is read ahead: a quick one that a busy machine
// keeps waiting should not see its client close before it has answered.
const lateLooks = 20

// Soon implements loop.Owner: it sends what a handler has sent so far, and notices
// one that takes long.
func (c *conn) Soon(*loop.Conn) {
	c.mu.Lock()
	if c.out != nil {
		c.gathering = false
		c.flush()
	}
	late, again := false, c.activity == handling
	if again && c.in.mu.TryLock() {
		late = c.in.lookAgain()
		again = !c.in.late
		c.in.mu.Unlock()
	}
	c.gathering = c.gathering && !late
	if again {
		c.lookSoon()
	}
	c.mu.Unlock()
	if late {
		c.readAhead()
	}
}

// lookAgain counts how often the same handler was found running. It reports whether
// that has become too often. in.mu is held.
func (in *inbox) lookAgain() (late bool) {
	if in.looks++; in.seen != in.calls {
		in.seen, in.looks = in.calls, 1
	}
	late = !in.late && in.looks >= lateLooks
	in.late = in.late || late
	return late
}

// listens reports whether what the client sends is seen. c.mu is held.
func (c *conn) listens() bool { return c.activity == listening || c.activity == ahead }

// readAhead reads ahead, unless somebody reads already.
func (c *conn) readAhead() {
	for c.readAheadOnce() && c.transport.MayRead() {
	}
}

func (c *conn) readAheadOnce() (open bool) {
	c.mu.Lock()
	in := c.in
	if in == nil || !in.mu.TryLock() {
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	defer in.mu.Unlock()
	return in.late && in.turn.fillAhead()
}
