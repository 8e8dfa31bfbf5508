package ws

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"aerys/ws/internal/deflate"
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
	turn   *turn
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
