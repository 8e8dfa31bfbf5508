package ws

import (
	"slices"

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
	for f.size > feedLimit {
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
	case len(f.batches) == 1:
		f.delivering = true
		e.deliverOldest()
		f.delivering = false
		fallthrough
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
		e.deliverOldest()
	}
	f.delivering = false
}

// deliverOldest delivers a batch. feed.mu is held, but not meanwhile.
func (e *Endpoint) deliverOldest() {
	f := &e.feed
	b := f.batches[0]
	b.sealed = true
	f.mu.Unlock()
	b.to.spread(func(c *conn) { c.deliver(b) })
	f.mu.Lock()
	f.batches[0] = nil
	if f.batches = f.batches[1:]; len(f.batches) == 0 {
		f.batches = nil
	}
	f.size -= b.size
	f.room.Broadcast()
}
