package ws

import (
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"

	"aerys/ws/frame"
)

// turn is what a goroutine holds while it runs a connection: the bytes of one
// read, and what becomes of them.
type turn struct {
	conn    *conn
	in      *inbox
	buffer  []byte  // what a read fills
	rest    []byte  // of it, what is not parsed yet
	filled  bool    // a read has filled the buffer
	direct  bool    // the read goes to where its message is gathered
	brought int     // bytes, by the last read
	read    Traffic // counted since it was last added to conn.traffic
	frames  int64   // that may be read before the client pauses
	bytes   int64   // likewise
	message Message
	err     error // why the conn can read no more
}

var turns = sync.Pool{New: func() any {
	return &turn{buffer: getBuffer(bufferSize)[:bufferSize], in: inboxes.Get().(*inbox)}
}}

// release puts t back for another goroutine.
func (t *turn) release() {
	if t.filled = false; len(t.buffer) > bufferSize {
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
	if c.in != nil {
		t.in.release()
		t.in, c.in = c.in, nil
	}
	t.publish(handling)
}

// finish ends the turn: what was gathered leaves.
func (t *turn) finish() {
	c := t.conn
	if !t.in.empty() {
		c.in, t.in = t.in, inboxes.Get().(*inbox)
	}
	t.publish(listening)
	t.conn, t.rest = nil, nil
}

// publish adds what was counted to the conn, sends what was gathered, and
// learns what may still be read.
func (t *turn) publish(then activity) {
	c := t.conn
	c.mu.Lock()
	if t.read.BytesRead > 0 || t.read.FramesRead > 0 {
		c.count(bytesRead, t.read.BytesRead)
		c.count(framesRead, t.read.FramesRead)
		c.count(messagesRead, t.read.MessagesRead)
		c.lastRead = c.endpoint.clock.Load()
		if t.read.MessagesRead > 0 {
			c.lastDataRead = c.lastRead
		}
		t.read = Traffic{}
	}
	t.frames, t.bytes = c.allowance()
	c.gathering = false
	c.flush()
	c.gathering, c.activity = then == handling, then
	c.mu.Unlock()
}

// mustPause reports whether the client has used up a rate. One that is being
// closed may finish.
func (t *turn) mustPause() bool {
	return (t.frames <= 0 || t.bytes <= 0) && t.conn.closing.Load() == nil
}

// lead is how far into the buffer a read begins: behind the 14 bytes of a large
// frame's header, its payload then lies where 64 bits are unmasked at a time.
const lead = 2

// space is where the next read is to put its bytes: the turn's buffer or, of a
// large frame, the place where its message is gathered.
func (t *turn) space() []byte {
	in := t.in
	t.direct = in.remaining >= int64(len(t.buffer))/2 && in.gathered != nil && !in.skip
	if !t.direct {
		return t.buffer[lead:]
	}
	if cap(in.gathered)-len(in.gathered) < len(t.buffer)/2 {
		in.gathered = growBuffer(in.gathered, int(min(in.remaining, 7*int64(len(in.gathered)))))
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
	if t.conn.deaf {
		return nil // RFC 6455 §5.5.1: what follows a close frame is discarded
	}
	if !t.direct {
		t.rest, t.filled = p, t.filled || len(p) >= len(t.buffer)-lead
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

// resume deals with what was put aside when the client had to pause.
func (t *turn) resume() error {
	stash := t.in.stash
	if stash == nil {
		return nil
	}
	t.in.stash, t.rest = nil, stash
	err := t.parse()
	putBuffer(stash)
	return err
}

// parse deals with t.rest, message by message.
func (t *turn) parse() error {
	for {
		piece, ok, err := t.next()
		if errors.Is(err, errPaused) {
			if len(t.rest) > 0 {
				t.in.stash = append(getBuffer(len(t.rest)), t.rest...)
			}
			return err
		}
		if err != nil {
			return t.failed(err)
		}
		if !ok {
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

// deliver calls OnData with a message of which body has come.
func (t *turn) deliver(body []byte) error {
	in, m := t.in, &t.message
	t.read.MessagesRead++
	*m = Message{turn: t, body: body, binary: in.opcode == frame.Binary, more: !in.complete()}
	if in.compressed {
		if err := m.startInflating(); err != nil {
			m.release()
			return t.failed(err)
		}
	}
	if t.conn.closing.Load() == nil {
		lent := t.lend(body)
		t.conn.onData(m)
		if lent {
			t.conn.setLent(nil)
		}
	}
	m.release()
	switch {
	case in.complete():
		in.endMessage()
	default: // the handler did not want the rest
		in.skip = true
		putBuffer(in.gathered)
		in.gathered = nil
	}
	return t.err
}

// await is next for a handler that is reading: it waits for what is needed.
func (t *turn) await() (piece []byte, err error) {
	for t.err == nil {
		piece, ok, err := t.next()
		switch {
		case ok && err == nil:
			return piece, nil
		case errors.Is(err, errPaused):
			t.pause()
		case err != nil:
			t.failed(err)
		default:
			t.rest = t.wait(t.buffer, 1)
		}
	}
	return nil, t.conn.closeError()
}

// pause waits until the client may send more.
func (t *turn) pause() {
	t.publish(handling)
	t.conn.waitWhilePaused()
	t.publish(handling)
}

// gather waits for the rest of the message under way and keeps it.
func (t *turn) gather() error {
	in := t.in
	if t.err != nil {
		return t.conn.closeError()
	}
	for !in.complete() {
		if space := t.space(); t.direct && len(t.rest) == 0 {
			if t.mustPause() {
				t.pause()
			}
			p := t.wait(space, t.atOnce(int64(len(space))))
			in.gathered = in.gathered[:len(in.gathered)+len(p)]
			if err := t.take(p); err != nil {
				t.failed(err)
			}
			if t.err != nil {
				return t.conn.closeError()
			}
			continue
		}
		piece, err := t.await()
		if err != nil {
			return err
		}
		in.keep(piece)
	}
	return nil
}

// wait reads into p, after sending what was gathered. Less than least bytes are
// of no use.
func (t *turn) wait(p []byte, least int) []byte {
	t.publish(listening)
	defer t.publish(handling)
	n, err := t.conn.transport.read(p, least)
	t.count(n)
	if n == 0 && err == nil {
		err = io.ErrUnexpectedEOF
	}
	if n == 0 {
		t.err = err
	}
	return p[:n]
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

// onOpen calls the handler. A panic closes the client with 1011.
func (c *conn) onOpen(o opener) {
	defer c.recovered("OnOpen")
	o.open(c.id)
}

// onData calls the handler. A panic closes the client with 1011.
func (c *conn) onData(m *Message) {
	defer c.recovered("OnData")
	c.endpoint.application.data(c.id, m)
}

// recovered logs a panic of the handler and closes its client.
func (c *conn) recovered(method string) {
	if failure := recover(); failure != nil {
		c.endpoint.options.Logger.Error("ws: panic in "+method, slog.Any("panic", failure),
			slog.Uint64("client", uint64(c.id)), slog.String("stack", string(debug.Stack())))
		c.deaf = true
		c.fail(CodeInternalError, "the server failed")
	}
}
