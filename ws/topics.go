package ws

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"unicode/utf8"

	"aerys/ws/frame"
)

// topics are the subscriptions of an endpoint's clients.
type topics struct {
	mu     sync.RWMutex // guards the map and changes of the rosters
	byName map[string]*topic
	made   uint64 // topics so far
}

// topic is the audience of what is published to it.
type topic struct {
	name    string
	number  uint64 // of those made before and with it
	roster  roster
	members int
}

// subscription is a conn's place in a topic.
type subscription struct {
	topic *topic
	slot  uint32
}

func (t *topic) has(c *conn) bool           { _, in := c.subscription(t); return in }
func (t *topic) inflates() bool             { return t.roster.inflating.Load() > 0 }
func (t *topic) size() int                  { return 0 }
func (t *topic) same(other audience) bool   { return other == audience(t) }
func (t *topic) each(deliver func(c *conn)) { t.roster.spread(deliver) }

// subscription returns the place of a topic among c's, which are in the order in
// which the topics were made, and whether it is there. c.mu is held.
func (c *conn) subscription(t *topic) (place int, in bool) {
	if c.extra == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(c.extra.topics, t.number, func(s subscription, number uint64) int {
		return cmp.Compare(s.topic.number, number)
	})
}

// Subscribe adds a client to those who get what is published to a topic. Topics
// come into being with their first client, and go with their last. Subscribing
// twice changes nothing. The error is ErrClosed.
func (e *Endpoint) Subscribe(id ClientID, name string) error {
	c := e.table.find(id)
	if c == nil {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() != nil {
		return ErrClosed
	}
	c.catchUpNow() // what was published before is for those who were in then
	e.topics.mu.Lock()
	defer e.topics.mu.Unlock()
	t := e.topics.byName[name]
	if t == nil {
		e.topics.made++
		t = &topic{name: name, number: e.topics.made}
		if e.topics.byName == nil {
			e.topics.byName = make(map[string]*topic)
		}
		e.topics.byName[name] = t
	}
	place, in := c.subscription(t)
	if in {
		return nil
	}
	slot := t.roster.reserve()
	t.roster.put(slot, c)
	t.members++
	extra := c.extras()
	extra.topics = slices.Insert(extra.topics, place, subscription{t, slot})
	return nil
}

// Unsubscribe takes a client out of a topic; what was published to it before
// still arrives. The error is ErrClosed.
func (e *Endpoint) Unsubscribe(id ClientID, name string) error {
	c := e.table.find(id)
	if c == nil {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUpNow()
	e.topics.mu.Lock()
	defer e.topics.mu.Unlock()
	t := e.topics.byName[name]
	if t == nil {
		return nil
	}
	if i, in := c.subscription(t); in {
		e.leave(c.extra.topics[i])
		c.extra.topics = slices.Delete(c.extra.topics, i, i+1)
	}
	return nil
}

// leave gives up a place in a topic. topics.mu is held.
func (e *Endpoint) leave(s subscription) {
	s.topic.roster.remove(s.slot)
	if s.topic.members--; s.topic.members == 0 {
		delete(e.topics.byName, s.topic.name)
	}
}

// unsubscribeAll takes a conn that ended out of all topics.
func (e *Endpoint) unsubscribeAll(c *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extra == nil {
		return
	}
	e.topics.mu.Lock()
	defer e.topics.mu.Unlock()
	for _, s := range c.extra.topics {
		e.leave(s)
	}
	c.extra.topics = nil
}

// Topics returns the topics that a client is subscribed to, in no order.
func (e *Endpoint) Topics(id ClientID) []string {
	c := e.table.find(id)
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extra == nil {
		return nil
	}
	names := make([]string, 0, len(c.extra.topics))
	for _, s := range c.extra.topics {
		names = append(names, s.topic.name)
	}
	return names
}

// Members returns the ids of the clients that are subscribed to a topic, in no
// order. Clients may come and go meanwhile.
func (e *Endpoint) Members(name string) iter.Seq[ClientID] {
	return func(yield func(ClientID) bool) {
		if t := e.topic(name); t != nil {
			t.roster.each(func(c *conn) bool { return yield(c.id) })
		}
	}
}

// Count returns how many clients are subscribed to a topic.
func (e *Endpoint) Count(name string) int {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	if t := e.topics.byName[name]; t != nil {
		return t.members
	}
	return 0
}

// Publish sends a text message to all clients of a topic but those excepted, as
// Broadcast does. A topic without clients is no error; text that is not UTF-8
// is ErrInvalidText.
func (e *Endpoint) Publish(topic, data string, except ...ClientID) error {
	if !utf8.ValidString(data) {
		return ErrInvalidText
	}
	if t := e.topic(topic); t != nil {
		publish(e, t, frame.Text, data, except)
	}
	return nil
}

// PublishText is Publish for text held in a byte slice, which is not kept.
func (e *Endpoint) PublishText(topic string, data []byte, except ...ClientID) error {
	if !utf8.Valid(data) {
		return ErrInvalidText
	}
	if t := e.topic(topic); t != nil {
		publish(e, t, frame.Text, data, except)
	}
	return nil
}

// PublishBinary is Publish for a binary message. The slice is not kept.
func (e *Endpoint) PublishBinary(topic string, data []byte, except ...ClientID) {
	if t := e.topic(topic); t != nil {
		publish(e, t, frame.Binary, data, except)
	}
}

func (e *Endpoint) topic(name string) *topic {
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	return e.topics.byName[name]
}
