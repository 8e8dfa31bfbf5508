package ws

import (
	"errors"
	"io"
	"unicode/utf8"

	"aerys/ws/frame"
)

// This file joins permessage-deflate (RFC 7692) with messages and frames.

var (
	errInflated      = &frame.ProtocolError{Code: CodeInvalidPayload, Reason: "compressed message is damaged (RFC 7692 §7.2.2)"}
	errInflatedParts = &frame.ProtocolError{Code: CodePolicyViolation, Reason: "compressed message consists of too many streams (RFC 7692 §7.2.3.4)"}
	errInflatedSize  = &frame.ProtocolError{Code: CodeTooBig, Reason: "inflated message exceeds Options.MaxMessageSize"}
)

// rsv1 marks a compressed message (RFC 7692 §6).
const rsv1 = 4

// asProtocolError is what a client is closed with for an error of inflating.
func asProtocolError(err error) error {
	switch {
	case errors.Is(err, errInflateLimit):
		return errInflatedSize
	case errors.Is(err, errInflateData):
		return errInflated
	case errors.Is(err, errInflateStreams):
		return errInflatedParts
	}
	return err
}

// startInflating inflates a message that is whole; one that is not will be
// inflated as it is read.
func (m *content) startInflating() error {
	c := m.turn.conn
	limit := c.endpoint.options.MaxMessageSize
	if m.more {
		m.reader = newInflater(&payloadReader{m}, c.windowOf(), limit)
		return nil
	}
	inflated, err := inflate(getBuffer(int(min(4*int64(len(m.body)), limit))), m.body, c.windowOf(), limit)
	m.body, m.buffer = inflated, inflated
	if err == nil && !m.binary && !utf8.Valid(inflated) {
		err = errText
	}
	return asProtocolError(err)
}

// windowOf is what the client's messages may refer to, nil without context
// takeover (RFC 7692 §7.1.1).
func (c *conn) windowOf() *slidingWindow {
	if !c.deflate.takeover() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extras().window == nil {
		c.extra.window = new(slidingWindow)
	}
	return c.extra.window
}

// payloadReader reads the compressed payload of a message under way.
type payloadReader struct{ content *content }

func (r *payloadReader) Read(p []byte) (int, error) { return r.content.readPayload(p) }

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
	if err = asProtocolError(err); err != nil && err != io.EOF {
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
	if m.turn.conn.deflate.takeover() {
		io.Copy(io.Discard, readerFunc(m.readInflated))
	}
	m.reader.release()
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
	out := compress(getBuffer(len(payload)), plain, o.CompressionLevel)
	putBuffer(plain)
	if len(out) >= len(payload) {
		putBuffer(out)
		return nil
	}
	return out
}
