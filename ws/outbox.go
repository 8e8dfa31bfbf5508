package ws

import (
	"sync"
	"time"

	"aerys/ws/frame"
)

// outbox is what waits to be sent to one client, oldest first. A conn has one
// only while something waits; conn.mu guards it.
type outbox struct {
	segments  []segment
	size      int // bytes not yet sent
	messages  int // frames not yet sent as a whole
	progress  uint32
	uncounted int           // bytes of the handshake
	writing   bool          // a goroutine writes outside conn.mu
	room      chan struct{} // closed when senders that wait may look again
}

// segment is a run of whole frames, of which the first may be partly sent.
type segment struct {
	bytes    []byte
	sent     int
	messages int
	own      bool // from getBuffer, nobody else has it
}

// copyLimit is up to what size frames are copied together. Larger payloads are
// written from where they lie.
const copyLimit = 128 << 10

var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func (o *outbox) release() {
	o.wakeSenders()
	for i := range o.segments {
		if o.segments[i].own {
			putBuffer(o.segments[i].bytes)
		}
	}
	clear(o.segments)
	*o = outbox{segments: o.segments[:0]}
	outboxes.Put(o)
}

// tail returns the segment to which n bytes may be appended.
func (o *outbox) tail(n int) *segment {
	if last := len(o.segments) - 1; last >= 0 {
		if s := &o.segments[last]; s.own && len(s.bytes)+n <= copyLimit && !(o.writing && last == 0) {
			s.bytes = growBuffer(s.bytes, n)
			return s
		}
	}
	o.segments = append(o.segments, segment{bytes: getBuffer(n), own: true})
	return &o.segments[len(o.segments)-1]
}

// share queues frames that others are sent too.
func (o *outbox) share(frames []byte, messages int) {
	if len(frames) < 512 { // less than a segment is worth
		o.copy(frames, messages)
		return
	}
	o.segments = append(o.segments, segment{bytes: frames, messages: messages})
	o.size += len(frames)
	o.messages += messages
}

// copy queues frames that may change later.
func (o *outbox) copy(frames []byte, messages int) {
	s := o.tail(len(frames))
	s.bytes = append(s.bytes, frames...)
	s.messages += messages
	o.size += len(frames)
	o.messages += messages
}

// sent notes that n bytes of the first segment are on their way.
func (o *outbox) sent(n int) {
	first := &o.segments[0]
	first.sent += n
	o.size -= n
	if first.sent < len(first.bytes) {
		return
	}
	o.messages -= first.messages
	if first.own {
		putBuffer(first.bytes)
	}
	o.segments = append(o.segments[:0], o.segments[1:]...)
}

func (o *outbox) wakeSenders() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// take moves what waits in another outbox behind what waits here.
func (o *outbox) take(other *outbox) {
	o.segments = append(o.segments, other.segments...)
	o.size += other.size
	o.messages += other.messages
	clear(other.segments)
	other.segments, other.size, other.messages = other.segments[:0], 0, 0
}

// unsent queues a frame of which the first n bytes are sent.
func (o *outbox) unsent(header, payload []byte, n int) {
	s := o.tail(len(header) + len(payload) - n)
	before := len(s.bytes)
	s.bytes = append(s.bytes, header[min(n, len(header)):]...)
	s.bytes = append(s.bytes, payload[max(0, n-len(header)):]...)
	s.messages++
	o.messages++
	o.size += len(s.bytes) - before
}

// appendFrame queues one frame.
func appendFrame[T string | []byte](o *outbox, h frame.Header, payload T) {
	h.Length = int64(len(payload))
	s := o.tail(frame.MaxHeaderSize + len(payload))
	before := len(s.bytes)
	s.bytes = append(frame.AppendHeader(s.bytes, h), payload...)
	s.messages++
	o.messages++
	o.size += len(s.bytes) - before
}

// over reports whether more waits than the options allow, and which one.
func (o *outbox) over(options *Options) string {
	switch {
	case o == nil:
	case o.size > options.MaxQueuedBytes:
		return "MaxQueuedBytes"
	case o.messages > options.MaxQueuedMessages:
		return "MaxQueuedMessages"
	}
	return ""
}

// waiting returns the outbox, made when there is none. c.mu is held.
func (c *conn) waiting() *outbox {
	if c.out == nil {
		c.out = outboxes.Get().(*outbox)
		c.out.progress = c.endpoint.clock.Load()
	}
	return c.out
}

// flush sends what waits, as far as the socket takes it at once, unless a turn
// is gathering replies or another goroutine is writing. c.mu is held.
func (c *conn) flush() {
	o := c.out
	if o == nil || c.gathering || o.writing {
		return
	}
	for len(o.segments) > 0 {
		waits := o.segments[0].bytes[o.segments[0].sent:]
		n, err := c.transport.tryWrite(waits)
		if err != nil {
			c.abandon(CodeAbnormal, "connection lost")
			return
		}
		c.wrote(n)
		if n < len(waits) {
			c.transport.full()
			return
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
	n, _ := c.transport.tryWrite(reply)
	if n < len(reply) {
		c.waiting().copy(reply[n:], 0)
		c.out.uncounted = len(reply) - n
		c.transport.full()
	}
	putBuffer(reply)
}

// wrote accounts for n sent bytes. c.mu is held.
func (c *conn) wrote(n int) {
	if n == 0 {
		return
	}
	uncounted := min(n, c.out.uncounted)
	c.out.uncounted -= uncounted
	c.sentBytes(n - uncounted)
	c.out.progress = c.lastSent
	c.out.sent(n)
	if c.out.over(c.endpoint.options) == "" {
		c.out.wakeSenders()
	}
}

// sentBytes counts n bytes. c.mu is held.
func (c *conn) sentBytes(n int) {
	c.count(bytesSent, uint64(n))
	c.lastSent = c.endpoint.clock.Load()
}

// flushed lets go of the empty outbox. c.mu is held.
func (c *conn) flushed() {
	c.out.release()
	c.out = nil
	if how := c.closing.Load(); how != nil && how.final {
		c.transport.closeWrite()
	}
}

// discard drops what can no longer be sent. c.mu is held.
func (c *conn) discard() {
	if c.out != nil && !c.out.writing {
		c.out.release()
		c.out = nil
	}
}

// waitForRoom returns when less waits than the options allow, or with an error
// when the client is gone or does not read. c.mu is held, but not meanwhile.
func (c *conn) waitForRoom() error {
	if c.out.over(c.endpoint.options) == "" {
		return nil
	}
	timeout := time.NewTimer(c.endpoint.options.WriteTimeout)
	defer timeout.Stop()
	for {
		option := c.out.over(c.endpoint.options)
		if option == "" {
			return nil
		}
		c.gathering = false // whoever waits wants the bytes gone
		c.flush()
		if c.out == nil {
			continue
		}
		if c.out.room == nil {
			c.out.room = make(chan struct{})
		}
		room := c.out.room
		c.mu.Unlock()
		var timedOut bool
		select {
		case <-room:
		case <-timeout.C:
			timedOut = true
		}
		c.mu.Lock()
		if c.closing.Load() != nil {
			return ErrClosed
		}
		if timedOut {
			c.endpoint.counters.slow.Add(1)
			c.abandon(CodePolicyViolation, "client does not read: Options."+option+" waited for longer than Options.WriteTimeout")
			return ErrSlowClient
		}
	}
}
