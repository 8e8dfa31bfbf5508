package ws

import (
	"slices"
	"sync"
	"sync/atomic"

	"aerys/ws/frame"
)

// everyone is the audience of a broadcast.
type everyone struct{ *roster[conn] }

func (a everyone) has(*conn) bool                 { return true }
func (a everyone) same(other audience[conn]) bool { return a == other }

// some is the audience of a multicast.
type some struct {
	conns   []*conn
	members map[*conn]bool // the same, once has was asked
}

func (a *some) same(audience[conn]) bool { return false }
func (a *some) size() int                { return memberSize * len(a.conns) }

func (a *some) has(c *conn) bool {
	if a.members == nil {
		a.members = make(map[*conn]bool, len(a.conns))
		for _, member := range a.conns {
			a.members[member] = true
		}
	}
	return a.members[c]
}

func (a *some) inflates() bool {
	return slices.ContainsFunc(a.conns, (*conn).inflates)
}

func (a *some) spread(deliver func(*conn)) {
	spread((len(a.conns)+blockSize-1)/blockSize, func(i int) {
		for _, c := range a.conns[i*blockSize : min(len(a.conns), (i+1)*blockSize)] {
			deliver(c)
		}
	})
}

// members is the audience of the clients named, each once.
func (e *Endpoint) members(ids []ClientID) *some {
	to := &some{conns: make([]*conn, 0, len(ids))}
	for _, id := range ids {
		if c := e.find(id); c != nil {
			to.conns = append(to.conns, c)
		}
	}
	return to
}

// publish adds one message for an audience and delivers it, or leaves that to
// others: to who is in the middle of a turn, for the messages of turns are to
// leave together, or to who delivers already. It is who publishes that compresses
// it, which holds up nobody else. The error is ErrInvalidText.
func publish[T string | []byte](e *Endpoint, to audience[conn], opcode frame.Opcode, payload T, except []ClientID) error {
	if err := checkText(opcode, payload); err != nil {
		return err
	}
	var small []byte
	if to.inflates() {
		if small = deflated(payload, e.options); small != nil {
			defer putBuffer(small)
		}
	}
	f := &e.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.full() {
		e.deliverLater()
		f.room.Wait()
	}
	b := f.batchFor(to, frame.MaxHeaderSize+len(payload))
	f.size -= b.size
	addMessage(b, opcode, payload, small, except)
	f.size += b.size
	f.page.fill(b.plain.bytes)
	f.count.Add(1)
	switch {
	case f.delivering:
	case e.busy.Load() > 0, f.due.Load():
		f.waiting.Store(true)
		e.soon.arm()
	default:
		e.deliverLater()
	}
	return nil
}

// flushFeed sees to it that what was published is delivered.
func (e *Endpoint) flushFeed() {
	f := &e.feed
	if !f.waiting.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e.deliverLater()
}

// deliverLater starts a goroutine that delivers, unless one does: who has something
// else to do cannot, for there may be more and more. feed.mu is held.
func (e *Endpoint) deliverLater() {
	f := &e.feed
	f.waiting.Store(false)
	if !f.delivering && len(f.batches) > 0 {
		f.delivering = true
		go e.deliverFeed()
	}
}

// deliverFeed delivers what was published, and what is published meanwhile.
func (e *Endpoint) deliverFeed() {
	f := &e.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.batches) > 0 {
		batches := f.seal()
		f.mu.Unlock()
		if len(batches) == 1 {
			batches[0].to.spread(func(c *conn) { c.deliver(batches[0]) })
		} else {
			new(delivery).deliver(batches)
		}
		f.mu.Lock()
		f.drop(len(batches))
	}
	f.delivering = false
}

// delivery is of several batches at once: what is little waits for the clients
// first, so that each of them is written to once.
type delivery struct {
	size atomic.Int64 // of what waits
	mu   sync.Mutex
	held []*conn // for whom it does
}

// mostHeld is how many bytes may wait, and heldSize what is counted of each
// client besides: an outbox with a buffer.
const (
	mostHeld = 64 << 20
	heldSize = 256 + 1<<smallestBuffer
)

func (d *delivery) deliver(batches []*batch[conn]) {
	for _, b := range batches {
		b.to.spread(func(c *conn) { d.hold(c, b) })
		if d.size.Load() > mostHeld {
			d.letGo()
		}
	}
	d.letGo()
}

func (d *delivery) hold(c *conn, b *batch[conn]) {
	if d.size.Load() > mostHeld {
		c.deliver(b)
		return
	}
	size := int64(len(b.plain.bytes))
	if c.hold(b) {
		size += heldSize
		d.mu.Lock()
		d.held = append(d.held, c)
		d.mu.Unlock()
	}
	d.size.Add(size)
}

// letGo sends what waits.
func (d *delivery) letGo() {
	(&some{conns: d.held}).spread((*conn).letGo)
	d.held = nil
	d.size.Store(0)
}

// deliver sends c what it has not had of a batch.
func (c *conn) deliver(b *batch[conn]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered >= b.last() || c.closing.Load() != nil {
		return
	}
	if !c.keepsUp() {
		return
	}
	c.queue(b)
	if c.out != nil {
		c.afterAppend()
	}
}

// hold is deliver, but that what is little waits for letGo. It reports whether it
// does so for the first time.
func (c *conn) hold(b *batch[conn]) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered >= b.last() || c.closing.Load() != nil || !c.keepsUp() {
		return false
	}
	first = c.out == nil && c.streaming() == nil && !c.gathering
	if first {
		c.waiting().held = true
	}
	c.queue(b)
	if c.out != nil && !c.out.held || c.out.isFull() {
		c.afterAppend()
	}
	return first
}

// letGo sends what was held.
func (c *conn) letGo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out.isHeld() {
		c.out.held = false
		c.afterAppend()
	}
}
