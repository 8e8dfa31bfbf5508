package ws

import (
	"errors"
	"sync"

	"aerys/ws/frame"
)

// inbox is what is known of a frame and a message that are incomplete, and what
// was read ahead of them.
type inbox struct {
	arrival *arrival // before the first turn

	mu    sync.Mutex // held by whoever reads; it is free while a handler runs
	turn  *turn      // that deals with what is read
	calls uint       // of handlers
	seen  uint       // as many as there were when somebody last looked
	looks int        // that found the same one running
	late  bool       // one takes so long that what comes is read ahead

	header    frame.Header // of the data frame under way
	remaining int64        // bytes of its payload that have not come yet

	opcode     frame.Opcode // of the message under way, 0 when there is none
	compressed bool         // RFC 7692 §6
	begun      bool         // OnData was called for it
	skip       bool         // and returned
	frames     int          // of the message so far
	size       int64        // its payload so far, announced frames included
	text       frame.UTF8
	gathered   []byte // its payload, unmasked, as far as it is kept

	partial  [frame.MaxHeaderSize + frame.MaxControlPayload]byte
	partials int // bytes of a header or control frame that is incomplete

	ahead readAhead
}

var inboxes = sync.Pool{New: func() any { return newInbox() }}

// newInbox returns an inbox whose mutex is held.
func newInbox() *inbox {
	in := new(inbox)
	in.mu.Lock()
	return in
}

func (in *inbox) release() {
	in.endMessage()
	in.ahead.drop()
	*in = inbox{}
	in.mu.Lock()
	inboxes.Put(in)
}

// fragmented reports whether a message was begun and not finished.
func (in *inbox) fragmented() bool { return in.opcode != 0 }

// complete reports whether the last byte of the message has come.
func (in *inbox) complete() bool { return in.remaining == 0 && in.header.Fin }

// empty reports whether there is nothing to be remembered between two reads.
func (in *inbox) empty() bool {
	return in.opcode == 0 && in.partials == 0 && !in.ahead.any()
}

// endMessage forgets the message under way.
func (in *inbox) endMessage() {
	if in.gathered != nil {
		putBuffer(in.gathered)
	}
	in.header, in.opcode, in.frames, in.size, in.gathered = frame.Header{}, 0, 0, 0, nil
	in.begun, in.skip, in.compressed, in.text = false, false, false, frame.UTF8{}
}

var (
	errTextOnly      = &frame.ProtocolError{Code: CodeUnsupportedData, Reason: "Options.TextOnly: send text"}
	errFrameSize     = &frame.ProtocolError{Code: CodeTooBig, Reason: "frame exceeds Options.MaxFrameSize"}
	errMessageSize   = &frame.ProtocolError{Code: CodeTooBig, Reason: "message exceeds Options.MaxMessageSize"}
	errMessageFrames = &frame.ProtocolError{Code: CodePolicyViolation, Reason: "message exceeds Options.MaxFramesPerMessage"}
	errText          = &frame.ProtocolError{Code: CodeInvalidPayload, Reason: "text is not UTF-8 (RFC 6455 §8.1)"}

	errPaused    = errors.New("ws: the client exceeded a rate")
	errPeerClose = errors.New("ws: the client sent a close frame")
)

// next returns the next piece of the payload of data messages, unmasked and
// checked. With ok false all that was read is used up.
func (t *turn) next() (piece []byte, ok bool, err error) {
	in := t.in
	if in.remaining == 0 {
		if ok, err := t.nextHeader(); !ok || err != nil {
			return nil, false, err
		}
		if in.remaining == 0 {
			return nil, true, t.take(nil)
		}
	}
	if len(t.rest) == 0 {
		return nil, false, nil
	}
	n := min(in.remaining, int64(len(t.rest)))
	piece, t.rest = t.rest[:n], t.rest[n:]
	return piece, true, t.take(piece)
}

// take unmasks and checks the payload's next bytes.
func (t *turn) take(piece []byte) error {
	in := t.in
	frame.Mask(piece, in.header.Key, int(in.header.Length-in.remaining))
	in.remaining -= int64(len(piece))
	if in.opcode != frame.Text || in.compressed {
		return nil
	}
	if !in.text.Valid(piece) || in.complete() && !in.text.Complete() {
		return errText
	}
	return nil
}

// nextHeader takes the header of the next data frame. Control frames before it
// are dealt with on the way.
func (t *turn) nextHeader() (ok bool, err error) {
	in := t.in
	for {
		if len(t.rest) == 0 && in.partials == 0 {
			return false, nil
		}
		if t.mustPause() {
			return false, errPaused
		}
		p := t.rest
		if in.partials > 0 {
			p = in.partial[:in.partials+copy(in.partial[in.partials:], t.rest)]
		}
		h, n, err := frame.ParseHeader(p)
		if err == nil && n > 0 {
			err = frame.Check(h, frame.State{FromClient: true, Fragmented: in.fragmented(), Compression: t.conn.deflate.Enabled()})
		}
		if err != nil {
			return false, err
		}
		whole := n > 0
		if whole && h.Opcode.Control() {
			n += int(h.Length)
			whole = n <= len(p)
		}
		if !whole {
			t.keepPartial()
			return false, nil
		}
		t.rest = t.rest[n-in.partials:]
		in.partials = 0
		t.read.FramesRead++
		t.frames--
		if !h.Opcode.Control() {
			return true, t.beginFrame(h)
		}
		if err := t.control(h, p[n-int(h.Length):n]); err != nil {
			return false, err
		}
	}
}

// keepPartial remembers the beginning of a frame until more of it comes.
func (t *turn) keepPartial() {
	in := t.in
	in.partials += copy(in.partial[in.partials:], t.rest)
	t.rest = nil
}

// beginFrame checks a data frame against the options.
func (t *turn) beginFrame(h frame.Header) error {
	in, options := t.in, t.conn.endpoint.options
	if h.Length > options.MaxFrameSize {
		return errFrameSize
	}
	if h.Length > options.MaxMessageSize-in.size {
		return errMessageSize
	}
	if in.frames++; in.frames > options.MaxFramesPerMessage {
		return errMessageFrames
	}
	if h.Opcode != frame.Continuation {
		in.opcode, in.compressed = h.Opcode, h.Rsv != 0
		if h.Opcode == frame.Binary && options.TextOnly {
			return errTextOnly
		}
	}
	in.header, in.remaining = h, h.Length
	in.size += h.Length
	return nil
}

// control answers a control frame (RFC 6455 §5.5).
func (t *turn) control(h frame.Header, payload []byte) error {
	frame.Mask(payload, h.Key, 0)
	switch h.Opcode {
	case frame.Ping:
		return t.conn.pong(payload)
	case frame.Pong:
		t.conn.ponged(payload)
	case frame.Close:
		code, reason, err := frame.ParseClose(payload)
		if err != nil {
			return err
		}
		t.conn.peerClosed(code, reason)
		return errPeerClose
	}
	return nil
}

// keep adds a piece to the message's gathered payload. The buffer, which holds a
// power of two, grows with what arrives, not with what a header announces.
func (in *inbox) keep(piece []byte) {
	room := len(piece)
	if in.remaining <= int64(len(in.gathered)+len(piece)) {
		room += int(in.remaining)
	}
	in.gathered = append(growBuffer(in.gathered, room), piece...)
}

// makeRoom sees to it that a read into gathered is worth its while, and reports
// whether it is. Only a client that is fast, of which one read brings all that it
// can, is made room for: eight times as much as has come.
func (in *inbox) makeRoom(least int, fast bool) bool {
	free := cap(in.gathered) - len(in.gathered)
	if free < least && fast {
		in.gathered = growBuffer(in.gathered, int(min(in.remaining, 7*int64(len(in.gathered)))))
	}
	return free >= least || fast
}
