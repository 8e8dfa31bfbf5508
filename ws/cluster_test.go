package ws_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// What is broadcast, published and closed on one node reaches the clients of all.
func TestCluster(t *testing.T) {
	t.Parallel()
	nodes, _ := cluster(t, 3, nil)
	var peers []*peer
	for i, s := range nodes {
		p := s.dial(t)
		peers = append(peers, p)
		for _, topic := range []string{"news", "", "\x00", "\x00*", "every \xff byte"} {
			if err := s.Subscribe(p.id(), topic); err != nil {
				t.Fatal(err)
			}
		}
		if i == 0 {
			s.Subscribe(p.id(), "only here")
		}
	}
	a := nodes[0]
	for _, err := range []error{
		a.Broadcast("1: all"),
		a.BroadcastBinary([]byte("2: all but the first"), peers[0].id()),
		a.Publish("news", "3: all"),
		a.PublishText("", []byte("4: all")),
		a.PublishBinary("\x00", []byte("5: all")),
		a.Publish("\x00*", "6: all"),
		a.Publish("every \xff byte", "7: all"),
		nodes[1].Publish("only here", "8: the first"),
		nodes[2].Publish("nobody's", "9"),
		a.CloseTopic("news", ws.CodePolicyViolation, "signed out"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range peers {
		p.expect(frame.Text, "1: all")
		if i > 0 {
			p.expect(frame.Binary, "2: all but the first")
		}
		p.expect(frame.Text, "3: all")
		p.expect(frame.Text, "4: all")
		p.expect(frame.Binary, "5: all")
		p.expect(frame.Text, "6: all")
		p.expect(frame.Text, "7: all")
		for got := ""; got == ""; {
			switch f, err := p.read(); {
			case err != nil:
				t.Fatal(err)
			case i == 0 && f.payload == "8: the first":
			case f.Opcode == frame.Close && strings.HasSuffix(f.payload, "signed out"):
				got = f.payload
			default:
				t.Fatalf("peer %d: %v", i, f)
			}
		}
	}
}

// Who asks for presence gets what the nodes answer, and the names of those that do
// not.
func TestPresence(t *testing.T) {
	t.Parallel()
	nodes, brokers := cluster(t, 3, func(i int, o *ws.Options) {
		o.MemberName = func(id ws.ClientID) string { return fmt.Sprint(string(rune('A'+i)), id) }
	})
	for i, s := range nodes {
		for range i + 1 {
			s.Subscribe(s.dial(t).id(), "room")
		}
	}
	want := []string{"A1", "B1", "B2", "C1", "C2", "C3"}
	var got ws.Presence
	for end := time.Now().Add(patience); time.Now().Before(end) && got.Count != 6; {
		got = nodes[1].Presence("room") // they meet when they start, which may last
	}
	if slices.Sort(got.Members); got.Count != 6 || !slices.Equal(got.Members, want) || len(got.Silent) != 0 {
		t.Errorf("all are there: %+v", got)
	}
	hangs := make(chan struct{})
	defer close(hangs)
	brokers[2].order(hangs, nil)
	if got = nodes[0].Presence("room"); got.Count != 3 || !slices.Equal(got.Silent, []string{"C"}) {
		t.Errorf("one hangs: %+v", got)
	}
	if got = nodes[0].Presence("nobody's"); got.Count != 0 || !slices.Equal(got.Silent, []string{"C"}) {
		t.Errorf("an empty topic, one hangs: %+v", got)
	}
	alone := serve(t, setting{network: "tcp"}, &recorder{}, unlimited)
	alone.Subscribe(alone.dial(t).id(), "room")
	if got = alone.Presence("room"); got.Count != 1 || got.Silent != nil {
		t.Errorf("without a broker: %+v", got)
	}
}

// A broker that hangs holds nobody up: clients of the node get everything, and the
// error and OnLost say that others do not.
func TestBrokerHangs(t *testing.T) {
	t.Parallel()
	var losses atomic.Int32
	nodes, brokers := cluster(t, 2, func(_ int, o *ws.Options) {
		o.BrokerTimeout = time.Second
		o.OnLost = func() { losses.Add(1) }
	})
	s := nodes[0]
	p := s.dial(t)
	s.Subscribe(p.id(), "news")
	hangs := make(chan struct{})
	brokers[0].order(hangs, nil)
	message := strings.Repeat("x", 64<<10)
	sent := 0
	for err := error(nil); err == nil; sent++ {
		if sent > 1000 {
			t.Fatal("64 MiB wait for the broker")
		}
		err = s.Publish("news", message)
		if err != nil && !errors.Is(err, ws.ErrBroker) {
			t.Fatal(err)
		}
		p.expect(frame.Text, message)
	}
	if err := s.Subscribe(p.id(), "late"); !errors.Is(err, ws.ErrBroker) {
		t.Errorf("Subscribe: %v", err)
	}
	s.Publish("late", "here it holds")
	p.expect(frame.Text, "here it holds")
	s.awaitState(t, "nothing is lost", func(ws.State) bool { return losses.Load() > 0 })
	before := losses.Load()
	close(hangs)
	s.awaitState(t, "the late subscription is not told", func(ws.State) bool { return losses.Load() > before })
	if err := nodes[1].Publish("late", "from the other"); err != nil {
		t.Fatal(err)
	}
	for f, err := p.read(); f.payload != "from the other"; f, err = p.read() {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A topic is subscribed with its first client, and given up a while after its last
// one left: not when another comes before.
func TestInterest(t *testing.T) {
	t.Parallel()
	nodes, brokers := cluster(t, 1, nil)
	s, b := nodes[0], brokers[0]
	a, c := s.dial(t), s.dial(t)
	for _, id := range []ws.ClientID{a.id(), c.id(), a.id()} {
		s.Subscribe(id, "kept")
	}
	s.Subscribe(a.id(), "left")
	s.Unsubscribe(a.id(), "kept")
	s.Unsubscribe(c.id(), "kept")
	s.Subscribe(c.id(), "kept") // before it was given up
	a.leave()
	s.awaitState(t, "the topic is not given up", func(ws.State) bool { return slices.Contains(b.askedFor(), "-left") })
	s.Subscribe(c.id(), "left")
	if got := b.askedFor(); !slices.Equal(got, []string{"kept", "left", "-left", "left"}) {
		t.Errorf("asked for %q", got)
	}
	b.order(nil, errors.New("no"))
	s.Unsubscribe(c.id(), "left")
	go func() { time.Sleep(time.Second / 2); b.order(nil, nil) }()
	if err := s.Subscribe(c.id(), "again and again"); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

// What OnStop publishes leaves, and what the broker refuses stops the start.
func TestBrokerAtTheEnds(t *testing.T) {
	t.Parallel()
	nodes, _ := cluster(t, 2, nil)
	s := nodes[0]
	s.recorder.onStop = func() { s.Broadcast("we stop") }
	p := nodes[1].dial(t)
	s.stop(t)
	p.expect(frame.Text, "we stop")

	b := new(hub).broker()
	b.order(nil, errors.New("it is at 10.0.0.1:4222, and not there"))
	g := ws.Websocket(&recorder{}, ws.Options{Broker: b})
	if err := g.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "10.0.0.1:4222") {
		t.Errorf("Start: %v", err)
	}
}

// What the broker can never take goes nowhere; what is no envelope is counted.
func TestBrokerMessages(t *testing.T) {
	t.Parallel()
	nodes, brokers := cluster(t, 2, nil)
	s := nodes[0]
	p := s.dial(t)
	if err := s.Broadcast(strings.Repeat("x", 1<<20)); !errors.Is(err, ws.ErrBroker) {
		t.Errorf("a message that is too large: %v", err)
	}
	if err := s.Broadcast(strings.Repeat("x", 1<<20-10)); err != nil {
		t.Errorf("the largest message: %v", err)
	}
	p.expect(frame.Text, strings.Repeat("x", 1<<20-10))
	other := "\x02t12345678of another version"
	for _, message := range []string{"", "\x01", "\x01t1234567", other, "\x01?12345678", "\x01!12345678abcdefg", "\x01!1234567800000000\xff", "\x01c12345678\x03", "\x01z12345678"} {
		brokers[0].put("\x00*", []byte(message))
	}
	brokers[0].put("\x00*", []byte("\x01t12345678this one is right"))
	p.expect(frame.Text, "this one is right")
	if state := s.state().Broker; state == nil || state.Unknown != 4 || state.Received == 0 {
		t.Errorf("state %+v", state)
	}
}
