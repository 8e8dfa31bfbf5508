package ws

import (
	"errors"
	"fmt"
	"io"
)

// ErrMessageOver says that a Message was read after OnData returned.
var ErrMessageOver = errors.New("ws: the message is over: read it before OnData returns")

// CloseError is why nothing more can be read: the code and reason of whoever
// closed the connection first, CodeAbnormal if it was lost.
type CloseError struct {
	Code   Code
	Reason string
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("ws: closed with %v, reason %q", e.Code, e.Reason)
}

// Message is a message that a client sends. It is an io.Reader: a long one can
// be read piece by piece while it arrives, and Read waits for what is missing.
// Text and Bytes are for messages that fit in memory. A Message belongs to the
// call of OnData that received it: it must not be used from other goroutines
// at the same time, nor after OnData returned.
type Message struct {
	turn   *turn
	body   []byte // what has arrived and was not read yet
	binary bool
	more   bool // the body is not all
	waited bool // the body is no longer what was gathered before OnData
	buffer []byte
	reader *inflater // of a compressed message that is not whole
}

// Binary reports whether the message is binary, not text.
func (m *Message) Binary() bool { return m.binary }

// Read reads the next bytes of the message. It returns io.EOF at its end, and
// a *CloseError if the connection ends before. Text is valid UTF-8 as far as
// it was read, save that a piece may end within a character.
func (m *Message) Read(p []byte) (int, error) {
	if m.turn == nil {
		return 0, ErrMessageOver
	}
	if m.reader != nil {
		return m.readInflated(p)
	}
	return m.readPayload(p)
}

// readPayload reads the next bytes of the message as they were sent.
func (m *Message) readPayload(p []byte) (int, error) {
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

// Bytes reads the rest of the message, all of it if nothing was read before.
// The slice is valid until OnData returns, and cheapest to send back to its
// client as it is. The error is a *CloseError if the connection ends before.
func (m *Message) Bytes() ([]byte, error) {
	switch {
	case m.turn == nil:
		return nil, ErrMessageOver
	case m.reader != nil:
		return m.inflateRest()
	case m.more:
		in := m.turn.in
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

// Text is Bytes as a string, which may be kept. Of a binary message it is the
// bytes as they are.
func (m *Message) Text() (string, error) {
	p, err := m.Bytes()
	return string(p), err
}

// release ends the message: the handler returned.
func (m *Message) release() {
	if m.reader != nil {
		m.endInflating()
	}
	if m.buffer != nil {
		putBuffer(m.buffer)
	}
	*m = Message{}
}
