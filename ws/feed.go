package ws

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"aerys/ws/frame"
)

// feed holds the messages to several clients that have not reached everybody
// yet. Messages in a row to the same audience form a batch, which is framed
// once and leaves in one write for each client. Who publishes delivers one batch
// at most; whatever else there is, a goroutine of its own delivers.
type feed struct {
	count   atomic.Uint64 // messages published so far
	waiting atomic.Bool   // there are batches that are left to whoever ends a turn
	due     atomic.Bool   // and flushDue is to be called when the round is over

	mu         sync.Mutex
	batches    []*batch // oldest first; the last may still grow
	page       page     // where their plain frames are
	size       int      // of all batches
	delivering bool     // somebody delivers them, one by one
	room       sync.Cond
}

// feedLimit is how many bytes may wait in the feed before publishers wait for
// the delivery, which itself never waits for a client.
const feedLimit = 256 << 10

// page is where the frames of several batches lie one behind the other, for who
// waits for all of them.
type page struct{ free []byte }

const pageSize = 32 << 10

// open returns where frames may begin, the first of which takes n bytes.
func (p *page) open(n int) []byte {
	switch {
	case cap(p.free) >= n:
		return p.free
	case n > pageSize/4:
		return nil
	}
	return make([]byte, 0, pageSize)
}

// fill notes where the last frames end. Large ones are not kept for others.
func (p *page) fill(frames []byte) {
	if p.free = nil; cap(frames) <= pageSize {
		p.free = frames[len(frames):]
	}
}

// batch is a run of messages for one audience.
type batch struct {
	to       audience
	first    uint64 // how many messages were published before
	plain    frames
	deflated frames                // for those who inflate; none if no message is compressed
	without  map[ClientID][]uint64 // the numbers of the messages that a client does not get
	size     int                   // in memory, roughly
	sealed   bool                  // under delivery: nothing is added
}

// What is counted of a batch besides its frames.
const (
	batchSize     = 256
	messageSize   = 16
	exceptionSize = 64
	memberSize    = 32 // of an audience that is a batch's own
)

// frames are a batch's frames one behind the other.
type frames struct {
	bytes []byte
	ends  []int // of each message's frame
}

// audience is to whom a batch goes.
type audience interface {
	// has reports whether c belongs to it. c.mu and feed.mu are held.
	has(c *conn) bool
	// inflates reports whether anyone in it is sent compressed messages.
	inflates() bool
	// each calls deliver for everyone in it, perhaps on several processors.
	each(deliver func(*conn))
	// same reports whether messages to the other audience join this batch.
	same(audience) bool
	// size is what it takes for its batch alone, in memory.
	size() int
}

// last is the number of messages published with and before this batch.
func (b *batch) last() uint64 { return b.first + uint64(len(b.plain.ends)) }

// run returns the frames of the messages behind the first from published ever,
// up to the one of number to.
func (b *batch) run(f *frames, from, to uint64) []byte {
	begin, end := 0, 0
	if from > b.first {
		begin = f.ends[from-b.first-1]
	}
	if to > b.first {
		end = f.ends[to-b.first-1]
	}
	return f.bytes[begin:end]
}

// exclude notes that a client does not get the last message.
func (b *batch) exclude(id ClientID) {
	numbers := b.without[id]
	if n := len(numbers); n > 0 && numbers[n-1] == b.last() {
		return // it is named twice
	}
	if b.without == nil {
		b.without = make(map[ClientID][]uint64)
	}
	b.without[id] = append(numbers, b.last())
}

// excluded returns the numbers of the messages behind the first n published
// ever that a client does not get.
func (b *batch) excluded(id ClientID, n uint64) []uint64 {
	numbers := b.without[id]
	had, _ := slices.BinarySearch(numbers, n+1)
	return numbers[had:]
}

func appendMessage[T string | []byte](f *frames, h frame.Header, payload T) {
	h.Length = int64(len(payload))
	f.bytes = append(frame.AppendHeader(f.bytes, h), payload...)
	f.ends = append(f.ends, len(f.bytes))
}

// addMessage adds a message to a batch; small is its compressed form, if any.
func addMessage[T string | []byte](b *batch, opcode frame.Opcode, payload T, small []byte, except []ClientID) {
	if small != nil && b.deflated.ends == nil {
		b.deflated = frames{slices.Clone(b.plain.bytes), slices.Clone(b.plain.ends)}
		b.size += len(b.plain.bytes)
	}
	plain := frame.Header{Fin: true, Opcode: opcode}
	appendMessage(&b.plain, plain, payload)
	b.size += messageSize + len(payload) + exceptionSize*len(except)
	switch {
	case small != nil:
		appendMessage(&b.deflated, frame.Header{Fin: true, Rsv: rsv1, Opcode: opcode}, small)
		b.size += len(small)
	case b.deflated.ends != nil:
		appendMessage(&b.deflated, plain, payload)
		b.size += len(payload)
	}
	for _, id := range except {
		b.exclude(id)
	}
}

// publish adds one message for an audience and delivers it, or leaves that to
// others: to who is in the middle of a turn, for the messages of turns are to
// leave together, or to who delivers already. It is who publishes that compresses
// it, which holds up nobody else.
func publish[T string | []byte](e *Endpoint, to audience, opcode frame.Opcode, payload T, except []ClientID) {
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
		f.deliver(e)
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
		f.deliverOldest()
		f.delivering = false
		fallthrough
	default:
		f.deliver(e)
	}
}

// batchFor returns the batch that a message of n bytes is added to. mu is held.
func (f *feed) batchFor(to audience, n int) *batch {
	if n := len(f.batches); n > 0 && !f.batches[n-1].sealed && f.batches[n-1].to.same(to) {
		return f.batches[n-1]
	}
	b := &batch{to: to, first: f.count.Load(), size: batchSize + to.size()}
	b.plain.bytes = f.page.open(n)
	f.size += b.size
	f.batches = append(f.batches, b)
	return b
}

// since returns the batches with messages behind the first n published ever.
// mu is held.
func (f *feed) since(n uint64) []*batch {
	return f.batches[sort.Search(len(f.batches), func(i int) bool { return f.batches[i].last() > n }):]
}

// flushFeed sees to it that what was published is delivered.
func (e *Endpoint) flushFeed() {
	f := &e.feed
	if !f.waiting.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deliver(e)
}

// rest is the end of a turn. What it published is delivered behind the round, with
// what the turns of other connections did.
func (e *Endpoint) rest(c *conn) {
	e.busy.Add(-1)
	if f := &e.feed; f.waiting.Load() && !f.due.Swap(true) {
		c.transport.AfterRound(e.flushDue)
	}
}

// deliver starts a goroutine that delivers, unless one does: who has something
// else to do cannot, for there may be more and more. mu is held.
func (f *feed) deliver(e *Endpoint) {
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
		f.deliverOldest()
	}
	f.delivering = false
}

// deliverOldest delivers a batch. mu is held, but not meanwhile.
func (f *feed) deliverOldest() {
	b := f.batches[0]
	b.sealed = true
	f.mu.Unlock()
	b.to.each(func(c *conn) { c.deliver(b) })
	f.mu.Lock()
	f.batches[0] = nil
	if f.batches = f.batches[1:]; len(f.batches) == 0 {
		f.batches = nil
	}
	f.size -= b.size
	f.room.Broadcast()
}
