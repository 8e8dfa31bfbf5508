package ws

import (
	"sync"

	"aerys/ws/frame"
)

// turn is what a goroutine holds while it runs a connection: the bytes of one
// read, and what becomes of them.
type turn struct {
	conn    *conn
	in      *inbox
	buffer  []byte    // what a read fills
	rest    []byte    // of it, what is not parsed yet
	filled  bool      // a read has brought as much as a small buffer holds
	direct  bool      // the read goes to where its message is gathered
	brought int       // bytes, by the last read
	read    Traffic   // counted since it was last added to conn.traffic
	frames  int64     // that may be read before the client pauses
	bytes   int64     // likewise
	content content   // of the message that is handled
	fresh   []Message // that nobody has had
	err     error     // why the conn can read no more
}

var turns = sync.Pool{New: func() any {
	return &turn{buffer: getBuffer(bufferSize)[:bufferSize], in: inboxes.Get().(*inbox)}
}}

// release puts t back for another connection, with a large buffer if this one
// has used it.
func (t *turn) release() {
	if !t.filled && len(t.buffer) > bufferSize {
		t.resize(bufferSize)
	}
	turns.Put(t)
}

// resize changes how much a read may bring. Nothing in the buffer is needed.
func (t *turn) resize(n int) {
	putBuffer(t.buffer)
	t.buffer, t.filled = getBuffer(n)[:n], false
}

// maxReads is after how many reads a connection lets others go first.
const maxReads = 4

// begin makes t the turn of c: replies are gathered from now on.
func (t *turn) begin(c *conn) {
	t.conn, t.err, t.direct, t.brought = c, nil, false, 0
	if t.filled && len(t.buffer) < largeBufferSize {
		t.resize(largeBufferSize)
	}
	t.filled = false
	if c.in != nil {
		t.in.release()
		t.in = c.in
	}
	t.in.turn = t
	t.publish(handling, t.in)
}

// finish ends the turn: what was gathered leaves.
func (t *turn) finish() {
	t.in.turn, t.in.late = nil, false
	if t.in.empty() {
		t.publish(listening, nil)
	} else {
		t.publish(listening, t.in)
		t.in = inboxes.Get().(*inbox)
	}
	t.conn, t.rest = nil, nil
}

// publish adds what was counted to the conn, sends what was gathered, and
// learns what may still be read.
func (t *turn) publish(then activity, in *inbox) {
	c := t.conn
	c.mu.Lock()
	t.account()
	t.frames, t.bytes = c.allowance()
	c.gathering = false
	c.flush()
	c.gathering, c.activity, c.in = then == handling, then, in
	if then == handling {
		c.lookSoon()
	}
	c.mu.Unlock()
}

// account adds what was counted to the conn. Its mutex is held.
func (t *turn) account() {
	c := t.conn
	if t.read.BytesRead == 0 && t.read.FramesRead == 0 {
		return
	}
	c.count(bytesRead, t.read.BytesRead)
	c.count(framesRead, t.read.FramesRead)
	c.count(messagesRead, t.read.MessagesRead)
	c.lastRead, c.unanswered = c.now(), 0
	if t.read.MessagesRead > 0 {
		c.lastDataRead = c.lastRead
	}
	t.read = Traffic{}
}

// lead is how far into the buffer a read begins: behind the 14 bytes of a large
// frame's header, its payload then lies where 64 bits are unmasked at a time.
const lead = 2

// space is where the next read is to put its bytes: the turn's buffer or, of a
// large frame, the place where its message is gathered.
func (t *turn) space() []byte {
	in := t.in
	least := len(t.buffer) / 2
	t.direct = in.remaining >= int64(least) && in.gathered != nil && !in.skip && in.makeRoom(least, t.brought >= largeBufferSize-lead)
	if !t.direct {
		return t.buffer[lead:]
	}
	free := in.gathered[len(in.gathered):cap(in.gathered)]
	return free[:min(in.remaining, int64(len(free)))]
}

// missing is how many bytes of a frame have to come before a handler is called,
// or one if that is not what is waited for.
func (t *turn) missing() int {
	if t.in.gathered == nil || t.in.skip || t.conn.deaf {
		return 1
	}
	return t.atOnce(min(t.in.remaining, int64(t.conn.endpoint.options.AutoFrameSize-len(t.in.gathered))))
}

// atOnce is how many of n bytes are worth waiting for: one, if the client sends
// slowly.
func (t *turn) atOnce(n int64) int {
	if t.brought < bufferSize {
		return 1
	}
	return int(n)
}

// received deals with what a read put into space. The error says that no more
// is to be read, or not now (errPaused).
func (t *turn) received(p []byte) error {
	t.count(len(p))
	return t.deal(p)
}

// deal is received for what is counted already.
func (t *turn) deal(p []byte) error {
	if t.conn.deaf {
		return nil // RFC 6455 §5.5.1: what follows a close frame is discarded
	}
	if !t.direct {
		t.rest, t.filled = p, t.filled || len(p) >= bufferSize-lead
		return t.parse()
	}
	t.in.gathered = t.in.gathered[:len(t.in.gathered)+len(p)]
	if err := t.take(p); err != nil {
		return t.failed(err)
	}
	if err := t.progress(); err != nil {
		return err
	}
	return t.parse() // a handler that read on has read more than its message
}

func (t *turn) count(n int) {
	if n > 0 {
		t.brought = n
	}
	t.read.BytesRead += uint64(n)
	t.bytes -= int64(n)
}

// parse deals with t.rest, message by message.
func (t *turn) parse() error {
	for {
		piece, ok, err := t.next()
		switch {
		case err == errPaused:
			t.in.ahead.putBack(t.rest)
			t.rest = nil
			return err
		case err != nil:
			return t.failed(err)
		case !ok:
			return nil
		}
		if err := t.arrived(piece); err != nil {
			return err
		}
	}
}

// arrived deals with a piece of a message: a message that is whole is handed
// over where it lies, anything else is kept.
func (t *turn) arrived(piece []byte) error {
	in := t.in
	if in.gathered == nil && !in.skip && in.complete() {
		return t.deliver(piece)
	}
	if !in.skip {
		in.keep(piece)
	}
	return t.progress()
}

// progress hands over what is gathered of the message once it is enough.
func (t *turn) progress() error {
	in := t.in
	switch {
	case in.skip && in.complete():
		in.endMessage()
	case in.skip:
	case in.complete(), len(in.gathered) >= t.conn.endpoint.options.AutoFrameSize:
		return t.deliver(in.gathered)
	}
	return nil
}

// failed notes why the conn can read no more and tells the client, if it is
// the client's fault.
func (t *turn) failed(err error) error {
	t.err = err
	t.conn.deaf = true
	if protocol, ok := err.(*frame.ProtocolError); ok {
		t.conn.fail(protocol.Code, protocol.Reason)
	}
	return err
}

// ignorePause is nil for what does not end the reading: after a failure the
// rest of what the client sends is read and discarded.
func ignorePause(err error) error {
	if err == nil || err == errPaused || err == errPeerClose {
		return nil
	}
	if _, ok := err.(*frame.ProtocolError); ok {
		return nil
	}
	return err
}
