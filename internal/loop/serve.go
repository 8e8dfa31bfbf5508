package loop

import "sync/atomic"

// Who calls an owner's methods, and when: whatever carries a connection notes in
// its state what has happened, and calls run in one goroutine at a time.

// The bits of Conn.state.
const (
	running  = 1 << iota // a goroutine runs Serve, or is about to
	pending              // there may be bytes that were not there when it last read
	kept                 // TLS may hold something back of what it has received
	hangup               // the peer has ended its direction, or all is lost: read to the end
	more                 // something came since Serve was called
	looking              // and the owner is to know soon
	resumed              // Serve is to be called once more, whatever it reads now
	shaking              // TLS shakes hands: what comes is none of the owner's yet
	finished             // it is over

	asked  // for Soon
	listed // it is on the list of those to look at soon
	stuck  // bytes wait for the peer to take them

	blocked      // the socket was full
	readerParked // somebody waits for bytes
	writerParked // somebody waits for room
	patient      // for many bytes: epoll says nothing of fewer
)

// setBits sets and clears bits, and returns what was before. (In Go 1.24.0 the
// results of atomic.Uint32's Or and And are wrong.)
func setBits(state *atomic.Uint32, set, clear uint32) (before uint32) {
	for {
		before = state.Load()
		after := before&^clear | set
		if after == before || state.CompareAndSwap(before, after) {
			return before
		}
	}
}

// setBitsIf is setBits if those of mask are as they are in is. It reports whether
// they were.
func setBitsIf(state *atomic.Uint32, mask, is, set, clear uint32) bool {
	for {
		before := state.Load()
		if before&mask != is {
			return false
		}
		if state.CompareAndSwap(before, before&^clear|set) {
			return true
		}
	}
}

// mark notes that there is something to do. It reports whether the caller is to
// see to it that Serve is called; who waits for bytes is woken.
func (c *Conn) mark(bits uint32) (serve bool) {
	old := setBits(&c.state, bits|running, readerParked)
	switch {
	case old&readerParked != 0:
		signal(c.extras().readable)
	case old&running == 0:
		return true
	case bits&pending != 0:
		if setBits(&c.state, more|looking, 0)&looking == 0 {
			c.lookSoon(0)
		}
	}
	return false
}

// Resume has Serve called, although nothing has come.
func (c *Conn) Resume() { c.call(resumed) }

// call has Serve called, unless it runs already.
func (c *Conn) call(why uint32) {
	if c.mark(why) {
		c.transport.schedule()
	}
}

// run serves what there is. It reports whether the connection is to be run again
// although nothing has come: others go first.
func (c *Conn) run() (again bool) {
	for {
		setBits(&c.state, 0, more|resumed)
		err := c.serve()
		switch {
		case err == ErrYield:
			return true
		case err == ErrPause:
			if c.settle(more | resumed) {
				return false
			}
		case err != nil && err != ErrAgain:
			c.end(err)
			return false
		case c.settle(pending | kept | resumed):
			return false
		}
	}
}

// serve calls Serve, once TLS has shaken hands.
func (c *Conn) serve() error {
	if c.state.Load()&shaking != 0 {
		if err := c.TLS().Handshake(); err != nil { // it ends by Interrupt
			return err
		}
		c.extra.Store(nil) // nobody waits any more
		setBits(&c.state, 0, shaking)
	}
	return c.owner.Serve(c) // which alone changes it
}

// settle makes the connection idle, unless one of these bits is set.
func (c *Conn) settle(unless uint32) bool { return setBitsIf(&c.state, unless, 0, 0, running) }

// outlive sees to a connection whose Serve, or Over, has ended the goroutine.
func (c *Conn) outlive() {
	switch state := c.state.Load(); {
	case state&finished != 0:
	case state&resumed != 0:
		c.transport.schedule()
	default:
		c.end(ErrGoexit)
	}
}

// end ends a connection that Serve is done with.
func (c *Conn) end(err error) {
	setBits(&c.state, finished, 0)
	if e := c.extra.Load(); e != nil {
		e.stop()
	}
	c.loop.table.remove(c)
	if err != ErrHijacked {
		defer c.transport.close() // also when Over does not return
	}
	c.Owner().Over(c, err) // before the peer can know
}

// park waits for wake, if the bits of mask are still as they are in is.
func (c *Conn) park(parked, mask, is uint32, wake <-chan struct{}) {
	if setBitsIf(&c.state, mask, is, parked, 0) {
		<-wake
		setBits(&c.state, 0, parked)
	}
}

// Soon has the owner's Soon called in about a millisecond.
func (c *Conn) Soon() { c.lookSoon(asked) }

// lookSoon puts the connection on the list of those to look at soon, once.
func (c *Conn) lookSoon(why uint32) {
	if setBits(&c.state, why|listed, 0)&listed == 0 {
		c.loop.soon.add(c)
	}
}

// tellSoon tells the owner what it is to know a millisecond later.
func (c *Conn) tellSoon() {
	c.transport.watch()
	before := setBits(&c.state, 0, asked|listed|looking)
	const ahead = looking | running
	if before&(ahead|shaking) == ahead {
		c.Owner().Ahead(c, before&hangup != 0)
	}
	if before&asked != 0 {
		c.Owner().Soon(c)
	}
}
