package ws

import (
	"sync"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// outbox is what waits to be sent to one client, oldest first. A conn has one
// only while something waits; conn.mu guards it.
type outbox struct {
	segments  []segment
	urgent    urgent
	size      int // bytes not yet sent
	messages  int // frames that wait, give or take the one on its way
	uncounted int // bytes of the handshake
	made      loop.Time
	progress  loop.Time     // when the client last took something
	late      bool          // a broadcast found more than the options allow
	held      bool          // until more of the same delivery is there
	room      chan struct{} // closed when senders that wait may look again
}

// segment is a run of frames, of which the first may be partly sent.
type segment struct {
	bytes    []byte
	sent     int
	frame    int // where a frame begins, and those counted in messages
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
		o.segments[i].release()
	}
	clear(o.segments)
	*o = outbox{segments: o.segments[:0]}
	outboxes.Put(o)
}

func (s *segment) release() {
	if s.own {
		putBuffer(s.bytes)
	}
}

// isHeld reports whether what waits could leave, and waits for more.
func (o *outbox) isHeld() bool { return o != nil && o.held }

// isFull reports whether it is worth a write of its own.
func (o *outbox) isFull() bool { return o != nil && o.size >= bufferSize }

// tail returns the segment to which n bytes may be appended.
func (o *outbox) tail(n int) *segment {
	if last := len(o.segments) - 1; last >= 0 {
		if s := &o.segments[last]; s.own && len(s.bytes)+n <= copyLimit {
			s.bytes = growBuffer(s.bytes, n)
			return s
		}
	}
	o.segments = append(o.segments, segment{bytes: getBuffer(n), own: true})
	return &o.segments[len(o.segments)-1]
}

// share queues frames that others are sent too, and of which n bytes are sent.
// Who is far behind holds few of its own; but little frames are copied where they would
// be segments by the dozen, each of which keeps a page for all that is on it.
func (o *outbox) share(frames []byte, messages, n int) {
	last := len(o.segments) - 1
	follows := last >= 0 && o.segments[last].precedes(frames)
	if n == 0 && !follows && len(frames) < 512 && o.size < bufferSize*max(1, last) {
		o.copy(frames, messages)
		return
	}
	o.size += len(frames) - n
	o.messages += messages
	if follows {
		s := &o.segments[last]
		s.bytes = s.bytes[:len(s.bytes)+len(frames)]
		s.messages += messages
		return
	}
	o.segments = append(o.segments, segment{bytes: frames, messages: messages, sent: n})
}

// precedes reports whether a segment ends where shared frames begin.
func (s *segment) precedes(frames []byte) bool {
	end := len(s.bytes)
	return !s.own && end < cap(s.bytes) && &s.bytes[:end+1][end] == &frames[0]
}

// copy queues frames that may change later.
func (o *outbox) copy(frames []byte, messages int) {
	s := o.tail(len(frames))
	s.bytes = append(s.bytes, frames...)
	s.messages += messages
	o.size += len(frames)
	o.messages += messages
}

// rest queues what is not sent of a frame, or of the handshake, as the first.
func (o *outbox) rest(of ...[]byte) {
	n := 0
	for _, part := range of {
		n += len(part)
	}
	s := o.tail(n)
	for _, part := range of {
		s.bytes = append(s.bytes, part...)
	}
	s.frame = n
	o.size += n
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

// append moves what waits in another outbox behind what waits here.
func (o *outbox) append(other *outbox) {
	o.segments = append(o.segments, other.segments...)
	o.size += other.size
	o.messages += other.messages
	clear(other.segments)
	other.segments, other.size, other.messages = other.segments[:0], 0, 0
}

// next returns what is to be sent next, or nothing if all is sent.
func (o *outbox) next() []byte {
	u := &o.urgent
	if len(o.segments) == 0 || u.begun() {
		return u.next()
	}
	s := &o.segments[0]
	end := len(s.bytes)
	if u.waits() {
		if end = o.frameEnd(max(s.sent, u.behind)); end == s.sent {
			return u.next()
		}
	}
	return s.bytes[s.sent:end]
}

// sent notes that n bytes of those that are next are on their way. It reports
// whether a ping is, too.
func (o *outbox) sent(n int) (pinged bool) {
	if o.urgent.begun() {
		return o.urgent.sent(n)
	}
	s := &o.segments[0]
	s.sent += n
	o.size -= n
	if s.sent == len(s.bytes) {
		o.messages -= s.messages
		s.release()
		o.segments = append(o.segments[:0], o.segments[1:]...)
		o.urgent.behind = 0
	}
	return false
}

// frameEnd returns the first place of the first segment, but not before at,
// where a frame ends. The frames before it no longer count.
func (o *outbox) frameEnd(at int) int {
	s := &o.segments[0]
	for s.frame < at {
		h, n, _ := frame.ParseHeader(s.bytes[s.frame:])
		s.frame += n + int(h.Length)
		s.messages--
		o.messages--
	}
	return s.frame
}

// overtake has a ping or a pong sent before what waits, as soon as the frame on
// its way has left. It reports whether one of its kind does not wait already.
func (o *outbox) overtake(opcode frame.Opcode, payload []byte) (added bool) {
	u := &o.urgent
	if len(o.segments) > 0 && !u.waits() {
		s := &o.segments[0]
		u.behind = o.frameEnd(min(s.sent+1, len(s.bytes)))
	}
	return u.put(opcode, payload)
}

// over reports whether more waits behind the frame on its way than so many
// times what the options allow, and which one.
func (o *outbox) over(options *Options, times int) string {
	if o == nil || o.size/times <= options.MaxQueuedBytes && o.messages/times <= options.MaxQueuedMessages {
		return ""
	}
	first := &o.segments[0]
	behind := o.size - (o.frameEnd(first.sent+1) - first.sent)
	switch {
	case behind/times > options.MaxQueuedBytes:
		return "MaxQueuedBytes"
	case o.messages/times > options.MaxQueuedMessages:
		return "MaxQueuedMessages"
	}
	return ""
}

// cut drops what waits behind the frame on its way.
func (o *outbox) cut() {
	o.urgent.ping, o.urgent.pong = nil, nil
	if len(o.segments) == 0 {
		return
	}
	for i := range o.segments[1:] {
		o.segments[1+i].release()
	}
	clear(o.segments[1:])
	o.segments = o.segments[:1]
	first := &o.segments[0]
	first.bytes = first.bytes[:o.frameEnd(first.sent)]
	first.messages, o.messages, o.size = 0, 0, len(first.bytes)-first.sent
	if o.size == 0 {
		first.release()
		o.segments, o.urgent.behind = o.segments[:0], 0
	}
}

func (o *outbox) wakeSenders() {
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// urgent are control frames that overtake what waits: a ping, and the answer to
// the client's latest (RFC 6455 §5.5.3).
type urgent struct {
	ping, pong []byte // frames that wait
	frames     []byte // those that are being sent
	done       int    // bytes of them that are
	pings      bool   // there is a ping among them
	behind     int    // where in the outbox's first segment they may go, if not later
}

func (u *urgent) waits() bool { return len(u.ping) > 0 || len(u.pong) > 0 || u.begun() }
func (u *urgent) begun() bool { return len(u.frames) > 0 }

func (u *urgent) put(opcode frame.Opcode, payload []byte) (added bool) {
	p := &u.pong
	if opcode == frame.Ping {
		p = &u.ping
	}
	added = len(*p) == 0
	h := frame.Header{Fin: true, Opcode: opcode, Length: int64(len(payload))}
	*p = append(frame.AppendHeader((*p)[:0], h), payload...)
	return added
}

func (u *urgent) next() []byte {
	if !u.begun() {
		u.pings = len(u.ping) > 0
		u.frames = append(append(u.frames, u.ping...), u.pong...)
		u.ping, u.pong = u.ping[:0], u.pong[:0]
	}
	return u.frames[u.done:]
}

func (u *urgent) sent(n int) (pinged bool) {
	if u.done += n; u.done < len(u.frames) {
		return false
	}
	u.frames, u.done = u.frames[:0], 0
	return u.pings
}
