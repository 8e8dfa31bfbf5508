package ws_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// What is published to a topic reaches those who are in it, and nobody else.
func TestTopics(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		a, b, c := s.dial(t), s.dial(t), s.dial(t)
		for _, err := range []error{
			s.Subscribe(a.id(), "news"), s.Subscribe(a.id(), "news"), s.Subscribe(a.id(), "sport"),
			s.Subscribe(b.id(), "news"), s.Subscribe(c.id(), "sport"),
			s.Publish("news", "1: a and b"),
			s.Publish("nobody's", "2"),
			s.Publish("news", "3: b", a.id()),
			s.Unsubscribe(b.id(), "news"), s.Unsubscribe(b.id(), "news"), s.Unsubscribe(b.id(), "nobody's"),
			s.Publish("news", "4: a"),
			s.Publish("sport", "5: a and c"),
			s.Multicast("6: b and c", b.id(), c.id()),
			s.Broadcast("7: a and c", b.id()),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		s.PublishBinary("sport", []byte("8: a"), c.id())
		s.BroadcastBinary([]byte("9: all"))
		s.MulticastBinary([]byte("10: b"), b.id(), 1<<40)
		a.expect(frame.Text, "1: a and b")
		a.expect(frame.Text, "4: a")
		a.expect(frame.Text, "5: a and c")
		a.expect(frame.Text, "7: a and c")
		a.expect(frame.Binary, "8: a")
		a.expect(frame.Binary, "9: all")
		b.expect(frame.Text, "1: a and b")
		b.expect(frame.Text, "3: b")
		b.expect(frame.Text, "6: b and c")
		b.expect(frame.Binary, "9: all")
		b.expect(frame.Binary, "10: b")
		c.expect(frame.Text, "5: a and c")
		c.expect(frame.Text, "6: b and c")
		c.expect(frame.Text, "7: a and c")
		c.expect(frame.Binary, "9: all")

		if topics := slices.Sorted(slices.Values(s.Topics(a.id()))); !slices.Equal(topics, []string{"news", "sport"}) {
			t.Errorf("a is subscribed to %q", topics)
		}
		if topics := s.Topics(b.id()); len(topics) != 0 {
			t.Errorf("b is subscribed to %q", topics)
		}
		if state := s.gateway.Monitor().(ws.State); state.Topics != 2 || state.Active != 3 {
			t.Errorf("%d topics and %d clients, not 2 and 3", state.Topics, state.Active)
		}
		for _, p := range []*peer{a, b, c} {
			p.leave()
			p.awaitOnClose()
		}
		if state := s.gateway.Monitor().(ws.State); state.Topics != 0 || state.Closed[ws.CodeNormal] != 3 {
			t.Errorf("clients that left are in %d topics; closed %v", state.Topics, state.Closed)
		}
	})
}

// Clients that are gone, and text that is none, are errors.
func TestTopicErrors(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		p := s.dial(t)
		for what, got := range map[string]error{
			"Subscribe":   s.Subscribe(1<<40, "x"),
			"Unsubscribe": s.Unsubscribe(1<<40, "x"),
		} {
			if !errors.Is(got, ws.ErrClosed) {
				t.Errorf("%s: %v, not ErrClosed", what, got)
			}
		}
		for what, got := range map[string]error{
			"Publish":       s.Publish("x", "\xff"),
			"Broadcast":     s.Broadcast("\xff"),
			"BroadcastText": s.BroadcastText([]byte("\xff")),
			"Multicast":     s.Multicast("\xff", p.id()),
			"Send":          s.Send("\xff", p.id()),
			"SendText":      s.SendText([]byte("\xff"), p.id()),
		} {
			if !errors.Is(got, ws.ErrInvalidText) {
				t.Errorf("%s: %v, not ErrInvalidText", what, got)
			}
		}
		s.CloseTopic("nobody's", ws.CodeNormal, "")
		if s.Topics(1<<40) != nil {
			t.Error("a client that is gone has topics")
		}
		s.Close(p.id(), ws.CodeNormal, "")
		if err := s.Subscribe(p.id(), "x"); !errors.Is(err, ws.ErrClosed) {
			t.Errorf("Subscribe while closing: %v", err)
		}
		p.expectClose(ws.CodeNormal)
	})
}

// Whatever way messages go, a client gets those of one sender in the order in
// which they were sent, exactly those meant for it.
func TestOrderOfOneSender(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		s := serve(t, at, &recorder{}, unlimited)
		const clients, senders, messages = 4, 3, 200
		var peers []*peer
		for i := range clients {
			p := s.dial(t)
			peers = append(peers, p)
			if i%2 == 0 {
				s.Subscribe(p.id(), "even")
			}
		}
		want := make([][clients][]string, senders)
		var group sync.WaitGroup
		for sender := range senders {
			group.Add(1)
			go func() {
				defer group.Done()
				random := rand.New(rand.NewPCG(seed, uint64(sender)))
				for n := range messages {
					text := fmt.Sprintf("%d %d", sender, n)
					one := random.IntN(clients)
					var to []int
					switch random.IntN(5) {
					case 0:
						s.Send(text, peers[one].id())
						to = []int{one}
					case 1:
						s.Broadcast(text)
						to = []int{0, 1, 2, 3}
					case 2:
						s.Broadcast(text, peers[one].id())
						to = slices.DeleteFunc([]int{0, 1, 2, 3}, func(i int) bool { return i == one })
					case 3:
						s.Publish("even", text)
						to = []int{0, 2}
					case 4:
						s.Multicast(text, peers[one].id(), peers[(one+1)%clients].id())
						to = []int{one, (one + 1) % clients}
					}
					for _, i := range to {
						want[sender][i] = append(want[sender][i], text)
					}
				}
			}()
		}
		group.Wait()
		for i, p := range peers {
			got := make([][]string, senders)
			for range len(want[0][i]) + len(want[1][i]) + len(want[2][i]) {
				m, err := p.read()
				if err != nil {
					t.Fatal(err)
				}
				var sender, n int
				fmt.Sscan(m.payload, &sender, &n)
				got[sender] = append(got[sender], m.payload)
			}
			for sender := range senders {
				if !slices.Equal(got[sender], want[sender][i]) {
					t.Errorf("client %d got of sender %d\n%q, not\n%q", i, sender, got[sender], want[sender][i])
				}
			}
			p.leave()
		}
	})
}

// Who closes a topic closes all its clients, behind what they were sent, and no
// others. In OnClose the topics of a client are still known, and left already.
func TestCloseTopic(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		type end struct {
			topics []string
			left   int
			err    error
		}
		r, ends := &recorder{}, make(chan end, 2)
		r.onClose = func(id ws.ClientID, _ ws.Code, _ string) {
			of := slices.Sorted(slices.Values(r.endpoint.Topics(id)))
			ends <- end{of, r.endpoint.Count("tab"), r.endpoint.Unsubscribe(id, "tab")}
		}
		s := serve(t, at, r, unlimited)
		a, b, c := s.dial(t), s.dial(t), s.dial(t)
		for _, p := range []*peer{a, b} {
			s.Subscribe(p.id(), "user:42")
		}
		s.Subscribe(a.id(), "tab")
		s.Subscribe(c.id(), "tab")
		s.Publish("user:42", "bye")
		s.CloseTopic("user:42", ws.CodePolicyViolation, "signed out")
		for _, p := range []*peer{a, b} {
			p.expect(frame.Text, "bye")
			p.expectClose(ws.CodePolicyViolation)
		}
		s.Send("still here", c.id())
		c.expect(frame.Text, "still here")
		got := map[int]end{}
		for range 2 {
			e := <-ends
			got[len(e.topics)] = e
		}
		if of := got[2]; !slices.Equal(of.topics, []string{"tab", "user:42"}) || of.left != 1 {
			t.Errorf("OnClose of who was in two topics: %+v", of)
		}
		if of := got[1]; !slices.Equal(of.topics, []string{"user:42"}) {
			t.Errorf("OnClose of who was in one topic: %+v", of)
		}
		if s.Count("user:42") != 0 || s.Count("tab") != 1 {
			t.Errorf("%d and %d are left", s.Count("user:42"), s.Count("tab"))
		}
	})
}
