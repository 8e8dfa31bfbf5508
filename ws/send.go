package ws

import (
	"errors"
	"math"
	"time"
	"unicode/utf8"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// This file sends: messages, what is broadcast and control frames wait in a conn's
// outbox, from where the socket takes them. Large ones leave from where they lie.

// ErrStreaming says that a message could not be sent, because a Writer of the
// same client was open, of which nothing left for Options.WriteTimeout.
var ErrStreaming = errors.New("ws: another message is being written to the client: close its Writer first")

// checkText is ErrInvalidText for a message that must not be sent as text.
func checkText[T string | []byte](opcode frame.Opcode, payload T) error {
	if opcode == frame.Text && !utf8.Valid([]byte(payload)) { // which copies nothing
		return ErrInvalidText
	}
	return nil
}

// send queues one message and sends what it can. While the client is too far
// behind it waits, if it may.
//
// A payload that is a byte slice is handed over as direct, too.
func send[T string | []byte](c *conn, opcode frame.Opcode, payload T, direct []byte, wait bool) error {
	if c.deflate.Fits(len(payload)) {
		if small := deflated(payload, c.endpoint.options); small != nil {
			defer putBuffer(small)
			return sendFrame(c, frame.Header{Fin: true, Rsv: rsv1, Opcode: opcode}, small, small, wait)
		}
	}
	return sendFrame(c, frame.Header{Fin: true, Opcode: opcode}, payload, direct, wait)
}

// sendFrame queues one frame and sends what it can.
func sendFrame[T string | []byte](c *conn, h frame.Header, payload T, direct []byte, wait bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.mayQueue(wait); err != nil {
		return err
	}
	if !c.catchUp() {
		return ErrClosed
	}
	c.sentData(1)
	if len(direct) >= directSize && c.streaming() == nil {
		return c.sendDirect(h, direct)
	}
	appendFrame(c.behind(), h, payload)
	if c.out != nil {
		c.afterAppend()
	}
	return nil
}

// directSize is from what size a payload is written from where it lies.
const directSize = bufferSize

// sendDirect sends a large frame without copying what the socket takes at once.
// c.mu is held.
func (c *conn) sendDirect(h frame.Header, payload []byte) error {
	c.flushNow()
	h.Length = int64(len(payload))
	header := frame.AppendHeader(getBuffer(frame.MaxHeaderSize), h)
	defer putBuffer(header)
	var n int
	var err error
	if c.out == nil {
		n, err = c.transport.TryWriteParts(header, payload)
	}
	if err != nil {
		c.abandon(CodeAbnormal, "connection lost")
		return ErrClosed
	}
	c.sentBytes(n)
	switch {
	case n == len(header)+len(payload):
		return nil
	case n == 0:
		appendFrame(c.waiting(), h, payload)
	default:
		c.waiting().rest(header[min(n, len(header)):], payload[max(0, n-len(header)):])
	}
	c.flushNow()
	return nil
}

// mayQueue returns when a message may be queued or, if it must not wait, says
// whether it may now. c.mu is held.
func (c *conn) mayQueue(wait bool) error {
	switch {
	case wait:
		return c.waitForTurn()
	case c.closing.Load() != nil:
		return ErrClosed
	case c.backlog(1) != "":
		c.flushNow() // it may only wait for its turn to end
		if c.closing.Load() != nil {
			return ErrClosed
		}
		if c.backlog(1) != "" {
			return ErrSlowClient
		}
	}
	return nil
}

// waitForTurn returns when a message may be queued. c.mu is held, but not while
// it waits.
func (c *conn) waitForTurn() error {
	for {
		var err error
		switch {
		case c.closing.Load() != nil:
			return ErrClosed
		case c.streaming() != nil:
			err = c.waitForStream()
		case c.out.over(c.endpoint.options, 1) != "":
			err = c.waitForRoom() // meanwhile a Writer may be opened
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// waitForStream waits until no Writer is open, as long as something of it
// leaves now and then. c.mu is held, but not meanwhile.
func (c *conn) waitForStream() error {
	w, since := c.streaming(), c.now()
	for {
		if w.again == nil {
			w.again = make(chan struct{})
		}
		again := w.again
		c.mu.Unlock()
		<-again
		c.mu.Lock()
		switch {
		case c.streaming() != w:
			return nil
		case passed(max(since, c.lastSent), c.now(), c.endpoint.options.WriteTimeout):
			return ErrStreaming
		}
	}
}

// endStream ends the message of a Writer, if there is one: what came later is
// queued, and others may send. c.mu is held.
func (c *conn) endStream() {
	s := c.streaming()
	if s == nil {
		return
	}
	c.extra.stream = nil
	if c.closing.Load() == nil && s.later.messages > 0 {
		c.waiting().append(s.later)
		c.afterAppend()
	}
	s.later.release()
	s.wakeSenders()
}

// waitForRoom returns when less waits than the options allow, or with an error
// when the client is gone, or closed because it takes nothing: a tick sees to
// that. c.mu is held, but not meanwhile.
func (c *conn) waitForRoom() error {
	for c.out.over(c.endpoint.options, 1) != "" {
		c.gathering = false // whoever waits wants the bytes gone
		c.flush()
		if c.out == nil {
			break
		}
		if c.out.room == nil {
			c.out.room = make(chan struct{})
		}
		room := c.out.room
		c.mu.Unlock()
		<-room
		c.mu.Lock()
		if how := c.closing.Load(); how != nil {
			return how.sendError()
		}
	}
	return nil
}

// sentData counts n data messages of one frame each. c.mu is held.
func (c *conn) sentData(n int) {
	c.count(framesSent, uint64(n))
	c.count(messagesSent, uint64(n))
	c.lastDataSent = c.now()
}

// afterAppend sends what was queued, or sees to it that it is sent soon.
// c.mu is held.
func (c *conn) afterAppend() {
	switch {
	case !c.gathering || c.out.isFull():
		c.flushNow()
	default:
		c.transport.Soon()
	}
}

// longQueue is what pongs do not wait behind, be it allowed or not.
const longQueue = 1 << 20

// sendControl sends a ping or a pong. A ping overtakes what waits; a pong, which
// may answer what is gathered before it, if that is much or waits for long
// (RFC 6455 §5.5). c.mu is held.
func (c *conn) sendControl(opcode frame.Opcode, payload []byte) {
	o := c.waiting()
	long := o.size > longQueue || c.now()-o.made > 1 || o.over(c.endpoint.options, 1) != ""
	if opcode == frame.Pong && !long {
		appendFrame(o, frame.Header{Fin: true, Opcode: opcode}, payload)
		c.count(framesSent, 1)
	} else if o.overtake(opcode, payload) {
		c.count(framesSent, 1)
	}
	c.afterAppend()
}

// waiting returns the outbox, made when there is none. c.mu is held.
func (c *conn) waiting() *outbox {
	if c.out == nil {
		c.out = outboxes.Get().(*outbox)
		c.out.made = c.now()
		c.out.progress = c.out.made
	}
	return c.out
}

// behind is where messages wait: behind the one that is being streamed, if any.
// c.mu is held.
func (c *conn) behind() *outbox {
	if w := c.streaming(); w != nil {
		return w.later
	}
	return c.waiting()
}

// flush sends what waits, as far as the socket takes it at once, unless a turn
// is gathering replies. c.mu is held.
func (c *conn) flush() {
	o := c.out
	if o == nil || c.gathering {
		return
	}
	o.held = false
	for waits := o.next(); len(waits) > 0; waits = o.next() {
		n, err := c.transport.TryWrite(waits)
		if err != nil {
			c.abandon(CodeAbnormal, "connection lost")
			return
		}
		c.wrote(n)
		if n < len(waits) {
			return // to Writable
		}
	}
	c.flushed()
}

// flushNow is flush although a turn may be gathering replies. c.mu is held.
func (c *conn) flushNow() {
	gathering := c.gathering
	c.gathering = false
	c.flush()
	c.gathering = gathering
}

// greet sends the 101, which is not counted. A failure shows when the conn is
// read. c.mu is held.
func (c *conn) greet(reply []byte) {
	n, _ := c.transport.TryWrite(reply)
	if n < len(reply) {
		c.waiting().rest(reply[n:])
		c.out.uncounted = len(reply) - n
	}
	putBuffer(reply)
}

// wrote accounts for n sent bytes. c.mu is held.
func (c *conn) wrote(n int) {
	if n == 0 {
		return
	}
	o := c.out
	uncounted := min(n, o.uncounted)
	o.uncounted -= uncounted
	c.sentBytes(n - uncounted)
	if o.progress = c.lastSent; o.progress != o.made { // it was full, and is not any more
		c.moved(c.lastSent)
	}
	if o.sent(n) && c.unanswered < math.MaxUint16 {
		c.unanswered++
	}
	if o.room != nil && o.over(c.endpoint.options, 1) == "" {
		o.wakeSenders()
	}
}

// moved notes that a client took something of what waits for it. c.mu is held.
func (c *conn) moved(now loop.Time) {
	c.extras().moved, c.unanswered = now, 0
	if c.out != nil {
		c.out.progress = now
	}
}

// stalls reports whether something waits, of which nothing was taken for longer
// than that. c.mu is held.
func (c *conn) stalls(now loop.Time, timeout time.Duration) bool {
	return c.out != nil && passed(c.out.progress, now, timeout)
}

// sentBytes counts n bytes. c.mu is held.
func (c *conn) sentBytes(n int) {
	c.count(bytesSent, uint64(n))
	c.lastSent = c.now()
}

// flushed lets go of the empty outbox. c.mu is held.
func (c *conn) flushed() {
	c.out.release()
	c.out = nil
	if how := c.closing.Load(); how != nil {
		c.startClock(how)
		if how.final {
			c.endSending()
		}
	}
}

// discard drops what can no longer be sent. c.mu is held.
func (c *conn) discard() {
	if c.out != nil {
		c.out.release()
		c.out = nil
	}
}

// burst is how many times what the options allow may wait of what is broadcast
// for a client that gets on.
const burst = 32

// keepsUp reports whether a client may be sent more of what is broadcast: one
// that has fallen too far behind is closed. One that is behind by more than the
// options allow, but takes something now and then, is not. c.mu is held.
func (c *conn) keepsUp() bool {
	option := c.backlog(1)
	if option != "" && (c.gathering || c.out.isHeld()) { // what only waits for the end of a turn or a run is not late
		c.flushNow()
		option = c.backlog(1)
	}
	if option != "" {
		if c.stalls(c.now(), c.endpoint.options.WriteTimeout/2) || c.backlog(burst) != "" {
			c.giveUp("client does not read what is broadcast: more than Options."+option+" waits", &closing{})
		} else if c.out != nil {
			c.out.late = true // a tick looks whether it gets on
		}
	}
	return c.closing.Load() == nil
}

// backlog reports whether more waits than so many times what the options allow,
// and which one. c.mu is held.
func (c *conn) backlog(times int) string {
	option := c.out.over(c.endpoint.options, times)
	if w := c.streaming(); w != nil && option == "" {
		option = w.later.over(c.endpoint.options, times)
	}
	return option
}

// Writable implements loop.Owner.
func (c *conn) Writable(*loop.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathering = false // a handler that takes long does not hold this back
	c.flush()
	c.finish()
}

// inflates reports whether messages of any size may be sent to c compressed.
func (c *conn) inflates() bool { return c.deflate.Fits(math.MaxInt) }

// catchUp queues for c what was published before and has not reached it, so
// that what is sent next stays behind it. It reports whether c may be sent more.
// c.mu is held.
func (c *conn) catchUp() bool {
	f := &c.endpoint.feed
	if c.delivered == f.count.Load() {
		return c.closing.Load() == nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.since(c.delivered) {
		if b.to.has(c) {
			if !c.keepsUp() {
				return false
			}
			if c.out == nil && !c.gathering && c.streaming() == nil {
				c.waiting().held = true // who catches up sends it; keepsUp does if it is much
			}
			c.queue(b)
		}
	}
	c.delivered = f.count.Load()
	return c.closing.Load() == nil
}

// catchUpNow is catchUp when nothing is to follow. c.mu is held.
func (c *conn) catchUpNow() {
	if c.catchUp() && c.out != nil {
		c.afterAppend()
	}
}

// queue queues or sends the messages of a batch that c has not had. c.mu is held.
func (c *conn) queue(b *batch[conn]) {
	f := &b.plain
	if b.deflated.ends != nil && c.inflates() {
		f = &b.deflated
	}
	had, last := max(c.delivered, b.first), b.last()
	c.delivered = last
	if b.without != nil {
		for _, number := range b.excluded(c.id, had) {
			c.queueRun(b, f, had, number-1)
			had = number
		}
	}
	c.queueRun(b, f, had, last)
}

// queueRun queues or sends the messages behind one number, up to another. Short
// ones, behind which there are more, are copied together: a write for each would
// cost more. c.mu is held.
func (c *conn) queueRun(b *batch[conn], f *frames, from, to uint64) {
	if from == to {
		return
	}
	bytes, messages := b.run(f, from, to), int(to-from)
	c.sentData(messages)
	switch {
	case !b.sealed, c.out.isHeld() && len(bytes) < bufferSize, to < b.last() && len(bytes) < bufferSize && c.behind().size < bufferSize:
		c.behind().copy(bytes, messages)
	case c.out == nil && c.streaming() == nil && !c.gathering:
		c.sendShared(bytes, messages)
	default:
		c.behind().share(bytes, messages, 0)
	}
}

// sendShared sends frames that others are sent too straight from where they
// are. c.mu is held and nothing waits.
func (c *conn) sendShared(bytes []byte, messages int) {
	n, err := c.transport.TryWrite(bytes)
	if err != nil {
		c.abandon(CodeAbnormal, "connection lost")
		return
	}
	c.sentBytes(n)
	if n < len(bytes) {
		c.waiting().share(bytes, messages, n)
	}
}
