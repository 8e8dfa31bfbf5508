package loop

import (
	"sync"
	"sync/atomic"
)

// table finds a connection by its id without a lock. An id is a slot's number,
// from 1, and above it how often the slot was used before; so an id that is out
// of date finds nothing.
type table struct {
	length atomic.Int64
	blocks atomic.Pointer[[]*block] // replaced when it grows

	mu   sync.Mutex // guards all changes
	uses []uint32   // how often each slot was used
	free []uint32   // slots whose connection is over
}

const blockSize = 256

type block [blockSize]atomic.Pointer[Conn]

// slot returns a slot's place, or nil if there is none of this number.
func (t *table) slot(number uint32) *atomic.Pointer[Conn] {
	blocks := t.blocks.Load()
	if blocks == nil || int64(number)/blockSize >= int64(len(*blocks)) {
		return nil
	}
	return &(*blocks)[number/blockSize][number%blockSize]
}

// find returns the connection with this id, or nil.
func (t *table) find(id uint64) *Conn {
	if slot := t.slot(uint32(id) - 1); slot != nil {
		if c := slot.Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// add gives c an id and makes it known.
func (t *table) add(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.reserve()
	c.id = uint64(t.uses[number])<<32 | uint64(number+1)
	t.uses[number]++
	t.length.Add(1)
	t.slot(number).Store(c)
}

// reserve returns a free slot. t.mu is held.
func (t *table) reserve() uint32 {
	if n := len(t.free); n > 0 {
		number := t.free[n-1]
		t.free = t.free[:n-1]
		return number
	}
	number := uint32(len(t.uses))
	if number%blockSize == 0 {
		var grown []*block
		if blocks := t.blocks.Load(); blocks != nil {
			grown = append(grown, *blocks...)
		}
		grown = append(grown, new(block))
		t.blocks.Store(&grown)
	}
	t.uses = append(t.uses, 0)
	return number
}

// remove forgets c, unless it has before.
func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := uint32(c.id) - 1
	if !t.slot(number).CompareAndSwap(c, nil) {
		return
	}
	t.free = append(t.free, number)
	t.length.Add(-1)
}

// each calls visit for every connection.
func (t *table) each(visit func(*Conn)) {
	blocks := t.blocks.Load()
	if blocks == nil {
		return
	}
	for _, block := range *blocks {
		for i := range block {
			if c := block[i].Load(); c != nil {
				visit(c)
			}
		}
	}
}
