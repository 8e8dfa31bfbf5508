package ws

import "aerys/ws/frame"

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
		n, err = c.tryWriteFrame(header, payload)
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

// tryWriteFrame sends what can be sent of a frame without waiting: in one write,
// if the payload is the beginning of the message that is handled. c.mu is held.
func (c *conn) tryWriteFrame(header, payload []byte) (int, error) {
	if c.extra != nil {
		before := len(c.extra.lent)
		room := c.extra.lent[:cap(c.extra.lent)]
		if before >= len(header) && before < len(room) && &room[before] == &payload[0] {
			copy(room[before-len(header):], header)
			return c.transport.TryWrite(room[before-len(header) : before+len(payload)])
		}
	}
	return c.transport.TryWriteParts(header, payload)
}

// lend has room for a header before a message that is sent back to its client:
// what the buffer holds up to the message has been read. It reports whether the
// handler's return ends that.
func (t *turn) lend(body []byte) bool {
	before := cap(t.buffer) - cap(body)
	if len(body) < directSize || before < 0 || &t.buffer[before] != &body[0] {
		return false // it is small, or was gathered elsewhere
	}
	t.conn.setLent(t.buffer[:before])
	return true
}

func (c *conn) setLent(p []byte) {
	c.mu.Lock()
	c.extras().lent = p
	c.mu.Unlock()
}
