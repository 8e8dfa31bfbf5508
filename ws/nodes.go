package ws

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// nodes are the other nodes, as far as they have said so, and what they are asked.
// Nothing that they know is kept here: who wants to know asks them all.
type nodes struct {
	mu     sync.Mutex
	known  map[uint64]*node
	asks   map[uint32]*ask
	number uint32 // of the last ask
}

type node struct {
	name   string
	silent int       // how often in a row it did not answer, asks at once counted as one
	since  time.Time // when it last did not
}

// ask is a question that is under way.
type ask struct {
	waiting map[uint64]bool // for the answers of these
	answer  Presence
	done    chan struct{} // closed when all have answered
}

// Presence is who is subscribed to a topic, on all nodes.
type Presence struct {
	Count   int      // clients
	Members []string // what Options.MemberName says of them, in no order: of each node, what a message takes
	Silent  []string // nodes that did not answer in time, by name: their clients are missing
}

// answerPeriod is how long nodes have to answer, and mostSilent how often in a row
// one may fail to before it is forgotten: until it says that it is there.
const (
	answerPeriod = 250 * time.Millisecond
	mostSilent   = 3
)

// meet notes that a node is there, and reports whether that is news.
func (n *nodes) meet(id uint64, name string) (news bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[uint64]*node)
	}
	_, met := n.known[id]
	n.known[id] = &node{name: name}
	return !met
}

func (n *nodes) forget(id uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.known, id)
	for _, a := range n.asks {
		a.heard(id)
	}
}

// heard notes that nothing more is to come from a node. nodes.mu is held.
func (a *ask) heard(id uint64) {
	if a.waiting[id] {
		if delete(a.waiting, id); len(a.waiting) == 0 {
			close(a.done)
		}
	}
}

// begin begins a question about a topic, and returns what is to be sent.
func (n *nodes) begin(topic string, here Presence) (a *ask, number uint32, question []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.number++
	a = &ask{waiting: make(map[uint64]bool), answer: here, done: make(chan struct{})}
	for id := range n.known {
		a.waiting[id] = true
	}
	if len(a.waiting) == 0 {
		close(a.done)
	}
	if n.asks == nil {
		n.asks = make(map[uint32]*ask)
	}
	n.asks[n.number] = a
	return a, n.number, append(binary.BigEndian.AppendUint32(nil, n.number), topic...)
}

// answered adds a node's answer.
func (n *nodes) answered(id uint64, number uint32, count int, names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.known[id]; known != nil {
		known.silent = 0
	}
	if a := n.asks[number]; a != nil && a.waiting[id] {
		a.answer.Count += count
		a.answer.Members = append(a.answer.Members, names...)
		a.heard(id)
	}
}

// end ends a question, for which one has waited long enough. It returns the answer,
// and which nodes are forgotten.
func (n *nodes) end(a *ask, number uint32) (answer Presence, forgotten []uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asks, number)
	for id := range a.waiting {
		if silent := n.known[id]; silent != nil {
			a.answer.Silent = append(a.answer.Silent, silent.name)
			if silent.fails(time.Now()) {
				delete(n.known, id)
				forgotten = append(forgotten, id)
			}
		}
	}
	slices.Sort(a.answer.Silent)
	return a.answer, forgotten
}

// fails notes that a node did not answer, and reports whether it is to be forgotten.
func (n *node) fails(now time.Time) bool {
	if now.Sub(n.since) >= answerPeriod {
		n.silent++
		n.since = now
	}
	return n.silent >= mostSilent
}

// clear forgets all.
func (n *nodes) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.known)
}

func (n *nodes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.known)
}
