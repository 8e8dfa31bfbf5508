package ws

import (
	"aerys/internal/loop"
	"aerys/ws/frame"
)

// What a turn does for its handler: it calls it, and reads for it.

// deliver calls OnData with a message of which body has come.
func (t *turn) deliver(body []byte) error {
	in, m := t.in, &t.content
	t.read.MessagesRead++
	*m = content{turn: t, body: body, binary: in.opcode == frame.Binary, more: !in.complete()}
	defer t.delivered()
	if err := t.letHandle(m); err != nil {
		return t.failed(err)
	}
	return t.err
}

// delivered ends what deliver began, also when the handler did not return.
func (t *turn) delivered() {
	switch in := t.in; {
	case in.complete():
		in.endMessage()
	default: // the handler did not want the rest
		in.skip = true
		putBuffer(in.gathered)
		in.gathered = nil
	}
}

// letHandle calls OnData. Meanwhile what comes may be read ahead.
func (t *turn) letHandle(m *content) error {
	t.in.calls++
	t.in.mu.Unlock()
	defer t.goOn()
	defer m.release()
	if t.in.compressed {
		if err := m.startInflating(); err != nil {
			return err
		}
	}
	if how := t.conn.closing.Load(); how == nil || how.byPeer {
		t.conn.onData(m)
	}
	return nil
}

// letOpen calls OnOpen likewise.
func (t *turn) letOpen(o opener) {
	t.in.calls++
	t.in.mu.Unlock()
	defer t.goOn()
	t.conn.onOpen(o)
}

// goOn reads again, now that a handler has returned.
func (t *turn) goOn() {
	if t.in.mu.Lock(); t.in.late {
		t.in.late = false
		t.publish(handling, t.in)
	}
}

// await is next for a handler that is reading: it waits for what is needed.
func (t *turn) await() (piece []byte, err error) {
	t.in.mu.Lock()
	defer t.in.mu.Unlock()
	return t.waitForPiece()
}

func (t *turn) waitForPiece() (piece []byte, err error) {
	for t.err == nil {
		piece, ok, err := t.next()
		switch {
		case ok && err == nil:
			return piece, nil
		case err == errPaused:
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
	t.in.late = true
	t.publish(handling, t.in)
	t.in.mu.Unlock()
	t.conn.waitWhilePaused()
	t.in.mu.Lock()
	t.in.late = false
	t.publish(handling, t.in)
}

// gather waits for the rest of the message under way and keeps it.
func (t *turn) gather() error {
	in := t.in
	in.mu.Lock()
	defer in.mu.Unlock()
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
		piece, err := t.waitForPiece()
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
	n, err := t.takeAhead(p)
	if n == 0 && err == nil {
		n, err = t.waitForBytes(p, least)
	}
	if n == 0 {
		t.err, t.conn.deaf = err, t.conn.deaf || err == errPeerClose
	}
	return p[:n]
}

// waitForBytes waits until there are some, or the end.
func (t *turn) waitForBytes(p []byte, least int) (n int, err error) {
	t.publish(listening, t.in)
	defer t.publish(handling, t.in)
	from := t.conn.transport
	for {
		if n, err = from.TryRead(p); err != loop.ErrAgain {
			t.count(n)
			return n, err
		}
		from.Await(least)
		if err = from.Wait(); err != nil {
			return 0, err
		}
		from.Hurry()
	}
}

// onOpen calls the handler. A panic closes the client with 1011.
func (c *conn) onOpen(o opener) {
	returned := false
	defer c.recovered("OnOpen", &returned)
	o.open(c.id)
	returned = true
}

// messagesAtOnce is how many Messages are allocated together. Whoever keeps one
// keeps the memory of all.
const messagesAtOnce = 16

// message returns a Message that nobody has had.
func (t *turn) message() *Message {
	if len(t.fresh) == 0 {
		t.fresh = make([]Message, messagesAtOnce)
	}
	m := &t.fresh[0]
	t.fresh = t.fresh[1:]
	return m
}

// onData calls the handler, with a Message that it may keep: there is no telling
// that nobody has it any more. A panic closes the client with 1011.
func (c *conn) onData(read *content) {
	m := read.turn.message()
	m.binary, m.conn, m.content = read.binary, c, read
	defer m.end()
	returned := false
	defer c.recovered("OnData", &returned)
	c.endpoint.application.data(c.id, m)
	returned = true
}
