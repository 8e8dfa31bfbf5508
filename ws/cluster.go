package ws

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"aerys/ws/frame"
)

// This file joins the nodes of an application: what goes to clients here goes to
// other nodes, too, and what comes from them to the clients here.

// connect begins to talk with Options.Broker, if there is one.
func (e *Endpoint) connect() error {
	o := e.options
	if o.Broker == nil {
		return nil
	}
	l := newLink(o.Broker, rand.Uint64(), e.lost)
	l.receive, l.around = e.receive, e.together
	err := errors.New("it panicked: the log has its stack")
	e.contain("Options.Broker.Start", func() { err = o.Broker.Start(l) })
	if err != nil {
		return fmt.Errorf("ws: Options.Broker does not start: %w", err)
	}
	e.topics.observe(func(name string) { l.interest.want(outward(name)) }, func(name string) { l.interest.release(outward(name)) })
	e.link.Store(l)
	l.start()
	own := []string{everyTopic, nodesTopic, nodeTopic(l.node)}
	for _, topic := range own {
		l.interest.want(topic)
	}
	for _, topic := range own {
		if err := l.interest.wait(topic, o.BrokerTimeout); err != nil {
			o.Logger.Warn("ws: the broker is not there yet; other nodes are not heard")
			break
		}
	}
	e.sayHello()
	return nil
}

// disconnect ends that, when all clients are gone. The broker has as long as
// Options.BrokerTimeout to take what is queued.
func (e *Endpoint) disconnect(ctx context.Context) {
	l := e.link.Swap(nil)
	if l == nil {
		return
	}
	l.open.Store(false)
	e.topics.observe(nil, nil)
	forward(l, byeKind, nodesTopic, "")
	ctx, cancel := context.WithTimeout(ctx, e.options.BrokerTimeout)
	defer cancel()
	l.flush(ctx.Done())
	if err := l.close(); err != nil {
		e.options.Logger.Error("ws: closing the broker", "error", err)
	}
	e.nodes.clear()
}

func (e *Endpoint) sayHello() {
	if l := e.link.Load(); l != nil {
		forward(l, helloKind, nodesTopic, e.options.NodeName)
	}
}

// lost is called when messages from or to other nodes may have been lost. Nodes may
// have come meanwhile.
func (e *Endpoint) lost() {
	e.sayHello()
	if e.options.OnLost != nil {
		e.contain("Options.OnLost", e.options.OnLost)
	}
}

// together delivers what is published meanwhile when it returns.
func (e *Endpoint) together(publish func()) {
	e.busy.Add(1)
	defer e.flushFeed()
	defer e.busy.Add(-1)
	publish()
}

// everywhere publishes a message here, and has the broker take it to other nodes.
// What the broker can never take is published nowhere.
func everywhere[T string | []byte](l *link, topic string, opcode frame.Opcode, payload T, here func() error) error {
	if err := l.admits(len(payload)); err != nil {
		return err
	}
	if err := here(); err != nil {
		return err
	}
	kind := binaryKind
	if opcode == frame.Text {
		kind = textKind
	}
	return forward(l, kind, topic, payload)
}

// receive delivers what another node has sent.
func (e *Endpoint) receive(kind envelopeKind, node uint64, topic string, payload []byte) {
	switch kind {
	case textKind:
		e.deliverRemote(topic, frame.Text, payload)
	case binaryKind:
		e.deliverRemote(topic, frame.Binary, payload)
	case closeKind:
		if name, ok := inward(topic); ok && len(payload) >= 2 {
			e.closeHere(name, Code(binary.BigEndian.Uint16(payload)), string(payload[2:]))
		}
	case helloKind:
		if e.nodes.meet(node, string(payload)) || topic != nodesTopic { // it has forgotten us
			e.sayHello()
		}
	case byeKind:
		e.nodes.forget(node)
	case askKind:
		if len(payload) >= 4 {
			e.answer(node, binary.BigEndian.Uint32(payload), string(payload[4:]))
		}
	case answerKind:
		if number, count, names, ok := parseAnswer(payload); ok {
			e.nodes.answered(node, number, count, names)
		}
	}
}

func (e *Endpoint) deliverRemote(topic string, opcode frame.Opcode, payload []byte) {
	if topic == everyTopic {
		publish(e, everyone{&e.table.roster}, opcode, payload, nil)
	} else if name, ok := inward(topic); ok {
		publishHere(e, name, opcode, payload, nil)
	}
}

// Presence asks all nodes who is subscribed to a topic. It waits for them, a
// quarter of a second at most: nothing about other nodes' clients is kept here, and so nothing of
// it is out of date. Without Options.Broker it is about this node.
func (e *Endpoint) Presence(topic string) Presence {
	here := e.presenceHere(topic)
	l := e.link.Load()
	if l == nil {
		return here
	}
	a, number, question := e.nodes.begin(topic, here)
	forward(l, askKind, nodesTopic, question)
	select {
	case <-a.done:
	case <-time.After(answerPeriod):
	}
	answer, forgotten := e.nodes.end(a, number)
	for _, node := range forgotten { // it may be there after all
		forward(l, helloKind, nodeTopic(node), e.options.NodeName)
	}
	return answer
}

func (e *Endpoint) presenceHere(topic string) Presence {
	here := Presence{Count: e.Count(topic)}
	if name := e.options.MemberName; name != nil {
		for id := range e.Members(topic) {
			if member := name(id); member != "" {
				here.Members = append(here.Members, member)
			}
		}
	}
	return here
}

// mostAnswer is how many bytes an answer has at most, if the broker takes as many.
const mostAnswer = 256 << 10

func (e *Endpoint) answer(node uint64, number uint32, topic string) {
	l := e.link.Load()
	if l == nil {
		return
	}
	most := mostAnswer
	for most > 0 && l.admits(most) != nil {
		most /= 2
	}
	here := Presence{Count: e.Count(topic)}
	e.contain("Options.MemberName", func() { here = e.presenceHere(topic) })
	forward(l, answerKind, nodeTopic(node), appendAnswer(nil, number, here.Count, here.Members, most))
}
