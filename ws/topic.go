package ws

import (
	"cmp"
	"slices"
	"sync"
)

// topics are the subscriptions of an endpoint's clients.
type topics[C any] struct {
	mu     sync.RWMutex // guards the map and changes of the rosters
	byName map[string]*topic[C]
	made   uint64            // topics so far
	begun  func(name string) // told of each new topic, if not nil
	ended  func(name string) // and of each that has no clients any more
}

// observe says who is told of topics that come and go.
func (t *topics[C]) observe(begun, ended func(name string)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.ended = begun, ended
	if begun != nil { // a handler that has not returned may have left some
		for name := range t.byName {
			begun(name)
		}
	}
}

// topic is whom what is published to it goes to.
type topic[C any] struct {
	roster[C]
	name    string
	number  uint64 // of those made before and with it
	members int
}

// subscription is a client's place in a topic.
type subscription[C any] struct {
	topic *topic[C]
	slot  uint32
}

// subscriptions are a client's, in the order in which the topics were made.
type subscriptions[C any] []subscription[C]

// place returns the place of a topic among them, and whether it is there.
func (s subscriptions[C]) place(t *topic[C]) (place int, in bool) {
	return slices.BinarySearchFunc(s, t.number, func(s subscription[C], number uint64) int {
		return cmp.Compare(s.topic.number, number)
	})
}

// find returns the topic of this name, or nil.
func (t *topics[C]) find(name string) *topic[C] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byName[name]
}

// join adds a client with these subscriptions to a topic, and returns them with it.
func (t *topics[C]) join(name string, c *C, inflates bool, all subscriptions[C]) subscriptions[C] {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.byName[name]
	if of == nil {
		t.made++
		of = &topic[C]{name: name, number: t.made}
		if t.byName == nil {
			t.byName = make(map[string]*topic[C])
		}
		t.byName[name] = of
		if t.begun != nil {
			t.begun(name)
		}
	}
	place, in := all.place(of)
	if in {
		return all
	}
	slot := of.reserve()
	of.put(slot, c, inflates)
	of.members++
	return slices.Insert(all, place, subscription[C]{of, slot})
}

// leave takes a client with these subscriptions out of a topic, and returns the rest.
func (t *topics[C]) leave(name string, inflates bool, all subscriptions[C]) subscriptions[C] {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := t.byName[name]
	if of == nil {
		return all
	}
	i, in := all.place(of)
	if !in {
		return all
	}
	t.vacate(all[i], inflates)
	return slices.Delete(all, i, i+1)
}

// leaveAll takes a client out of all its topics.
func (t *topics[C]) leaveAll(inflates bool, all subscriptions[C]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range all {
		t.vacate(s, inflates)
	}
}

// vacate gives up a place in a topic. t.mu is held.
func (t *topics[C]) vacate(s subscription[C], inflates bool) {
	s.topic.remove(s.slot, inflates)
	if s.topic.members--; s.topic.members == 0 {
		delete(t.byName, s.topic.name)
		if t.ended != nil {
			t.ended(s.topic.name)
		}
	}
}
