package ws

import (
	"math"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// This file calls the handler, and does what has to go on while it runs: what a
// handler waits for is read, and else what comes is read ahead, so that control
// frames are dealt with at once (RFC 6455 §5.5) while data waits for its turn.
// Whoever reads ahead holds reader.mu.

// arrived deals with a piece of a message: a message that is whole is handed
// over where it lies, anything else is kept.
func (r *reader) arrived(piece []byte) error {
	in := &r.in
	if in.gathered == nil && !in.skip && in.complete() {
		return r.deliver(piece)
	}
	if !in.skip {
		in.keep(piece)
	}
	return r.progress()
}

// progress hands over what is gathered of the message once it is enough.
func (r *reader) progress() error {
	in := &r.in
	switch {
	case in.skip:
		if in.complete() {
			in.endMessage()
		}
	case in.complete(), len(in.gathered) >= r.conn.endpoint.options.AutoFrameSize:
		return r.deliver(in.gathered)
	}
	return nil
}

// deliver calls OnData with a message of which body has come.
func (r *reader) deliver(body []byte) error {
	in, m := &r.in, &r.content
	r.read.MessagesRead++
	*m = content{turn: r, body: body, binary: in.opcode == frame.Binary, more: !in.complete()}
	defer r.delivered()
	if err := r.letHandle(m); err != nil {
		return r.failed(err)
	}
	return r.err
}

// delivered ends what deliver began, also when the handler did not return.
func (r *reader) delivered() {
	in := &r.in
	if in.complete() {
		in.endMessage()
		return
	}
	in.skip = true // the handler did not want the rest
	putBuffer(in.gathered)
	in.gathered = nil
}

// letHandle calls OnData. Meanwhile what comes may be read ahead.
func (r *reader) letHandle(m *content) error {
	r.letAhead()
	defer r.goOn()
	defer m.release()
	if r.in.compressed {
		if err := m.startInflating(); err != nil {
			return err
		}
	}
	if how := r.conn.closing.Load(); how == nil || how.byPeer {
		r.conn.onData(m)
	}
	return nil
}

// letOpen calls OnOpen likewise.
func (r *reader) letOpen(o opener) {
	r.letAhead()
	defer r.goOn()
	r.conn.onOpen(o)
}

// letAhead lets others read, now that a handler is about to run.
func (r *reader) letAhead() {
	r.looks = 0
	r.mu.Unlock()
}

// goOn reads again, now that the handler has returned.
func (r *reader) goOn() {
	if r.mu.Lock(); r.late {
		r.late = false
		r.publish(handling, r)
	}
}

// onOpen calls the handler. A panic closes the client with 1011.
func (c *conn) onOpen(o opener) {
	returned := false
	defer c.recovered("OnOpen", &returned)
	o(c.id)
	returned = true
}

// onData calls the handler, with a Message that it may keep: there is no telling
// that nobody has it any more. A panic closes the client with 1011.
func (c *conn) onData(read *content) {
	m := read.turn.message()
	m.binary, m.conn, m.content = read.binary, c, read
	defer m.end()
	returned := false
	defer c.recovered("OnData", &returned)
	c.endpoint.application.data(c.id, m)
	returned = true
}

// messagesAtOnce is how many Messages are allocated together. Whoever keeps one
// keeps the memory of all.
const messagesAtOnce = 16

// message returns a Message that nobody has had.
func (r *reader) message() *Message {
	if len(r.fresh) == 0 {
		r.fresh = make([]Message, messagesAtOnce)
	}
	m := &r.fresh[0]
	r.fresh = r.fresh[1:]
	return m
}

// await is next for a handler that is reading: it waits for what is needed.
func (r *reader) await() (piece []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waitForPiece()
}

func (r *reader) waitForPiece() (piece []byte, err error) {
	for r.err == nil {
		piece, ok, err := r.next()
		switch {
		case ok && err == nil:
			return piece, nil
		case err == errPaused:
			r.pause()
		case err != nil:
			r.failed(err)
		default:
			r.rest = r.wait(r.buffer, 1)
		}
	}
	return nil, r.conn.closeError()
}

// gather waits for the rest of the message under way and keeps it.
func (r *reader) gather() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.in.complete() && r.err == nil {
		space := r.space()
		if !r.direct || len(r.rest) > 0 {
			piece, err := r.waitForPiece()
			if err != nil {
				return err
			}
			r.in.keep(piece)
			continue
		}
		if r.mustPause() {
			r.pause()
		}
		if err := r.in.gather(r.wait(space, r.atOnce(int64(len(space))))); err != nil {
			r.failed(err)
		}
	}
	if r.err != nil {
		return r.conn.closeError()
	}
	return nil
}

// wait reads into p, after sending what was gathered. Less than least bytes are
// of no use.
func (r *reader) wait(p []byte, least int) []byte {
	n, err := r.ahead.read(p)
	if n == 0 && err == nil {
		n, err = r.waitForBytes(p, least)
	}
	if n == 0 {
		r.err, r.conn.deaf = err, r.conn.deaf || err == errPeerClose
	}
	return p[:n]
}

// waitForBytes waits until there are some, or the end.
func (r *reader) waitForBytes(p []byte, least int) (n int, err error) {
	r.publish(listening, r)
	defer r.publish(handling, r)
	from := r.conn.transport
	for {
		if n, err = from.TryRead(p); err != loop.ErrAgain {
			r.count(n)
			return n, err
		}
		from.Await(least)
		if err = from.Wait(); err != nil {
			return 0, err
		}
		from.Hurry()
	}
}

// pause waits until the client may send more.
func (r *reader) pause() {
	r.late = true
	r.publish(handling, r)
	r.mu.Unlock()
	r.conn.waitWhilePaused()
	r.mu.Lock()
	r.late = false
	r.publish(handling, r)
}

// waitWhilePaused pauses a handler that is reading a message.
func (c *conn) waitWhilePaused() {
	c.mu.Lock()
	if c.pause(); c.activity != paused {
		c.mu.Unlock()
		return
	}
	wake := make(chan struct{})
	c.extra.wake = wake
	c.mu.Unlock()
	c.readAhead()
	<-wake
}

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
		r := c.in
		r.looks++
		late = !r.late && r.looks >= lateLooks
		r.late = r.late || late
		again = !r.late
		r.mu.Unlock()
	}
	c.gathering = c.gathering && !late
	if again {
		c.transport.Soon()
	}
	c.mu.Unlock()
	if late {
		c.readAhead()
	}
}

// Ahead implements loop.Owner.
func (c *conn) Ahead(*loop.Conn, bool) { c.readAhead() }

// readAhead reads ahead, unless somebody reads already.
func (c *conn) readAhead() {
	for c.readAheadOnce() && c.transport.MayRead() {
	}
}

func (c *conn) readAheadOnce() (open bool) {
	c.mu.Lock()
	r := c.in
	if r == nil || !r.mu.TryLock() {
		c.mu.Unlock()
		return false
	}
	c.mu.Unlock()
	defer r.mu.Unlock()
	return r.late && r.fillAhead()
}

// catchUp deals with what was read ahead. If the client has to pause it sees to
// what comes meanwhile: the error is errPaused.
func (r *reader) catchUp() error {
	for {
		if r.mustPause() {
			r.fillAhead()
			if r.mustPause() { // its end may have come
				return errPaused
			}
		}
		if !r.ahead.any() {
			return nil
		}
		space := r.space()
		n, err := r.ahead.read(space)
		switch {
		case err == errPeerClose:
			r.ahead.end = nil
			r.failed(err)
			return nil
		case err != nil:
			return err
		}
		if err := ignorePause(r.deal(space[:n])); err != nil {
			return err
		}
	}
}

// fillAhead reads ahead what there is, if there is room for it. It reports whether
// there is room for more.
func (r *reader) fillAhead() (open bool) {
	c := r.conn
	c.transport.Hurry()
	r.lookAhead()
	for space := r.ahead.space(r.aheadLeft()); space != nil; space = r.ahead.space(r.aheadLeft()) {
		n, err := c.transport.TryReadAhead(space)
		if err == loop.ErrAgain {
			break
		}
		r.cameAhead(n, err)
	}
	open = r.endAhead()
	if !open && c.transport.HungUp() {
		c.mu.Lock()
		c.hangsUp() // what does not fit was sent before
		c.mu.Unlock()
	}
	return open
}

// cameAhead deals with n bytes that were read ahead, and why there are no more.
func (r *reader) cameAhead(n int, err error) {
	a := &r.ahead
	a.bytes = a.bytes[:len(a.bytes)+n]
	r.count(n)
	r.lookAhead()
	if a.end == nil {
		a.end = err
	}
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	r.account()
	r.frames, r.bytes = c.allowance()
	if err == nil {
		return
	}
	if c.hangsUp(); isEnd(err) {
		c.hungUp()
	} else {
		c.abandon(CodeAbnormal, "connection lost")
	}
}

// endAhead is called when nothing more can be read ahead for now. It reports
// whether more is to be waited for.
func (r *reader) endAhead() (open bool) {
	c := r.conn
	open = r.aheadLeft() > 0
	r.ahead.full = !open
	r.ahead.tidy()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.activity == paused:
	case open:
		c.activity = ahead
	default:
		c.activity = handling // nobody listens
		if r.overdrawn() {
			c.lookAtPace()
		}
	}
	return open
}

// aheadLeft is how many bytes may be read ahead. At the end of what may be read
// it is 0.
func (r *reader) aheadLeft() int {
	a := &r.ahead
	if a.bad || a.end != nil || r.overdrawn() {
		return 0
	}
	return max(0, max(r.conn.endpoint.options.MaxReadAhead, leastAhead)-len(a.waiting()))
}

// overdrawn reports whether even control frames of the client have to wait.
func (r *reader) overdrawn() bool {
	return r.frames < -int64(r.conn.endpoint.options.MaxFramesPerSecond) || r.bytes < -2*largeBufferSize
}

// lookAhead deals with the control frames among what was read, and not parsed.
func (r *reader) lookAhead() {
	a := &r.ahead
	a.putBack(r.rest)
	a.putBack(r.partial[:r.partials])
	r.rest, r.partials = nil, 0
	if !a.looked {
		a.looked, a.next, a.fragmented, a.bad = true, r.in.remaining, r.in.fragmented(), false
	}
	for r.lookAtNext() {
	}
}

// lookAtNext looks at one frame. It reports whether there may be another.
func (r *reader) lookAtNext() bool {
	a := &r.ahead
	if a.bad || a.end != nil || a.next >= int64(len(a.waiting())) {
		return false
	}
	p := a.waiting()[a.next:]
	h, n, err := r.parseHeader(p, a.fragmented)
	a.bad = err != nil || n > 0 && h.Length > min(r.conn.endpoint.options.MaxFrameSize, math.MaxInt64/2)
	switch {
	case a.bad, n == 0:
		return false
	case !h.Opcode.Control():
		a.next += int64(n) + h.Length
		a.fragmented = !h.Fin
		return true
	case n+int(h.Length) > len(p), r.overdrawn():
		return false
	}
	return r.controlAhead(h, p[n:n+int(h.Length)], n+int(h.Length))
}

// controlAhead deals with a control frame that takes size bytes.
func (r *reader) controlAhead(h frame.Header, masked []byte, size int) bool {
	a := &r.ahead
	payload := append(make([]byte, 0, frame.MaxControlPayload), masked...)
	switch err := r.control(h, payload); {
	case err == errPeerClose:
		a.end = err
		size = len(a.waiting()) - int(a.next) // RFC 6455 §5.5.1: what follows is discarded
	case err != nil:
		a.bad = true
		return false
	}
	r.read.FramesRead++
	r.frames--
	a.cut(size)
	return a.end == nil
}
