package ws

import (
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"aerys/ws/frame"
)

// feed holds the messages to several clients that have not reached everybody
// yet. Messages in a row to the same audience form a batch, which is framed
// once and leaves in one write for each client. A goroutine of its own delivers all
// the batches that there are at once, so that who gets several gets them together.
type feed[C any] struct {
	count   atomic.Uint64 // messages published so far
	waiting atomic.Bool   // there are batches that are left to whoever ends a turn
	due     atomic.Bool   // and flushDue is to be called when the round is over

	mu         sync.Mutex
	batches    []*batch[C] // oldest first; the last may still grow
	page       page        // where their plain frames are
	size       int         // of all batches
	delivering bool        // somebody delivers them, one by one
	room       sync.Cond
}

// feedLimit is how many bytes may wait in the feed before publishers wait for
// the delivery, which itself never waits for a client: enough for many small topics
// to have several messages each. A batch has batchLimit at most, which a processor's
// cache holds.
const (
	feedLimit  = 2 << 20
	batchLimit = 256 << 10
)

// full reports whether publishers have to wait. mu is held.
func (f *feed[C]) full() bool {
	n := len(f.batches)
	return f.size > feedLimit || n > 0 && f.batches[n-1].size > batchLimit
}

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
type batch[C any] struct {
	to       audience[C]
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
type audience[C any] interface {
	// has reports whether c belongs to it. Its mutex and feed.mu are held.
	has(c *C) bool
	// inflates reports whether anyone in it is sent compressed messages.
	inflates() bool
	// spread calls deliver for everyone in it, perhaps on several processors.
	spread(deliver func(*C))
	// same reports whether messages to the other audience join this batch.
	same(audience[C]) bool
	// size is what it takes for its batch alone, in memory.
	size() int
}

// last is the number of messages published with and before this batch.
func (b *batch[C]) last() uint64 { return b.first + uint64(len(b.plain.ends)) }

// run returns the frames of the messages behind the first from published ever,
// up to the one of number to.
func (b *batch[C]) run(f *frames, from, to uint64) []byte {
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
func (b *batch[C]) exclude(id ClientID) {
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
func (b *batch[C]) excluded(id ClientID, n uint64) []uint64 {
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
func addMessage[C any, T string | []byte](b *batch[C], opcode frame.Opcode, payload T, small []byte, except []ClientID) {
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

// seal returns all batches, to which nothing is added any more. mu is held.
func (f *feed[C]) seal() []*batch[C] {
	for _, b := range f.batches {
		b.sealed = true
	}
	return f.batches
}

// drop drops the n oldest batches, which everybody has. mu is held.
func (f *feed[C]) drop(n int) {
	for _, b := range f.batches[:n] {
		f.size -= b.size
	}
	clear(f.batches[:n])
	if f.batches = f.batches[n:]; len(f.batches) == 0 {
		f.batches = nil
	}
	f.room.Broadcast()
}

// batchFor returns the batch that a message of n bytes is added to. mu is held.
func (f *feed[C]) batchFor(to audience[C], n int) *batch[C] {
	if n := len(f.batches); n > 0 && !f.batches[n-1].sealed && f.batches[n-1].to.same(to) {
		return f.batches[n-1]
	}
	b := &batch[C]{to: to, first: f.count.Load(), size: batchSize + to.size()}
	b.plain.bytes = f.page.open(n)
	f.size += b.size
	f.batches = append(f.batches, b)
	return b
}

// since returns the batches with messages behind the first n published ever.
// mu is held.
func (f *feed[C]) since(n uint64) []*batch[C] {
	return f.batches[sort.Search(len(f.batches), func(i int) bool { return f.batches[i].last() > n }):]
}

// later does something after a while, once however often it is asked for until
// then.
type later struct {
	after time.Duration
	then  func()
	armed atomic.Bool
}

func (l *later) arm() {
	if !l.armed.Swap(true) {
		time.AfterFunc(l.after, l.run)
	}
}

func (l *later) run() {
	l.armed.Store(false)
	l.then()
}
