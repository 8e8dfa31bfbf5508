package ws

import (
	"slices"
	"sync"
	"unicode/utf8"

	"aerys/ws/frame"
)

// topics are the subscriptions of an endpoint's clients.
type topics struct {
	mu     sync.RWMutex // guards the map and changes of the rosters
	byName map[string]*topic
}

// topic is the audience of what is published to it.
type topic struct {
	name    string
	roster  roster
	members int
}

// subscription is a conn's place in a topic.
type subscription struct {
	topic *topic
	slot  uint32
}

func (t *topic) has(c *conn) bool           { return c.subscription(t) >= 0 }
func (t *topic) same(other audience) bool   { return other == audience(t) }
func (t *topic) each(deliver func(c *conn)) { t.roster.spread(deliver) }

// subscription returns the index of a topic among c's, or -1. Whoever calls it
// holds c.mu.
func (c *conn) subscription(t *topic) int {
	if c.extra != nil {
		for i, s := range c.extra.topics {
			if s.topic == t {
				return i
			}
		}
	}
	return -1
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
		t = &topic{name: name}
		if e.topics.byName == nil {
			e.topics.byName = make(map[string]*topic)
		}
		e.topics.byName[name] = t
	}
	if c.subscription(t) >= 0 {
		return nil
	}
	slot := t.roster.reserve()
	t.roster.slot(slot).Store(c)
	t.members++
	c.extras().topics = append(c.extras().topics, subscription{t, slot})
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
	if i := c.subscription(t); t != nil && i >= 0 {
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
