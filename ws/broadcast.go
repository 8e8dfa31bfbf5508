package ws

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"aerys/ws/frame"
)

// feed holds the messages to several clients that have not reached everybody
// yet. Messages in a row to the same audience form a batch, which is framed
// once and leaves in one write for each client.
type feed struct {
	count atomic.Uint64 // messages published so far
	dirty atomic.Bool   // there are batches

	mu       sync.Mutex
	batches  []*batch // oldest first; the last may still grow
	size     int      // bytes of all batches
	flushing bool     // a goroutine is delivering batches
	room     sync.Cond
}

// feedLimit is how many bytes may wait in the feed before publishers wait for
// the delivery, which itself never waits for a client.
const feedLimit = 256 << 10

// batch is a run of messages for one audience.
type batch struct {
	to       audience
	first    uint64 // how many messages were published before
	plain    frames
	deflated frames
	without  []exception
	sealed   bool // under delivery: nothing is added
}

// frames are a batch's frames one behind the other.
type frames struct {
	bytes []byte
	ends  []int // of each message's frame
}

// exception is a client that does not get a message.
type exception struct {
	id     ClientID
	number uint64 // of the message
}

// audience is to whom a batch goes.
type audience interface {
	// has reports whether c belongs to it.
	has(c *conn) bool
	// each calls deliver for everyone in it, perhaps on several processors.
	each(deliver func(*conn))
	// same reports whether messages to the other audience join this batch.
	same(audience) bool
}

// last is the number of messages published with and before this batch.
func (b *batch) last() uint64 { return b.first + uint64(len(b.plain.ends)) }

// since returns the frames behind the first n messages ever published, and how
// many they are.
func (f *frames) since(first, n uint64) ([]byte, int) {
	if n <= first {
		return f.bytes, len(f.ends)
	}
	skip := int(n - first)
	return f.bytes[f.ends[skip-1]:], len(f.ends) - skip
}

// message returns the frame of one message of a batch.
func (f *frames) message(i int) []byte {
	if i == 0 {
		return f.bytes[:f.ends[0]]
	}
	return f.bytes[f.ends[i-1]:f.ends[i]]
}

func appendMessage[T string | []byte](f *frames, h frame.Header, payload T) {
	h.Length = int64(len(payload))
	f.bytes = append(frame.AppendHeader(f.bytes, h), payload...)
	f.ends = append(f.ends, len(f.bytes))
}

// publish adds one message for an audience and delivers it, or leaves that to
// a goroutine that is in the middle of a turn and will do so shortly.
func publish[T string | []byte](e *Endpoint, to audience, opcode frame.Opcode, payload T, except []ClientID) {
	f := &e.feed
	f.mu.Lock()
	for f.size > feedLimit && f.flushing {
		f.room.Wait()
	}
	var b *batch
	if n := len(f.batches); n > 0 && !f.batches[n-1].sealed && f.batches[n-1].to.same(to) {
		b = f.batches[n-1]
	} else {
		b = &batch{to: to, first: f.count.Load()}
		f.batches = append(f.batches, b)
	}
	before := len(b.plain.bytes)
	appendMessage(&b.plain, frame.Header{Fin: true, Opcode: opcode}, payload)
	if e.options.Compression {
		appendDeflated(&b.deflated, opcode, payload, e.options)
	}
	number := f.count.Add(1)
	for _, id := range except {
		b.without = append(b.without, exception{id, number})
	}
	f.size += len(b.plain.bytes) - before
	full := f.size > feedLimit
	f.dirty.Store(true)
	f.mu.Unlock()
	if full || e.busy.Load() == 0 {
		e.flushFeed()
	} else {
		e.soon.arm()
	}
}

// flushFeed delivers what was published, and what is published meanwhile.
func (e *Endpoint) flushFeed() {
	f := &e.feed
	if !f.dirty.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flushing {
		return // whoever delivers goes on until nothing is left
	}
	f.flushing = true
	for len(f.batches) > 0 {
		b := f.batches[0]
		b.sealed = true
		f.mu.Unlock()
		b.to.each(func(c *conn) { c.deliver(b) })
		f.mu.Lock()
		f.batches[0] = nil
		f.batches = f.batches[1:]
		f.size -= len(b.plain.bytes)
		f.room.Broadcast()
	}
	f.batches = nil
	f.dirty.Store(false)
	f.flushing = false
}

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

// keepsUp reports whether a client may be sent more of what is broadcast: one
// that has fallen too far behind is closed. c.mu is held.
func (c *conn) keepsUp() bool {
	options := c.endpoint.options
	option := c.out.over(options)
	if option != "" && c.gathering { // what only waits for its turn to end is not late
		c.flushNow()
		option = c.out.over(options)
	}
	if w := c.streaming(); w != nil && option == "" {
		option = w.later.over(options)
	}
	if option != "" {
		c.endpoint.counters.slow.Add(1)
		c.abandon(CodePolicyViolation, "client does not read what is broadcast: more than Options."+option+" waits")
	}
	return c.closing.Load() == nil
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
	for _, b := range f.batches {
		if b.last() > c.delivered && b.to.has(c) {
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
	if c.deflate.fits(math.MaxInt) {
		f = &b.deflated
	}
	had := max(c.delivered, b.first)
	c.delivered = b.last()
	if b.excepts(c.id) {
		c.takeSome(b, f, had)
		return
	}
	bytes, messages := f.since(b.first, had)
	c.sentData(messages)
	switch {
	case b.sealed && c.out == nil && c.streaming() == nil && !c.gathering:
		c.sendShared(bytes, messages)
	case b.sealed:
		c.behind().share(bytes, messages)
	default:
		c.behind().copy(bytes, messages)
	}
}

// behind is where messages wait: behind the one that is being streamed, if any.
// c.mu is held.
func (c *conn) behind() *outbox {
	if w := c.streaming(); w != nil {
		return w.later
	}
	return c.waiting()
}

// sendShared sends frames that others are sent too straight from where they
// are. c.mu is held and nothing waits.
func (c *conn) sendShared(bytes []byte, messages int) {
	n, err := c.transport.tryWrite(bytes)
	if err != nil {
		c.abandon(CodeAbnormal, "connection lost")
		return
	}
	c.sentBytes(n)
	if n < len(bytes) {
		c.waiting().share(bytes[n:], messages)
		c.transport.full()
	}
}

// takeSome queues a batch's messages but those that except c. c.mu is held.
func (c *conn) takeSome(b *batch, f *frames, had uint64) {
	for n := had + 1; n <= b.last(); n++ {
		if !b.excluded(c.id, n) {
			c.behind().copy(f.message(int(n-b.first)-1), 1)
			c.sentData(1)
		}
	}
}

// excepts reports whether a message of the batch is not for the client.
func (b *batch) excepts(id ClientID) bool {
	for _, e := range b.without {
		if e.id == id {
			return true
		}
	}
	return false
}

func (b *batch) excluded(id ClientID, number uint64) bool {
	for _, e := range b.without {
		if e.id == id && e.number == number {
			return true
		}
	}
	return false
}

// everyone is the audience of a broadcast.
type everyone struct{ table *table }

func (a everyone) has(*conn) bool             { return true }
func (a everyone) same(other audience) bool   { return a == other }
func (a everyone) each(deliver func(c *conn)) { a.table.spread(deliver) }

// some is the audience of a multicast.
type some struct {
	conns []*conn
}

func (a *some) same(audience) bool { return false }

func (a *some) has(c *conn) bool {
	for _, member := range a.conns {
		if member == c {
			return true
		}
	}
	return false
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
