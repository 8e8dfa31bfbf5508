package ws

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// This file reads what a client sends: bytes become frames (RFC 6455 §5.2), and
// frames messages (§5.4), which go to the handler, or control frames (§5.5).

// reader is what a goroutine holds while it runs a conn, a turn of it: the bytes
// of one read, and what becomes of them. Between turns a conn has one only if a
// frame or a message of it is incomplete, or it has to wait.
type reader struct {
	conn    *conn     // nil between turns
	arrival *arrival  // before the first turn
	buffer  []byte    // what a read fills; nil between turns of a conn
	rest    []byte    // of it, what is not parsed yet
	filled  bool      // a read has brought as much as a small buffer holds
	direct  bool      // the read goes to where its message is gathered
	brought int       // bytes, by the last read
	read    Traffic   // counted since it was last added to conn.tally
	frames  int64     // that may be read before the client pauses
	bytes   int64     // likewise
	content content   // of the message that is handled
	fresh   []Message // that nobody has had
	err     error     // why the conn can read no more

	mu    sync.Mutex // held by whoever reads, and if nobody does; it is free while a handler runs
	looks int        // that found the same handler running
	late  bool       // it takes so long that what comes is read ahead

	in       incoming
	partial  [frame.MaxHeaderSize + frame.MaxControlPayload]byte
	partials int // bytes of a header or control frame that is incomplete
	ahead    readAhead
}

var readers = sync.Pool{New: func() any {
	r := new(reader)
	r.mu.Lock()
	return r
}}

// takeReader returns the reader of the conn, or a new one. It is for who runs the conn.
func (c *conn) takeReader() *reader {
	if c.in != nil {
		return c.in
	}
	return readers.Get().(*reader)
}

// release puts back what the conn is not to need again.
func (r *reader) release() {
	r.in.endMessage()
	r.ahead.drop()
	r.arrival, r.partials = nil, 0
	readers.Put(r)
}

// begin is the beginning of a turn: replies are gathered from now on.
func (r *reader) begin(c *conn) {
	r.conn, r.err, r.direct, r.brought = c, nil, false, 0
	size := bufferSize
	if r.filled {
		size = largeBufferSize
	}
	if len(r.buffer) != size {
		putBuffer(r.buffer)
		r.buffer = getBuffer(size)[:size]
	}
	r.filled = false
	r.publish(handling, r)
}

// finish ends the turn: what was gathered leaves.
func (r *reader) finish() {
	r.rest, r.late = nil, false
	if r.in.opcode == 0 && r.partials == 0 && !r.ahead.any() {
		r.publish(listening, nil)
		r.conn = nil
		readers.Put(r)
		return
	}
	r.publish(listening, r)
	r.conn = nil
	putBuffer(r.buffer)
	r.buffer = nil
}

// publish adds what was counted to the conn, sends what was gathered, and
// learns what may still be read.
func (r *reader) publish(then activity, in *reader) {
	c := r.conn
	c.mu.Lock()
	r.account()
	r.frames, r.bytes = c.allowance()
	c.gathering = false
	c.flush()
	c.gathering, c.activity, c.in = then == handling, then, in
	if then == handling {
		c.transport.Soon()
	}
	c.mu.Unlock()
}

// account adds what was counted to the conn. Its mutex is held.
func (r *reader) account() {
	c := r.conn
	if r.read.BytesRead == 0 && r.read.FramesRead == 0 {
		return
	}
	c.count(bytesRead, r.read.BytesRead)
	c.count(framesRead, r.read.FramesRead)
	c.count(messagesRead, r.read.MessagesRead)
	c.lastRead, c.unanswered = c.now(), 0
	if r.read.MessagesRead > 0 {
		c.lastDataRead = c.lastRead
	}
	r.read = Traffic{}
}

// Serve implements loop.Owner: it is a turn.
func (c *conn) Serve(carrier *loop.Conn) error {
	switch {
	case c.drained:
		return c.endReading()
	case c.transport == nil:
		carrier.LimitUnsent()
		c.transport = carrier
	}
	err := c.takeTurn()
	switch {
	case err == errPaused:
		return c.endPaused()
	case isEnd(err):
		return c.endReading()
	}
	return err
}

// takeTurn reads and handles. Where a handler ends the goroutine that it was
// called on, others go on.
func (c *conn) takeTurn() error {
	returned := false
	r := c.takeReader()
	c.endpoint.busy.Add(1)
	defer c.endpoint.rest(c)
	defer func() {
		r.finish()
		if !returned {
			c.transport.Resume()
		}
	}()
	r.begin(c)
	err := r.readAll()
	returned = true
	return err
}

// rest is the end of a turn. What it published is delivered behind the round, with
// what the turns of other connections did.
func (e *Endpoint) rest(c *conn) {
	e.busy.Add(-1)
	if f := &e.feed; f.waiting.Load() && !f.due.Swap(true) {
		c.transport.AfterRound(e.flushDue)
	}
}

// maxReads is after how many reads a connection lets others go first.
const maxReads = 4

// readAll reads until there is nothing more. The error is loop.ErrAgain then, or
// loop.ErrYield, errPaused, or why the connection is over.
func (r *reader) readAll() error {
	c := r.conn
	if r.arrival != nil {
		r.welcome()
	}
	for range maxReads {
		if err := r.catchUp(); err != nil {
			return err
		}
		space := r.space()
		n, err := c.transport.TryRead(space)
		if n > 0 {
			err = ignorePause(r.received(space[:n]))
		}
		switch {
		case err == nil, r.ahead.any(): // meanwhile something was read ahead, or kept for later
		case err == loop.ErrAgain:
			c.transport.Await(r.missing())
			return err
		default:
			return err
		}
	}
	return loop.ErrYield
}

// welcome is the beginning of a conn: the client gets its 101, then come OnOpen
// and what was read behind the handshake.
func (r *reader) welcome() {
	o, c := r.arrival, r.conn
	r.arrival = nil
	c.endpoint.opened(c, o)
	c.endpoint.entering.Done()
	r.count(len(r.ahead.waiting()))
	r.letOpen(o.opener)
}

// endPaused is the end of a turn of a client that has to wait. There may be more
// of it than can be read ahead.
func (c *conn) endPaused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pause()
	switch {
	case c.activity != paused, c.transport.HungUp():
		return loop.ErrYield
	case c.in != nil && c.in.ahead.full:
		return loop.ErrPause
	}
	return loop.ErrAgain
}

// endReading ends a connection whose client has ended its direction, now or when
// all is sent.
func (c *conn) endReading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungUp()
	c.drained = true
	if c.out == nil && !c.transport.Queued() || c.closing.Load().dropped {
		return io.EOF
	}
	return loop.ErrPause
}

// isEnd reports whether the client has ended its direction, and may be sent to.
func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

// lead is how far into the buffer a read begins: behind the 14 bytes of a large
// frame's header, its payload then lies where 64 bits are unmasked at a time.
const lead = 2

// space is where the next read is to put its bytes: the buffer or, of a large
// frame, the place where its message is gathered.
func (r *reader) space() []byte {
	in := &r.in
	least := len(r.buffer) / 2
	r.direct = in.remaining >= int64(least) && in.gathered != nil && !in.skip && in.makeRoom(least, r.brought >= largeBufferSize-lead)
	if !r.direct {
		return r.buffer[lead:]
	}
	free := in.gathered[len(in.gathered):cap(in.gathered)]
	return free[:min(in.remaining, int64(len(free)))]
}

// missing is how many bytes of a frame have to come before a handler is called,
// or one if that is not what is waited for.
func (r *reader) missing() int {
	if r.in.gathered == nil || r.in.skip || r.conn.deaf {
		return 1
	}
	return r.atOnce(min(r.in.remaining, int64(r.conn.endpoint.options.AutoFrameSize-len(r.in.gathered))))
}

// atOnce is how many of n bytes are worth waiting for: one, if the client sends
// slowly.
func (r *reader) atOnce(n int64) int {
	if r.brought < bufferSize {
		return 1
	}
	return int(n)
}

// received deals with what a read put into space. The error says that no more
// is to be read, or not now (errPaused).
func (r *reader) received(p []byte) error {
	r.count(len(p))
	return r.deal(p)
}

// deal is received for what is counted already.
func (r *reader) deal(p []byte) error {
	if r.conn.deaf {
		return nil // RFC 6455 §5.5.1: what follows a close frame is discarded
	}
	if !r.direct {
		r.rest, r.filled = p, r.filled || len(p) >= bufferSize-lead
		return r.parse()
	}
	if err := r.in.gather(p); err != nil {
		return r.failed(err)
	}
	if err := r.progress(); err != nil {
		return err
	}
	return r.parse() // a handler that read on has read more than its message
}

func (r *reader) count(n int) {
	if n > 0 {
		r.brought = n
	}
	r.read.BytesRead += uint64(n)
	r.bytes -= int64(n)
}

// mustPause reports whether the client has used up a rate. One that is being
// closed, or has left, may finish.
func (r *reader) mustPause() bool {
	c := r.conn
	if r.frames > 0 && r.bytes > 0 || c.closing.Load() != nil {
		return false
	}
	c.mu.Lock()
	r.account()
	r.frames, r.bytes = c.allowanceNow()
	c.mu.Unlock()
	return r.frames <= 0 || r.bytes <= 0
}

var (
	errPaused    = errors.New("ws: the client exceeded a rate")
	errPeerClose = errors.New("ws: the client sent a close frame")
)

// parse deals with r.rest, message by message.
func (r *reader) parse() error {
	for {
		piece, ok, err := r.next()
		switch {
		case err == errPaused:
			r.ahead.putBack(r.rest)
			r.rest = nil
			return err
		case err != nil:
			return r.failed(err)
		case !ok:
			return nil
		}
		if err := r.arrived(piece); err != nil {
			return err
		}
	}
}

// next returns the next piece of the payload of data messages, unmasked and
// checked. With ok false all that was read is used up.
func (r *reader) next() (piece []byte, ok bool, err error) {
	in := &r.in
	if in.remaining == 0 {
		if ok, err := r.nextHeader(); !ok || err != nil {
			return nil, false, err
		}
		if in.remaining == 0 {
			return nil, true, in.unmask(nil)
		}
	}
	if len(r.rest) == 0 {
		return nil, false, nil
	}
	n := min(in.remaining, int64(len(r.rest)))
	piece, r.rest = r.rest[:n], r.rest[n:]
	return piece, true, in.unmask(piece)
}

// nextHeader takes the header of the next data frame. Control frames before it
// are dealt with on the way.
func (r *reader) nextHeader() (ok bool, err error) {
	for len(r.rest) > 0 || r.partials > 0 {
		if r.mustPause() {
			return false, errPaused
		}
		p := r.rest
		if r.partials > 0 {
			p = r.partial[:r.partials+copy(r.partial[r.partials:], r.rest)]
		}
		h, n, err := r.parseHeader(p, r.in.fragmented())
		if err != nil {
			return false, err
		}
		whole := n > 0
		if whole && h.Opcode.Control() {
			n += int(h.Length)
			whole = n <= len(p)
		}
		if !whole { // until more of it comes
			r.partials += copy(r.partial[r.partials:], r.rest)
			r.rest = nil
			return false, nil
		}
		r.rest = r.rest[n-r.partials:]
		r.partials = 0
		r.read.FramesRead++
		r.frames--
		if !h.Opcode.Control() {
			return true, r.in.beginFrame(h, r.conn.endpoint.options)
		}
		if err := r.control(h, p[n-int(h.Length):n]); err != nil {
			return false, err
		}
	}
	return false, nil
}

// parseHeader returns a header that keeps the rules (RFC 6455 §5), and its size,
// which is 0 if it is incomplete.
func (r *reader) parseHeader(p []byte, fragmented bool) (h frame.Header, n int, err error) {
	h, n, err = frame.ParseHeader(p)
	if err == nil && n > 0 {
		err = frame.Check(h, frame.State{FromClient: true, Fragmented: fragmented, Compression: r.conn.deflate.Enabled()})
	}
	return h, n, err
}

// control answers a control frame (RFC 6455 §5.5).
func (r *reader) control(h frame.Header, payload []byte) error {
	frame.Mask(payload, h.Key, 0)
	switch h.Opcode {
	case frame.Ping:
		r.conn.pong(payload)
	case frame.Pong:
		r.conn.ponged(payload)
	case frame.Close:
		code, reason, err := frame.ParseClose(payload)
		if err != nil {
			return err
		}
		r.conn.peerClosed(code, reason)
		return errPeerClose
	}
	return nil
}

// pong answers a ping, the latest if others wait to be answered (RFC 6455 §5.5.3).
func (c *conn) pong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() == nil {
		c.sendControl(frame.Pong, payload)
	}
}

// ponged learns from the answer to a ping of ours how long it took. That a frame
// came at all says that the client is there, whatever is in it.
func (c *conn) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	took := time.Since(c.endpoint.epoch) - time.Duration(binary.BigEndian.Uint64(payload))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unanswered > 0 && took >= 0 {
		c.roundTrip = uint32(min(took/time.Microsecond, 1<<32-1))
	}
}

// failed notes why the conn can read no more and tells the client, if it is
// the client's fault.
func (r *reader) failed(err error) error {
	r.err = err
	r.conn.deaf = true
	if protocol, ok := err.(*frame.ProtocolError); ok {
		r.conn.fail(protocol.Code, protocol.Reason)
	}
	return err
}

// ignorePause is nil for what does not end the reading: after a failure the
// rest of what the client sends is read and discarded.
func ignorePause(err error) error {
	if _, ok := err.(*frame.ProtocolError); ok || err == errPaused || err == errPeerClose {
		return nil
	}
	return err
}
