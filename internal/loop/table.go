package loop

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// table finds a connection by its id without a lock. An id is a slot's number,
// from 1, and above it how many connections there were before; so an id that is
// out of date finds nothing.
type table struct {
	length atomic.Int64
	blocks atomic.Pointer[[]*block] // replaced when it grows

	mu    sync.Mutex // guards all changes
	added uint32     // how many connections there were
	free  []uint32   // slots without one
}

const blockSize = 256

type block [blockSize]atomic.Pointer[Conn]

// slot returns the place of a number that was in use.
func (t *table) slot(number uint32) *atomic.Pointer[Conn] {
	return &(*t.blocks.Load())[number/blockSize][number%blockSize]
}

// find returns the connection with an id that one had, nil if that is over.
func (t *table) find(id uint64) *Conn {
	if c := t.slot(uint32(id) - 1).Load(); c != nil && c.id == id {
		return c
	}
	return nil
}

// add gives c an id, of which the upper half is not negative, and makes it known.
func (t *table) add(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.free) == 0 {
		t.grow()
	}
	last := len(t.free) - 1
	number := t.free[last]
	t.free = t.free[:last]
	c.id = uint64(t.added&math.MaxInt32)<<32 | uint64(number+1)
	t.added++
	t.length.Add(1)
	t.slot(number).Store(c)
}

// grow adds a block of free slots. t.mu is held.
func (t *table) grow() {
	var blocks []*block
	if t.blocks.Load() != nil {
		blocks = *t.blocks.Load()
	}
	first := len(blocks) * blockSize
	blocks = append(slices.Clip(blocks), new(block))
	t.blocks.Store(&blocks)
	for i := range blockSize {
		t.free = append(t.free, uint32(first+blockSize-1-i))
	}
}

// remove forgets c, unless it has before.
func (t *table) remove(c *Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := uint32(c.id) - 1
	if t.slot(number).CompareAndSwap(c, nil) {
		t.free = append(t.free, number)
		t.length.Add(-1)
	}
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
