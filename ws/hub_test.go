package ws_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"aerys/ws"
)

// hub is what Brokers of one process have in common.
type hub struct {
	mu    sync.Mutex
	nodes []*hubBroker
}

// hubBroker is a Broker by memory. What it does can be made to fail, or to last.
type hubBroker struct {
	hub *hub

	mu       sync.Mutex // guards all below
	receiver ws.Receiver
	topics   map[string]bool
	asked    []string      // what it was asked to subscribe or, with a -, to end
	hangs    chan struct{} // Publish and Subscribe wait until it is closed
	fails    error         // what they return then
	most     int           // bytes of a message
	inbox    chan ws.Remote
	closed   bool
}

func (h *hub) broker() *hubBroker {
	b := &hubBroker{hub: h, topics: make(map[string]bool), most: 1 << 20, inbox: make(chan ws.Remote, 1<<16)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nodes = append(h.nodes, b)
	return b
}

func (b *hubBroker) Start(r ws.Receiver) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		return b.fails
	}
	b.receiver = r
	go b.receive()
	return nil
}

func (b *hubBroker) receive() {
	for m := range b.inbox {
		batch := []ws.Remote{m}
		for len(b.inbox) > 0 && len(batch) < 100 {
			batch = append(batch, <-b.inbox)
		}
		b.receiver.Receive(batch)
		for _, m := range batch { // nothing of it may have been kept
			clear(m.Message)
		}
	}
}

// suffer does what a test has ordered.
func (b *hubBroker) suffer() error {
	b.mu.Lock()
	hangs := b.hangs
	b.mu.Unlock()
	if hangs != nil {
		<-hangs
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fails
}

func (b *hubBroker) order(hangs chan struct{}, fails error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hangs, b.fails = hangs, fails
}

func (b *hubBroker) Subscribe(topics []string) error {
	if err := b.suffer(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		b.topics[topic] = true
	}
	b.asked = append(b.asked, topics...)
	return nil
}

func (b *hubBroker) Unsubscribe(topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		delete(b.topics, topic)
		b.asked = append(b.asked, "-"+topic)
	}
}

// askedFor returns what it was asked for about topics of the application.
func (b *hubBroker) askedFor() (asked []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range b.asked {
		if topic[0] != 0 {
			asked = append(asked, topic)
		}
	}
	return asked
}

func (b *hubBroker) Publish(topic string, message []byte) error {
	if err := b.suffer(); err != nil {
		return err
	}
	if len(message) > b.most {
		return errors.New("too large")
	}
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for _, other := range b.hub.nodes {
		if other != b {
			other.put(topic, message)
		}
	}
	return nil
}

func (b *hubBroker) put(topic string, message []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.topics[topic] && !b.closed {
		b.inbox <- ws.Remote{Topic: topic, Message: slices.Clone(message)}
	}
}

func (b *hubBroker) MaxMessage() int { return b.most }

func (b *hubBroker) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	close(b.inbox)
	return nil
}

// cluster serves some nodes with a Broker each.
func cluster(t *testing.T, n int, change func(int, *ws.Options)) (nodes []*server, brokers []*hubBroker) {
	h := new(hub)
	for i := range n {
		options := unlimited
		b := h.broker()
		options.Broker, options.NodeName = b, string(rune('A'+i))
		if change != nil {
			change(i, &options)
		}
		brokers = append(brokers, b)
		nodes = append(nodes, serve(t, setting{network: "tcp", host: true}, &recorder{}, options))
	}
	return nodes, brokers
}
