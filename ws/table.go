package ws

import (
	"sync"
	"sync/atomic"
)

// roster is a set of conns that can be gone through without a lock while it
// changes. Whoever changes it holds a mutex of its owner.
type roster struct {
	blocks atomic.Pointer[[]*block] // replaced when it grows
	free   []uint32                 // slots whose conn left
	used   uint32                   // slots given out so far

	inflating atomic.Int64 // conns that are sent compressed messages
}

const blockSize = 256

// block is a part of a roster. Broadcasts go block by block.
type block [blockSize]atomic.Pointer[conn]

func (r *roster) all() []*block {
	if blocks := r.blocks.Load(); blocks != nil {
		return *blocks
	}
	return nil
}

// slot returns a slot's place, or nil if there is none of this number.
func (r *roster) slot(number uint32) *atomic.Pointer[conn] {
	blocks := r.all()
	if int64(number)/blockSize >= int64(len(blocks)) {
		return nil
	}
	return &blocks[number/blockSize][number%blockSize]
}

// reserve returns a free slot.
func (r *roster) reserve() uint32 {
	if n := len(r.free); n > 0 && r.used%blockSize == 0 { // a block is filled first
		number := r.free[n-1]
		r.free = r.free[:n-1]
		return number
	}
	if r.used%blockSize == 0 {
		grown := append(append([]*block(nil), r.all()...), new(block))
		r.blocks.Store(&grown)
	}
	r.used++
	return r.used - 1
}

// put fills a slot that was reserved.
func (r *roster) put(number uint32, c *conn) {
	if c.inflates() {
		r.inflating.Add(1)
	}
	r.slot(number).Store(c)
}

// remove empties a slot.
func (r *roster) remove(number uint32) {
	if r.slot(number).Swap(nil).inflates() {
		r.inflating.Add(-1)
	}
	r.free = append(r.free, number)
}

// each calls visit for every conn until it returns false.
func (r *roster) each(visit func(*conn) bool) {
	for _, block := range r.all() {
		for i := range block {
			if c := block[i].Load(); c != nil && !visit(c) {
				return
			}
		}
	}
}

// spread calls visit for every conn, on all processors if there are many.
func (r *roster) spread(visit func(*conn)) {
	blocks := r.all()
	spread(len(blocks), func(i int) {
		for slot := range blocks[i] {
			if c := blocks[i][slot].Load(); c != nil {
				visit(c)
			}
		}
	})
}

// table finds a client by its id without a lock. An id is a slot's number,
// from 1, and above it how often the slot was used before; so an id that is
// out of date finds nothing.
type table struct {
	roster
	length atomic.Int64
	mu     sync.Mutex // guards the roster's changes, and uses
	uses   []uint32   // how often each slot was used
}

// find returns the client with this id, or nil.
func (t *table) find(id ClientID) *conn {
	if slot := t.slot(uint32(id) - 1); slot != nil {
		if c := slot.Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// add gives c an id and makes it known.
func (t *table) add(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.reserve()
	if int(number) == len(t.uses) {
		t.uses = append(t.uses, 0)
	}
	c.id = ClientID(t.uses[number])<<32 | ClientID(number+1)
	t.uses[number]++
	t.length.Add(1)
	t.put(number, c)
}

// remove forgets c.
func (t *table) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roster.remove(uint32(c.id) - 1)
	t.length.Add(-1)
}
