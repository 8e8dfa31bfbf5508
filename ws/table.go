package ws

import (
	"sync"
	"sync/atomic"
)

// table finds a client by its id without a lock. An id is a slot's number,
// from 1, and above it how often the slot was used before; so an id that is
// out of date finds nothing.
type table struct {
	blocks atomic.Pointer[[]*block] // replaced when it grows
	length atomic.Int64

	mu   sync.Mutex // guards all below
	free []ClientID // ids of slots whose client left
	used uint32     // slots given out so far
}

const blockSize = 256

// block is a part of the table. Broadcasts go block by block.
type block [blockSize]atomic.Pointer[conn]

func (t *table) all() []*block {
	if blocks := t.blocks.Load(); blocks != nil {
		return *blocks
	}
	return nil
}

func (t *table) slot(id ClientID) *atomic.Pointer[conn] {
	number := uint32(id) - 1
	blocks := t.all()
	if int64(number)/blockSize >= int64(len(blocks)) {
		return nil
	}
	return &blocks[number/blockSize][number%blockSize]
}

// find returns the client with this id, or nil.
func (t *table) find(id ClientID) *conn {
	if slot := t.slot(id); slot != nil {
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
	if n := len(t.free); n > 0 {
		c.id = t.free[n-1] + 1<<32
		t.free = t.free[:n-1]
	} else {
		if t.used%blockSize == 0 {
			grown := append(append([]*block(nil), t.all()...), new(block))
			t.blocks.Store(&grown)
		}
		t.used++
		c.id = ClientID(t.used)
	}
	t.length.Add(1)
	t.slot(c.id).Store(c)
}

// remove forgets c, and returns how many clients are left.
func (t *table) remove(c *conn) int64 {
	t.slot(c.id).Store(nil)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free = append(t.free, c.id)
	return t.length.Add(-1)
}

// each calls visit for every client until it returns false.
func (t *table) each(visit func(*conn) bool) {
	for _, block := range t.all() {
		for i := range block {
			if c := block[i].Load(); c != nil && !visit(c) {
				return
			}
		}
	}
}
