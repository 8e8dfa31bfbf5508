package ws

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// inflates reports whether messages of any size may be sent to c compressed.
func (c *conn) inflates() bool { return c.deflate.Fits(math.MaxInt) }

// deliver sends c what it has not had of a batch.
func (c *conn) deliver(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.delivered >= b.last() || c.closing.Load() != nil {
		return
	}
	if !c.keepsUp() {
		return
	}
	c.take(b)
	if c.out != nil {
		c.afterAppend()
	}
}

// catchUp queues for c what was published before and has not reached it, so
// that what is sent next stays behind it. It reports whether c may be sent more.
// c.mu is held.
func (c *conn) catchUp() bool {
	f := &c.endpoint.feed
	if c.delivered == f.count.Load() {
		return c.closing.Load() == nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.since(c.delivered) {
		if b.to.has(c) {
			if !c.keepsUp() {
				return false
			}
			c.take(b)
		}
	}
	c.delivered = f.count.Load()
	return c.closing.Load() == nil
}

// catchUpNow is catchUp when nothing is to follow. c.mu is held.
func (c *conn) catchUpNow() {
	if c.catchUp() && c.out != nil {
		c.afterAppend()
	}
}

// take queues or sends the messages of a batch that c has not had. c.mu is held.
func (c *conn) take(b *batch) {
	f := &b.plain
	if b.deflated.ends != nil && c.inflates() {
		f = &b.deflated
	}
	had, last := max(c.delivered, b.first), b.last()
	c.delivered = last
	if b.without != nil {
		for _, number := range b.excluded(c.id, had) {
			c.takeRun(b, f, had, number-1)
			had = number
		}
	}
	c.takeRun(b, f, had, last)
}

// takeRun queues or sends the messages behind one number, up to another. Short
// ones, behind which there are more, are copied together: a write for each would
// cost more. c.mu is held.
func (c *conn) takeRun(b *batch, f *frames, from, to uint64) {
	if from == to {
		return
	}
	bytes, messages := b.run(f, from, to), int(to-from)
	c.sentData(messages)
	switch {
	case !b.sealed, to < b.last() && len(bytes) < bufferSize && c.behind().size < bufferSize:
		c.behind().copy(bytes, messages)
	case c.out == nil && c.streaming() == nil && !c.gathering:
		c.sendShared(bytes, messages)
	default:
		c.behind().share(bytes, messages, 0)
	}
}

// sendShared sends frames that others are sent too straight from where they
// are. c.mu is held and nothing waits.
func (c *conn) sendShared(bytes []byte, messages int) {
	n, err := c.transport.TryWrite(bytes)
	if err != nil {
		c.abandon(CodeAbnormal, "connection lost")
		return
	}
	c.sentBytes(n)
	if n < len(bytes) {
		c.waiting().share(bytes, messages, n)
	}
}

// everyone is the audience of a broadcast.
type everyone struct{ table *table }

func (a everyone) has(*conn) bool             { return true }
func (a everyone) inflates() bool             { return a.table.inflating.Load() > 0 }
func (a everyone) same(other audience) bool   { return a == other }
func (a everyone) size() int                  { return 0 }
func (a everyone) each(deliver func(c *conn)) { a.table.spread(deliver) }

// some is the audience of a multicast.
type some struct {
	conns   []*conn
	members map[*conn]bool // the same, once has was asked
}

func (a *some) same(audience) bool { return false }
func (a *some) size() int          { return memberSize * len(a.conns) }

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

func (a *some) each(deliver func(*conn)) {
	blocks := (len(a.conns) + blockSize - 1) / blockSize
	spread(blocks, func(i int) {
		for _, c := range a.conns[i*blockSize : min(len(a.conns), (i+1)*blockSize)] {
			deliver(c)
		}
	})
}

// spread calls work for 0 to n-1, on all processors when there is much to do.
func spread(n int, work func(int)) {
	helpers := min(n, runtime.GOMAXPROCS(0)) - 1
	if helpers <= 0 {
		for i := range n {
			work(i)
		}
		return
	}
	var next atomic.Int64
	share := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			work(i)
		}
	}
	var group sync.WaitGroup
	group.Add(helpers)
	for range helpers {
		go func() { defer group.Done(); share() }()
	}
	share()
	group.Wait()
}
