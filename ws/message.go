package ws

import (
	"context"
	"errors"
	"io"
	"sync"
	"unicode/utf8"

	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// ErrMessageOver says that a Message was read after OnData returned.
var ErrMessageOver = errors.New("ws: the message is over: read it before OnData returns")

// Message is a message that a client sends. It is an io.Reader: a long one can
// be read piece by piece while it arrives, and Read waits for what is missing.
// Text and Bytes are for messages that fit in memory. A Message belongs to the
// call of OnData that received it, and is read by one goroutine at a time. It is
// over when OnData returns: from then on its methods return ErrMessageOver,
// whoever calls them. A call that is under way then is waited for.
type Message struct {
	binary  bool
	conn    *conn
	mu      sync.Mutex // whoever reads holds it, and whoever ends the message
	content *content   // nil: the message is over
}

// content is what a Message reads. Nobody outside has it, so it is used again.
type content struct {
	turn   *reader
	body   []byte // what has arrived and was not read yet
	binary bool
	more   bool // the body is not all
	waited bool // the body is no longer what was gathered before OnData
	buffer []byte
	reader *deflate.Reader // of a compressed message that is not whole
}

// Binary reports whether the message is binary, not text.
func (m *Message) Binary() bool { return m.binary }

// Read reads the next bytes of the message. It returns io.EOF at its end, and
// a *CloseError if the connection ends before. Text is valid UTF-8 as far as
// it was read, save that a piece may end within a character.
func (m *Message) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.content == nil {
		return 0, ErrMessageOver
	}
	return m.content.read(p)
}

// Bytes reads the rest of the message, all of it if nothing was read before.
// The slice is valid until OnData returns; appending to it copies it. The error
// is a *CloseError if the connection ends before.
func (m *Message) Bytes() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes()
}

// Text is Bytes as a string, which may be kept. Of a binary message it is the
// bytes as they are.
func (m *Message) Text() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.bytes()
	return string(p), err
}

// bytes is Bytes. What lies behind the message is not the handler's. m.mu is held.
func (m *Message) bytes() ([]byte, error) {
	if m.content == nil {
		return nil, ErrMessageOver
	}
	p, err := m.content.rest()
	return p[:len(p):len(p)], err
}

// end is called when the handler has returned.
func (m *Message) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.content = nil
}

func (m *content) read(p []byte) (int, error) {
	if m.reader != nil {
		return m.readInflated(p)
	}
	return m.readPayload(p)
}

// readPayload reads the next bytes of the message as they were sent.
func (m *content) readPayload(p []byte) (int, error) {
	for len(m.body) == 0 {
		if !m.more {
			return 0, io.EOF
		}
		piece, err := m.turn.await()
		if err != nil {
			return 0, err
		}
		m.body, m.more, m.waited = piece, !m.turn.in.complete(), true
	}
	n := copy(p, m.body)
	m.body = m.body[n:]
	return n, nil
}

// rest reads all that was not read before.
func (m *content) rest() ([]byte, error) {
	if m.reader != nil {
		return m.inflateRest()
	}
	if m.more {
		in := &m.turn.in
		if m.waited { // the message's beginning was read and is not wanted again
			in.gathered = in.gathered[:0]
			in.keep(m.body)
		}
		read := len(in.gathered) - len(m.body)
		if err := m.turn.gather(); err != nil {
			return nil, err
		}
		m.body, m.more = in.gathered[read:], false
	}
	return m.body, nil
}

// release lets go of what the content holds.
func (m *content) release() {
	if m.reader != nil {
		m.endInflating()
	}
	if m.buffer != nil {
		putBuffer(m.buffer)
	}
	*m = content{}
}

// startInflating inflates a message that is whole; one that is not will be
// inflated as it is read.
func (m *content) startInflating() error {
	c := m.turn.conn
	limit := c.endpoint.options.MaxMessageSize
	if m.more {
		m.reader = deflate.NewReader(readerFunc(m.readPayload), c.windowOf(), limit)
		return nil
	}
	inflated, err := deflate.Inflate(getBuffer(int(min(4*int64(len(m.body)), limit))), m.body, c.windowOf(), limit)
	m.body, m.buffer = inflated, inflated
	if err == nil && !m.binary && !utf8.Valid(inflated) {
		err = errText
	}
	return err
}

// windowOf is what the client's messages may refer to, nil without context
// takeover (RFC 7692 §7.1.1).
func (c *conn) windowOf() *deflate.Window {
	if !c.deflate.Takeover() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extras().window == nil {
		c.extra.window = new(deflate.Window)
	}
	return c.extra.window
}

// readInflated is Read for a compressed message that was not whole.
func (m *content) readInflated(p []byte) (int, error) {
	n, err := m.reader.Read(p)
	text := &m.turn.in.text
	switch {
	case m.binary:
	case !text.Valid(p[:n]):
		n, err = 0, errText
	case err == io.EOF && !text.Complete():
		err = errText
	}
	if err != nil && err != io.EOF {
		if m.turn.err == nil {
			m.turn.failed(err)
		}
		err = m.turn.conn.closeError()
	}
	return n, err
}

// inflateRest is Bytes for a compressed message that was not whole.
func (m *content) inflateRest() ([]byte, error) {
	if m.buffer == nil {
		m.buffer = getBuffer(bufferSize)
	}
	for {
		m.buffer = growBuffer(m.buffer, bufferSize/2)
		n, err := m.readInflated(m.buffer[len(m.buffer):cap(m.buffer)])
		m.buffer = m.buffer[:len(m.buffer)+n]
		if err == io.EOF {
			return m.buffer, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// endInflating lets go of the inflater. What later messages may refer to has to
// be known, whether the handler wanted it or not.
func (m *content) endInflating() {
	if m.turn.conn.deflate.Takeover() {
		io.Copy(io.Discard, readerFunc(m.readInflated))
	}
	m.reader.Release()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// incoming is the message under way, from its first frame to its last (RFC 6455
// §5.4), and of it the frame under way.
type incoming struct {
	header    frame.Header // of the frame
	remaining int64        // bytes of its payload that have not come yet

	opcode     frame.Opcode // of the message, 0 when there is none
	compressed bool         // RFC 7692 §6
	skip       bool         // OnData does not want the rest
	frames     int          // of the message so far
	size       int64        // its payload so far, announced frames included
	text       frame.UTF8
	gathered   []byte // its payload, unmasked, as far as it is kept
}

// fragmented reports whether more frames of the message are to come.
func (in *incoming) fragmented() bool { return in.opcode != 0 && !in.header.Fin }

// complete reports whether the last byte of the message has come.
func (in *incoming) complete() bool { return in.remaining == 0 && in.header.Fin }

// endMessage forgets the message under way.
func (in *incoming) endMessage() {
	putBuffer(in.gathered)
	*in = incoming{}
}

var (
	errTextOnly      = &frame.ProtocolError{Code: CodeUnsupportedData, Reason: "Options.TextOnly: send text"}
	errFrameSize     = &frame.ProtocolError{Code: CodeTooBig, Reason: "frame exceeds Options.MaxFrameSize"}
	errMessageSize   = &frame.ProtocolError{Code: CodeTooBig, Reason: "message exceeds Options.MaxMessageSize"}
	errMessageFrames = &frame.ProtocolError{Code: CodePolicyViolation, Reason: "message exceeds Options.MaxFramesPerMessage"}
	errText          = &frame.ProtocolError{Code: CodeInvalidPayload, Reason: "text is not UTF-8 (RFC 6455 §8.1)"}
)

// beginFrame begins a data frame, unless the options forbid it.
func (in *incoming) beginFrame(h frame.Header, options *Options) error {
	switch {
	case h.Length > options.MaxFrameSize:
		return errFrameSize
	case h.Length > options.MaxMessageSize-in.size:
		return errMessageSize
	case in.frames >= options.MaxFramesPerMessage:
		return errMessageFrames
	case h.Opcode == frame.Binary && options.TextOnly:
		return errTextOnly
	case h.Opcode != frame.Continuation:
		in.opcode, in.compressed = h.Opcode, h.Rsv != 0
	}
	in.header, in.remaining = h, h.Length
	in.size += h.Length
	in.frames++
	return nil
}

// unmask unmasks and checks the payload's next bytes.
func (in *incoming) unmask(piece []byte) error {
	if in.header.Masked { // it comes from a client
		frame.Mask(piece, in.header.Key, int(in.header.Length-in.remaining))
	}
	in.remaining -= int64(len(piece))
	if in.opcode != frame.Text || in.compressed {
		return nil
	}
	if !in.text.Valid(piece) || in.complete() && !in.text.Complete() {
		return errText
	}
	return nil
}

// keep adds a piece to the message's gathered payload. The buffer, which holds a
// power of two, grows with what arrives, not with what a header announces.
func (in *incoming) keep(piece []byte) {
	room := len(piece)
	if in.remaining <= int64(len(in.gathered)+len(piece)) {
		room += int(in.remaining)
	}
	in.gathered = append(growBuffer(in.gathered, room), piece...)
}

// makeRoom sees to it that a read into gathered is worth its while, and reports
// whether it is. Only a client that is fast, of which one read brings all that it
// can, is made room for: eight times as much as has come.
func (in *incoming) makeRoom(least int, fast bool) bool {
	free := cap(in.gathered) - len(in.gathered)
	if free < least && fast {
		in.gathered = growBuffer(in.gathered, int(min(in.remaining, 7*int64(len(in.gathered)))))
	}
	return free >= least || fast
}

// gather takes what was read into the room behind gathered.
func (in *incoming) gather(p []byte) error {
	in.gathered = in.gathered[:len(in.gathered)+len(p)]
	return in.unmask(p)
}

// Context returns a context that is done once the client is being closed, has
// left or is lost, also while its OnData runs: what the client sends meanwhile
// is read ahead, up to Options.MaxReadAhead. The cause (context.Cause) is a
// *CloseError, or ErrClosed if there is no such client.
func (e *Endpoint) Context(id ClientID) context.Context {
	if c := e.find(id); c != nil {
		return c.context()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrClosed)
	return ctx
}

// context is made when it is asked for.
func (c *conn) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extras()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		if how := c.closing.Load(); how != nil {
			x.cancel(&CloseError{how.code, how.reason})
		}
	}
	return x.ctx
}

// Context is Endpoint.Context of the client that sends the message.
func (m *Message) Context() context.Context { return m.conn.context() }
