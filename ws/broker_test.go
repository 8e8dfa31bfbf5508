package ws_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws"
)

// wild is a Broker that keeps to none of the rules that it can break.
type wild struct {
	*hubBroker
	start func(ws.Receiver) error
	to    ws.Receiver
}

func (b *wild) Start(to ws.Receiver) error {
	b.to = to
	return b.start(to)
}

func (b *wild) Close() error { return nil }

// quiet is a log for what a test provokes.
var quiet = slog.New(slog.DiscardHandler)

// A Broker that calls too early, too late and from everywhere at once does no harm.
func TestWildBroker(t *testing.T) {
	t.Parallel()
	storm := func(to ws.Receiver) {
		var group sync.WaitGroup
		for worker := range 8 {
			group.Add(1)
			go func() {
				defer group.Done()
				for n := range 200 {
					kind := "tbcqh?!"[(n+worker)%7]
					message := fmt.Sprintf("\x01%c%08d\x0f\xa1\x00\x00\x00\x00\x00\x00%d", kind, worker, n)
					to.Receive([]ws.Remote{{Topic: "news", Message: []byte(message)}, {Topic: "\x00*", Message: []byte(message)}})
					to.Lost()
				}
			}()
		}
		group.Wait()
	}
	b := &wild{hubBroker: new(hub).broker()}
	b.start = func(to ws.Receiver) error { storm(to); return nil }
	var started atomic.Bool
	options := unlimited
	options.Broker, options.MemberName = b, func(ws.ClientID) string { return "somebody" }
	options.OnLost = func() {
		if !started.Load() {
			t.Error("OnLost is called before OnStart has returned")
		}
	}
	r := &recorder{onStart: func(*ws.Endpoint) error { storm(b.to); started.Store(true); return nil }}
	s := serve(t, setting{network: "tcp"}, r, options)
	p := s.dial(t)
	s.Subscribe(p.id(), "news")
	asked := make(chan bool)
	go func() {
		defer close(asked)
		for range 5 {
			s.Presence("news")
		}
	}()
	storm(b.to)
	<-asked
	s.stop(t)
	storm(b.to)
}

// A Broker that does not start stops the start, and nothing else: the next one may
// succeed.
func TestBrokerStarts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		start   func(ws.Receiver) error
		message string
	}{
		"error": {func(ws.Receiver) error { return errors.New("no route") }, "no route"},
		"panic": {func(ws.Receiver) error { panic("oops") }, "panicked"},
	} {
		b := &wild{hubBroker: new(hub).broker(), start: test.start}
		options := unlimited
		options.Broker, options.Logger = b, quiet
		s := serve(t, setting{network: "tcp"}, &recorder{}, options)
		if err := s.gateway.Start(context.Background()); err == nil || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: %v", name, err)
		}
		b.start = func(ws.Receiver) error { return nil }
		if err := s.gateway.Start(context.Background()); err != nil {
			t.Errorf("behind %s: %v", name, err)
		}
		s.dial(t).leave()
	}
}

// A Broker that hangs holds up neither the stop, nor a start that fails, for longer
// than Options.BrokerTimeout.
func TestBrokerHangsAtTheEnds(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"stop": nil, "start": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := new(hub).broker()
			hangs := make(chan struct{})
			t.Cleanup(func() { close(hangs) })
			options := unlimited
			options.Broker, options.BrokerTimeout, options.Logger = b, 100*time.Millisecond, quiet
			r := &recorder{onStart: func(e *ws.Endpoint) error {
				b.order(hangs, nil)
				e.Broadcast("to nobody")
				return failure
			}}
			g := ws.Websocket(r, options)
			if err := g.Start(context.Background()); err != failure {
				t.Errorf("Start: %v", err)
			}
			g.Stop(context.Background())
		})
	}
}

// A node that did not answer for a while is asked again once it is there.
func TestPresenceComesBack(t *testing.T) {
	t.Parallel()
	nodes, brokers := cluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	b.Subscribe(b.dial(t).id(), "room")
	all := func() bool { p := a.Presence("room"); return p.Count == 1 && len(p.Silent) == 0 }
	a.awaitState(t, "they do not meet", func(ws.State) bool { return all() })
	hangs := make(chan struct{})
	brokers[1].order(hangs, nil)
	var group sync.WaitGroup
	for range 10 { // as one
		group.Add(1)
		go func() {
			defer group.Done()
			if p := a.Presence("room"); p.Count != 0 || len(p.Silent) != 1 {
				t.Errorf("one hangs: %+v", p)
			}
		}()
	}
	group.Wait()
	for range 2 {
		a.Presence("room")
	}
	if p := a.Presence("room"); p.Count != 0 || len(p.Silent) != 0 {
		t.Errorf("it is not forgotten: %+v", p)
	}
	close(hangs)
	a.awaitState(t, "it does not come back", func(ws.State) bool { return all() })
}

// A MemberName that panics costs its names, and nothing else.
func TestMemberNamePanics(t *testing.T) {
	t.Parallel()
	nodes, _ := cluster(t, 2, func(i int, o *ws.Options) {
		o.Logger, o.MemberName = quiet, func(ws.ClientID) string {
			if i == 1 {
				panic("oops")
			}
			return "A"
		}
	})
	for _, s := range nodes {
		s.Subscribe(s.dial(t).id(), "room")
	}
	nodes[0].awaitState(t, "the other's count does not come", func(ws.State) bool {
		p := nodes[0].Presence("room")
		return p.Count == 2 && len(p.Members) == 1
	})
}

// A reason is cut before it goes to other nodes: the broker takes every CloseTopic.
func TestCloseTopicWithALongReason(t *testing.T) {
	t.Parallel()
	nodes, brokers := cluster(t, 2, nil)
	p := nodes[1].dial(t)
	nodes[1].Subscribe(p.id(), "news")
	brokers[0].most = 200
	if err := nodes[0].CloseTopic("news", ws.CodePolicyViolation, strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	if reason := p.expectClose(ws.CodePolicyViolation); reason != strings.Repeat("x", 123) {
		t.Errorf("reason %q", reason)
	}
}
