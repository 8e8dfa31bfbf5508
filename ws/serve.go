package ws

import (
	"io"

	"aerys/internal/loop"
)

var (
	_ loop.Owner = (*conn)(nil)
	_ transport  = (*loop.Conn)(nil)
)

// Serve implements loop.Owner: it is a turn.
func (c *conn) Serve(carrier *loop.Conn) error {
	switch {
	case c.drained:
		return c.endReading()
	case c.transport == nil:
		carrier.LimitUnsent()
		c.transport = carrier
	}
	err := c.takeTurn()
	switch {
	case err == errPaused:
		return c.endPaused()
	case isEnd(err):
		return c.endReading()
	}
	return err
}

func (c *conn) takeTurn() error {
	t := turns.Get().(*turn)
	c.endpoint.busy.Add(1)
	defer c.endTurn(t)
	t.begin(c)
	err := t.readAll()
	t.finish()
	return err
}

// endTurn has others go on where a handler has ended the goroutine that it was
// called on.
func (c *conn) endTurn(t *turn) {
	if t.conn != nil {
		t.finish()
		c.transport.Resume()
	}
	t.release()
	c.endpoint.rest(c)
}

// readAll reads until there is nothing more. The error is loop.ErrAgain then, or
// loop.ErrYield, errPaused, or why the connection is over.
func (t *turn) readAll() error {
	c := t.conn
	if o := t.in.arrival; o != nil {
		t.in.arrival = nil
		t.welcome(o)
	}
	for range maxReads {
		if err := t.catchUp(); err != nil {
			return err
		}
		space := t.space()
		n, err := c.transport.TryRead(space)
		if n > 0 {
			err = ignorePause(t.received(space[:n]))
		}
		switch {
		case err == nil, t.in.ahead.any(): // meanwhile something was read ahead, or kept for later
		case err == loop.ErrAgain:
			c.transport.Await(t.missing())
			return err
		default:
			return err
		}
	}
	return loop.ErrYield
}

// welcome is the beginning of a conn: the client gets its 101, then come OnOpen
// and what was read behind the handshake.
func (t *turn) welcome(o *arrival) {
	e := t.conn.endpoint
	e.opened(t.conn, o)
	e.entering.Done()
	t.count(len(t.in.ahead.waiting()))
	t.letOpen(o.opener)
}

// endPaused is the end of a turn of a client that has to wait. There may be more
// of it than can be read ahead.
func (c *conn) endPaused() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pause()
	switch {
	case c.activity != paused, c.transport.HungUp():
		return loop.ErrYield
	case c.in != nil && c.in.ahead.full:
		return loop.ErrPause
	}
	return loop.ErrAgain
}

// endReading ends a connection whose client has ended its direction, now or when
// all is sent.
func (c *conn) endReading() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hungUp()
	c.drained = true
	if c.out == nil && !c.transport.Queued() || c.closing.Load().dropped {
		return io.EOF
	}
	return loop.ErrPause
}

// Ahead implements loop.Owner.
func (c *conn) Ahead(*loop.Conn, bool) { c.readAhead() }

// Writable implements loop.Owner.
func (c *conn) Writable(*loop.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gathering = false // a handler that takes long does not hold this back
	c.flush()
	c.finish()
}

// Over implements loop.Owner.
func (c *conn) Over(*loop.Conn, error) {
	if c.counted != nil {
		defer c.counted.Over() // even if OnClose does not return
	}
	if c.transport == nil { // it never had a turn
		c.endpoint.entering.Done()
		return
	}
	c.end()
}
