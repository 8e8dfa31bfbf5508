package http1

import (
	"sync"
	"sync/atomic"
)

// active is what a connection has while there is something to do: from a turn
// that finds something to read until it waits for another request. Then another
// connection gets it, so none but this package sees it. Who comes too late with
// a response that is over gets as far as its lock.
type active struct {
	conn *Conn
	addr string // of the client, once a request has asked for it

	// The goroutine that runs a turn has these; while a handler runs, input
	// belongs to whoever holds the body's lock.
	input   input
	eager   bool // the turn has not read yet
	served  bool // the turn has served a request
	head    head
	left    *decoder // of the body that is being skipped
	skipped int

	output // what leaves

	current *response // whose handler runs; Conn.life guards it

	readTimed, writeTimed atomic.Bool // the handler has set a deadline, or taken it back: it decides itself
	stuck                 atomic.Bool // the client takes nothing: it was cut off
	clock                 clock
}

var actives = sync.Pool{New: func() any { return new(active) }}

// activate readies the connection for a turn.
func (c *Conn) activate() {
	if c.active != nil {
		return
	}
	a := actives.Get().(*active)
	a.conn = c
	c.life.Lock()
	c.active = a
	c.life.Unlock()
}

// deactivate is the end of that. No handler runs, and nothing is to be sent.
func (c *Conn) deactivate() {
	a := c.active
	a.mu.Lock() // nobody writes
	c.life.Lock()
	c.active = nil
	c.life.Unlock()
	a.output.release()
	a.err = nil
	a.mu.Unlock()
	a.input.release()
	a.conn, a.addr, a.left, a.current = nil, "", nil, nil
	a.head, a.skipped = head{}, 0
	a.untime()
	if a.stuck.Load() {
		a.stuck.Store(false)
	}
	a.clock.reset()
	actives.Put(a)
}

// untime forgets what deadlines the handler has set. It reports whether there
// were any.
func (a *active) untime() bool {
	if !a.readTimed.Load() && !a.writeTimed.Load() {
		return false
	}
	a.readTimed.Store(false)
	a.writeTimed.Store(false)
	return true
}

// peer is the client's address, as a text.
func (c *Conn) peer() string {
	if c.addr == "" {
		if remote := c.transport.RemoteAddr(); remote.IsValid() {
			c.addr = remote.String()
		}
	}
	return c.addr
}
