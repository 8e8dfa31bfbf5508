package ws

import (
	"io"
	"unicode/utf8"

	"aerys/ws/internal/deflate"
)

// This file joins permessage-deflate (RFC 7692) with messages and frames.

// rsv1 marks a compressed message (RFC 7692 §6).
const rsv1 = 4

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

// deflated returns the compressed form of a message in a pooled buffer, or nil
// if it is better sent as it is.
func deflated[T string | []byte](payload T, o *Options) []byte {
	if len(payload) < o.CompressionThreshold {
		return nil
	}
	plain := append(getBuffer(len(payload)), payload...)
	out := deflate.Compress(getBuffer(len(payload)), plain, o.CompressionLevel)
	putBuffer(plain)
	if len(out) >= len(payload) {
		putBuffer(out)
		return nil
	}
	return out
}
