package ws

import (
	"iter"

	"aerys/ws/frame"
)

// subscribers are the audience of what is published to a topic.
type subscribers struct{ *topic[conn] }

func (a subscribers) has(c *conn) bool {
	if c.extra == nil {
		return false
	}
	_, in := c.extra.topics.place(a.topic)
	return in
}

func (a subscribers) same(other audience[conn]) bool { return other == a }

// Subscribe adds a client to those who get what is published to a topic. Topics
// come into being with their first client, and go with their last. Subscribing
// twice changes nothing. With Options.Broker it returns when what other nodes publish
// arrives, too, for which it may wait as long as Options.BrokerTimeout. The error is
// ErrClosed, or ErrBroker, with which the client is subscribed nevertheless:
// Options.OnLost is called when it gets what other nodes publish.
func (e *Endpoint) Subscribe(id ClientID, name string) error {
	if err := e.subscribe(id, name); err != nil {
		return err
	}
	if l := e.link.Load(); l != nil {
		return l.interest.wait(outward(name), e.options.BrokerTimeout)
	}
	return nil
}

func (e *Endpoint) subscribe(id ClientID, name string) error {
	c := e.find(id)
	if c == nil {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() != nil {
		return ErrClosed
	}
	c.catchUpNow() // what was published before is for those who were in then
	x := c.extras()
	x.topics = e.topics.join(name, c, c.inflates(), x.topics)
	return nil
}

// Unsubscribe takes a client out of a topic; what was published to it before
// still arrives. The error is ErrClosed.
func (e *Endpoint) Unsubscribe(id ClientID, name string) error {
	c := e.find(id)
	if c == nil {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUpNow()
	if c.extra != nil && c.activity != ended {
		c.extra.topics = e.topics.leave(name, c.inflates(), c.extra.topics)
	}
	return nil
}

// CloseTopic is Close for all clients that are subscribed to a topic: whoever is
// "user:42" is signed out everywhere by closing that. The error is ErrBroker.
func (e *Endpoint) CloseTopic(topic string, code Code, reason string) error {
	mustBeSendable("CloseTopic", code)
	e.closeHere(topic, code, reason)
	if l := e.link.Load(); l != nil {
		return forward(l, closeKind, outward(topic), frame.AppendClose(nil, code, reason))
	}
	return nil
}

func (e *Endpoint) closeHere(topic string, code Code, reason string) {
	if t := e.topics.find(topic); t != nil && code.Sendable() {
		t.spread(func(c *conn) { c.close(code, reason) })
	}
}

// Topics returns the topics that a client is subscribed to, in no order; in
// OnClose, those that it was subscribed to.
func (e *Endpoint) Topics(id ClientID) []string {
	c := e.find(id)
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
		if t := e.topics.find(name); t != nil {
			t.each(func(c *conn) bool { return yield(c.id) })
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
	return publishTo(e, topic, frame.Text, data, except)
}

// PublishText is Publish for text held in a byte slice, which is not kept.
func (e *Endpoint) PublishText(topic string, data []byte, except ...ClientID) error {
	return publishTo(e, topic, frame.Text, data, except)
}

// PublishBinary is Publish for a binary message. The slice is not kept.
func (e *Endpoint) PublishBinary(topic string, data []byte, except ...ClientID) error {
	return publishTo(e, topic, frame.Binary, data, except)
}

func publishTo[T string | []byte](e *Endpoint, name string, opcode frame.Opcode, data T, except []ClientID) error {
	l := e.link.Load()
	if l == nil {
		return publishHere(e, name, opcode, data, except)
	}
	return everywhere(l, outward(name), opcode, data, func() error { return publishHere(e, name, opcode, data, except) })
}

func publishHere[T string | []byte](e *Endpoint, name string, opcode frame.Opcode, data T, except []ClientID) error {
	if t := e.topics.find(name); t != nil {
		return publish(e, subscribers{t}, opcode, data, except)
	}
	return checkText(opcode, data)
}
