package nats_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/nats"
)

// Whatever a node publishes reaches the clients of all, once.
func TestMessages(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	nodes := three(t, s.first)
	topics := []string{"news", "", "\x00", "a.b", "*", ">", "a b\r\n", "ü", strings.Repeat("long ", 100), "=41", "A", "a"}
	var clients []*client
	for _, n := range nodes {
		clients = append(clients, dial(t, n.url, topics...))
	}
	for _, topic := range topics {
		nodes[0].Publish(topic, "to "+topic)
		for _, c := range clients {
			c.expect("to " + topic)
		}
	}
	nodes[1].BroadcastBinary([]byte("to all"))
	for _, c := range clients {
		c.expect("to all")
	}
	nodes[2].CloseTopic("news", ws.CodePolicyViolation, "signed out")
	for _, c := range clients {
		if got, open := <-c.got; open {
			t.Errorf("got %q", got)
		}
	}
}

// A subscription that was asked for is there: nothing is missed that is published
// elsewhere from then on.
func TestSubscribeThenPublishElsewhere(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	c := dial(t, here.url, "all")
	var id ws.ClientID
	for of := range here.Clients() {
		id = of
	}
	for n := range 10_000 {
		topic := fmt.Sprint("topic ", n)
		if err := here.Subscribe(id, topic); err != nil {
			t.Fatal(err)
		}
		there.Publish(topic, topic)
		c.expect(topic)
		here.Unsubscribe(id, topic)
	}
	eventually(t, "the topics are given up", func() bool { return here.gateway.Monitor().(ws.State).Broker.Topics == 3+1 })
}

// For each publisher and topic, order is kept on every node.
func TestOrder(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	nodes := three(t, s.first)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const topics, messages = 5, 2000
	var clients []*client
	for _, n := range nodes {
		for topic := range topics {
			clients = append(clients, dial(t, n.url, fmt.Sprint(topic)))
		}
	}
	var publishers sync.WaitGroup
	for p, n := range nodes {
		random := rand.New(rand.NewPCG(seed, uint64(p)))
		publishers.Add(1)
		go func() {
			defer publishers.Done()
			var sent [topics]int
			for slices.Min(sent[:]) < messages {
				if topic := random.IntN(topics); sent[topic] < messages {
					n.Publish(fmt.Sprint(topic), fmt.Sprintf("%d %d", p, sent[topic]))
					sent[topic]++
				}
			}
		}()
	}
	publishers.Wait()
	for i, c := range clients {
		var next [3]int
		for range 3 * messages {
			text := <-c.got
			var p, number int
			if fmt.Sscanf(text, "%d %d", &p, &number); next[p] != number {
				t.Fatalf("client %d got %q, want %d of %d", i, text, next[p], p)
			}
			next[p]++
		}
	}
}

// Topics that come and go by the thousand leave nothing behind, and those that stay
// are there.
func TestTopicsComeAndGo(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	c := dial(t, here.url, "stays")
	var id ws.ClientID
	for of := range here.Clients() {
		id = of
	}
	began := time.Now()
	var group sync.WaitGroup
	for worker := range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range 200 {
				topic := fmt.Sprint("topic ", worker, " ", n)
				if err := here.Subscribe(id, topic); err != nil {
					t.Error(err)
				}
				if n%2 == 0 {
					here.Unsubscribe(id, topic)
				}
			}
		}()
	}
	group.Wait()
	t.Logf("20,000 subscriptions, half of them ended again, in %v", time.Since(began).Round(time.Millisecond))
	eventually(t, "half of them go", func() bool { return here.gateway.Monitor().(ws.State).Broker.Topics == 3+1+10_000 })
	there.Publish("topic 99 199", "one of those that stay")
	c.expect("one of those that stay")
	there.Publish("topic 99 198", "one of those that went")
	there.Publish("stays", "the end")
	c.expect("the end")
}

// What OnStop says arrives. A server that is not there is an error which names it,
// or waited for.
func TestAtTheEnds(t *testing.T) {
	address := freeAddress(t)
	s := natsServer(t, address)
	a, b := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	a.stops = func() { a.Broadcast("we stop") }
	c := dial(t, b.url)
	a.stop()
	c.expect("we stop")

	absent := freeAddress(t)
	n := newNode(nats.New("nats://" + absent))
	if err := n.gateway.Start(context.Background()); err == nil || !strings.Contains(err.Error(), absent) {
		t.Errorf("no server: %v", err)
	}
	waiting := run(t, nats.New("nats://"+absent, nats.Options{Wait: true}))
	d := dial(t, waiting.url)
	if err := waiting.Broadcast("here"); err != nil {
		t.Errorf("while it waits: %v", err)
	}
	d.expect("here")
	eventually(t, "it is told what is lost", func() bool { return waiting.losses.Load() > 0 })
	before := waiting.losses.Load()
	if state := waiting.gateway.Monitor().(ws.State).Broker; state.Connected != 0 {
		t.Errorf("while it waits: %+v", state)
	}
	natsServer(t, absent)
	eventually(t, "it is told that the server is there", func() bool { return waiting.losses.Load() > before })
	other := run(t, nats.New("nats://"+absent))
	meet(t, dial(t, other.url, "x"), dial(t, waiting.url, "x"), "x")
	if state := waiting.gateway.Monitor().(ws.State).Broker; state.Connected != 1 || state.Received == 0 || state.LastLost.IsZero() {
		t.Errorf("when it is there: %+v", state)
	}
}
