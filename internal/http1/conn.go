package http1

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"aerys/internal/loop"
)

// Conn is the server's end of a connection: one request after another. Between
// two requests this is all that there is of it.
type Conn struct {
	server    *Server
	transport Transport
	counted   Counted
	tls       *tls.ConnectionState // nil without TLS

	life    sync.Mutex // guards the following, never for long
	*active            // nil while there is nothing to do
	moments moments

	state
	requests int32
	blank    int8 // bytes of empty lines that may still precede a request line

	met         bool        // TLS has shaken hands
	handed      bool        // to another protocol, which counts it
	interrupted atomic.Bool // the body does not come: reading fails
	watching    atomic.Bool // the client's leaving is looked out for
	taken       loop.Time   // when the client last took something, as of the last Tick
}

// NewConn makes a connection that Turn serves.
func (s *Server) NewConn(t Transport) *Conn {
	s.prepare()
	return &Conn{server: s, transport: t, moments: moments{seen: never}}
}

// Turn deals with what has come: it is called when there is something to read,
// or may be, and never by two goroutines at a time. It runs handlers, and
// returns where it would wait between two requests: loop.ErrAgain. Else the
// connection is over, io.EOF, or somebody else's, loop.ErrHijacked.
func (c *Conn) Turn() (why error) {
	c.activate()
	defer func() {
		if why == nil { // a handler ended its goroutine
			if c.current != nil {
				c.leave(c.current, false)
			}
			c.close()
			c.deactivate()
		}
	}()
	c.eager, c.served = true, false
	for {
		if why := c.step(); why != nil {
			c.rest(why)
			return why
		}
	}
}

// rest gives back what a connection does not need while it waits, or is over.
func (c *Conn) rest(why error) {
	p := c.now()
	if why == loop.ErrAgain && (p != idle && p != fresh || len(c.input.rest) > 0) {
		c.input.park()
		return
	}
	c.deactivate()
}

// step goes on from the phase the connection is in, and returns why the turn
// ends, or nil.
func (c *Conn) step() error {
	switch c.now() {
	case fresh, idle, reading:
		return c.receive()
	case skipping:
		return c.skip()
	case lingering:
		return c.linger()
	}
	return c.close()
}

// receive looks for a head, and serves its request.
func (c *Conn) receive() error {
	c.skipBlank()
	if len(c.input.rest) == 0 {
		return c.idle()
	}
	if !c.enter(reading) {
		return c.close()
	}
	switch {
	case c.mayBeHTTP2() && len(c.input.rest) >= len(preface):
		return c.becomeHTTP2(c.input.rest)
	case c.mayBeHTTP2(), c.requests > 0 && len(c.input.rest) < minHead:
		return c.more()
	}
	whole, err := c.head.scan(c.input.rest, c.server.maxFields())
	size := max(c.head.next, c.head.searched)
	switch {
	case err != nil:
		return c.refuse(err)
	case size > c.server.maxHeaderBytes():
		return c.refuse(&Error{http.StatusRequestHeaderFieldsTooLarge, "head too large"})
	case !whole:
		return c.more()
	}
	return c.serve()
}

// minHead is how many bytes of another request must come before anything is
// said about them, as by net/http's server.
const minHead = 4

// idle waits for a request.
func (c *Conn) idle() error {
	if c.requests > 0 && !c.enter(idle) {
		return c.close()
	}
	if c.eager {
		return c.more()
	}
	c.flush()
	if c.server.closing.Load() { // since the last response left
		return c.close()
	}
	return loop.ErrAgain
}

// more reads more of a head.
func (c *Conn) more() error {
	c.flush()
	err := c.fill()
	if err == io.EOF && len(c.input.rest) > 0 {
		return c.refuseHalf()
	}
	return c.filled(err)
}

// read reads once of the transport.
func (c *Conn) read(p []byte) (int, error) {
	c.eager = false
	n, err := 0, os.ErrDeadlineExceeded
	if !c.interrupted.Load() {
		n, err = c.transport.TryRead(p)
	}
	c.clock.received(n)
	if err != nil && err != loop.ErrAgain {
		c.Gone()
	}
	return n, err
}

// fill reads once, behind what is there.
func (c *Conn) fill() error { return c.input.fill(c.read) }

// filled closes a connection that has ended.
func (c *Conn) filled(err error) error {
	if err == nil || err == loop.ErrAgain {
		return err
	}
	return c.close()
}

// await reads while a handler runs, and waits for something to read.
func (c *Conn) await(read func() error) (err error) {
	c.Flush()
	if !c.enter(waiting) {
		return io.ErrClosedPipe
	}
	for {
		if err = read(); err != loop.ErrAgain {
			break
		}
		if err = c.transport.Wait(); err != nil {
			break
		}
	}
	c.enter(handling)
	return err
}

// skipBlank drops what of the empty lines behind a POST's body net/http's
// server drops: four bytes (RFC 9112 §2.2).
func (c *Conn) skipBlank() {
	for c.blank > 0 && len(c.input.rest) > 0 {
		if b := c.input.rest[0]; b != '\r' && b != '\n' {
			c.blank = 0
			return
		}
		c.input.consume(1)
		c.blank--
	}
}

// skip drops the rest of a body that the handler left, after the response.
func (c *Conn) skip() error {
	if len(c.input.rest) == 0 {
		c.flush()
		if err := c.filled(c.fill()); err != nil {
			return err
		}
	}
	_, used, err := c.left.decode(nil, c.input.rest)
	c.input.consume(used)
	c.skipped += used
	switch {
	case err == io.EOF:
		c.left = nil
		if !c.enter(idle) {
			return c.close()
		}
	case err != nil || c.skipped > maxSkip:
		return c.beginLinger()
	}
	return nil
}

// beginLinger ends what is sent, and waits for the client to have read it: a
// connection that is closed while the client still sends is reset, and the last
// answer may be lost (RFC 9112 §9.6).
func (c *Conn) beginLinger() error {
	c.flush()
	c.input.release()
	c.skipped = 0
	if !c.enter(lingering) {
		return c.close()
	}
	c.transport.CloseWrite() // where that is not possible, the response says that it was the last
	return nil
}

func (c *Conn) linger() error {
	err := c.filled(c.fill())
	c.skipped += len(c.input.rest)
	c.input.release()
	if c.skipped > maxSkip {
		return c.close()
	}
	return err
}

// close is the end of a connection, which its driver closes.
func (c *Conn) close() error {
	c.phase.Store(uint32(over))
	return io.EOF
}

// Gone tells that the client has left, or ended its half, while a handler runs.
// It may be called from anywhere.
func (c *Conn) Gone() {
	var w *response
	c.life.Lock()
	if c.active != nil {
		w = c.current
	}
	c.life.Unlock()
	if w != nil {
		w.context.cancel(context.Canceled)
	}
}

// Flush writes the responses that wait behind a handler. It may be called from
// anywhere, and does nothing while somebody else writes.
func (c *Conn) Flush() {
	c.life.Lock()
	a := c.active
	mine := a != nil && a.mu.TryLock() // it stays this connection's
	c.life.Unlock()
	if mine {
		a.flushReady()
		a.mu.Unlock()
	}
}

// active is what a connection has while there is something to do: from a turn
// that finds something to read until it waits for another request. Then another
// connection gets it, so none but this package sees it. Who comes too late with
// a response that is over gets as far as its lock.
type active struct {
	addr string // of the client, once a request has asked for it

	// The goroutine that runs a turn has these; while a handler runs, input
	// belongs to whoever holds the body's lock.
	input   input
	eager   bool // the turn has not read yet
	served  bool // the turn has served a request
	head    head
	left    *decoder // of the body that is being skipped
	skipped int

	output // what leaves, and when

	current *response // whose handler runs; Conn.life guards it

	readTimed, writeTimed atomic.Bool // the handler has set a deadline, or taken it back: it decides itself
}

var actives = sync.Pool{New: func() any { return new(active) }}

// activate readies the connection for a turn.
func (c *Conn) activate() {
	if c.active != nil {
		return
	}
	a := actives.Get().(*active)
	a.owner, a.transport = c, c.transport
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
	a.err, a.sent = nil, 0
	a.mu.Unlock()
	a.input.release()
	a.owner, a.transport, a.addr, a.left, a.current = nil, nil, "", nil, nil
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
