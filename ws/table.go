package ws

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// roster is a set of clients that can be gone through without a lock while it
// changes. Whoever changes it holds a mutex of its owner.
type roster[C any] struct {
	blocks atomic.Pointer[[]block[C]] // replaced when it grows
	free   []uint32                   // slots whose client left
	used   uint32                     // slots given out so far

	inflating atomic.Int64 // clients that are sent compressed messages
}

// block is a part of a roster, of blockSize clients: the first one has room for
// fewer at first, for most topics are small. Broadcasts go block by block.
type block[C any] []atomic.Pointer[C]

const (
	blockSize     = 256
	smallestBlock = 4
)

func (r *roster[C]) all() []block[C] {
	if blocks := r.blocks.Load(); blocks != nil {
		return *blocks
	}
	return nil
}

// slot returns a slot's place, or nil if there is none of this number.
func (r *roster[C]) slot(number uint32) *atomic.Pointer[C] {
	blocks := r.all()
	if int64(number)/blockSize >= int64(len(blocks)) {
		return nil
	}
	if b := blocks[number/blockSize]; int(number%blockSize) < len(b) {
		return &b[number%blockSize]
	}
	return nil
}

// reserve returns a free slot: what there is of blocks is filled first.
func (r *roster[C]) reserve() uint32 {
	blocks := r.all()
	last := len(blocks) - 1
	switch n := len(r.free); {
	case last >= 0 && int(r.used) < last*blockSize+len(blocks[last]):
	case n > 0:
		number := r.free[n-1]
		r.free = r.free[:n-1]
		return number
	case last == 0 && len(blocks[0]) < blockSize:
		r.blocks.Store(&[]block[C]{blocks[0].larger()})
	default:
		size := blockSize
		if last < 0 {
			size = smallestBlock
		}
		grown := append(append([]block[C](nil), blocks...), make(block[C], size))
		r.blocks.Store(&grown)
	}
	r.used++
	return r.used - 1
}

// larger returns a block of four times the size with the same clients. Who goes
// through the smaller one meets those that were there when it began.
func (b block[C]) larger() block[C] {
	grown := make(block[C], 4*len(b))
	for i := range b {
		grown[i].Store(b[i].Load())
	}
	return grown
}

// put fills a slot that was reserved.
func (r *roster[C]) put(number uint32, c *C, inflates bool) {
	if inflates {
		r.inflating.Add(1)
	}
	r.slot(number).Store(c)
}

// remove empties a slot.
func (r *roster[C]) remove(number uint32, inflates bool) {
	r.slot(number).Store(nil)
	if inflates {
		r.inflating.Add(-1)
	}
	r.free = append(r.free, number)
}

// each calls visit for every client until it returns false.
func (r *roster[C]) each(visit func(*C) bool) {
	for _, block := range r.all() {
		for i := range block {
			if c := block[i].Load(); c != nil && !visit(c) {
				return
			}
		}
	}
}

// inflates reports whether anyone is sent compressed messages.
func (r *roster[C]) inflates() bool { return r.inflating.Load() > 0 }

// size is what an audience takes that is here anyway.
func (r *roster[C]) size() int { return 0 }

// spread calls visit for every client, on all processors if there are many.
func (r *roster[C]) spread(visit func(*C)) {
	blocks := r.all()
	spread(len(blocks), func(i int) {
		for slot := range blocks[i] {
			if c := blocks[i][slot].Load(); c != nil {
				visit(c)
			}
		}
	})
}

// table gives ids, by which a client is found without a lock. An id is a slot's number,
// from 1, and above it how often the slot was used before; so an id that is
// out of date finds nothing.
type table[C any] struct {
	roster[C]
	length atomic.Int64
	mu     sync.Mutex // guards the roster's changes, and uses
	uses   []uint32   // how often each slot was used
}

// add gives c an id, stored before c is found by it.
func (t *table[C]) add(c *C, id *ClientID, inflates bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	number := t.reserve()
	if int(number) == len(t.uses) {
		t.uses = append(t.uses, 0)
	}
	*id = ClientID(t.uses[number])<<32 | ClientID(number+1)
	t.uses[number]++
	t.length.Add(1)
	t.put(number, c, inflates)
}

// remove forgets a client.
func (t *table[C]) remove(id ClientID, inflates bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.roster.remove(uint32(id)-1, inflates)
	t.length.Add(-1)
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
