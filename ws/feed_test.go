package ws

import (
	"context"
	"fmt"
	"math/rand"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws/frame"
)

// feedPatience is how long what has to come may take.
const feedPatience = 10 * time.Second

// payloads are those of the frames that were written to a pipe.
func (p *pipe) payloads(t *testing.T) (all []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for rest := p.written; len(rest) > 0; {
		h, n, err := frame.ParseHeader(rest)
		if err != nil || n == 0 || int64(len(rest)-n) < h.Length {
			t.Fatalf("% x is no frame", rest[:min(20, len(rest))])
		}
		all = append(all, string(rest[n:n+int(h.Length)]))
		rest = rest[n+int(h.Length):]
	}
	return all
}

// awaitDelivery waits until nothing is left to be delivered.
func awaitDelivery(t *testing.T, e *Endpoint) {
	t.Helper()
	for end := time.Now().Add(feedPatience); ; time.Sleep(20 * time.Microsecond) {
		if !e.feed.pending() {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the delivery takes too long")
		}
	}
}

// pending reports whether something is left to be delivered.
func (f *feed[C]) pending() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.batches) > 0
}

func numbered(number int) string { return fmt.Sprint("message ", number) }

// slowPipe is a pipe each write to which needs a permit.
type slowPipe struct {
	pipe
	permits chan struct{}
}

func (p *slowPipe) TryWrite(b []byte) (int, error) {
	if p.permits != nil {
		<-p.permits
	}
	return p.pipe.TryWrite(b)
}

func openSlowPipe(e *Endpoint) *slowPipe {
	p := new(slowPipe)
	p.transport, p.endpoint = p, e
	e.opened(&p.conn, &arrival{})
	p.written, p.permits = nil, make(chan struct{})
	return p
}

// within fails the test unless something ends in time.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(feedPatience):
		t.Errorf("%s is held up", what)
	}
}

// A publisher delivers nothing itself, neither its own message nor what others
// publish meanwhile.
func TestPublisherGoesOn(t *testing.T) {
	e := newEndpoint(&functions{}, Options{})
	p := openSlowPipe(e)
	first := make(chan struct{})
	go func() { defer close(first); e.Broadcast("first") }()
	p.permits <- struct{}{} // it is being delivered, as far as it can be seen here
	within(t, "the first publisher", func() { <-first })
	go func() { e.Broadcast("second") }()
	for e.feed.count.Load() < 2 {
		time.Sleep(time.Microsecond)
	}
	within(t, "the third publisher", func() { e.Broadcast("third") })
	within(t, "the fourth publisher", func() { e.Broadcast("fourth") })
	close(p.permits)
	awaitDelivery(t, e)
	if got := p.payloads(t); !slices.Equal(got, []string{"first", "second", "third", "fourth"}) {
		t.Errorf("got %q", got)
	}
}

// While one message is delivered, its publisher and no other waits for that.
func TestPublisherIsReplaced(t *testing.T) {
	e := newEndpoint(&functions{}, Options{})
	p := openSlowPipe(e)
	first := make(chan struct{})
	go func() { defer close(first); e.Broadcast("first") }()
	for e.feed.count.Load() < 1 {
		time.Sleep(time.Microsecond)
	}
	for n := range 10 {
		e.Broadcast(numbered(n))
	}
	p.permits <- struct{}{} // the rest still waits
	within(t, "the publisher", func() { <-first })
	close(p.permits)
	awaitDelivery(t, e)
}

// A delivery that takes long holds up neither who ended a turn, nor who looks for
// events, nor a handler that publishes.
func TestBystanderOfDelivery(t *testing.T) {
	for _, engine := range []Engine{EngineEpoll, EnginePortable} {
		t.Run(fmt.Sprint(engine), func(t *testing.T) {
			f := new(functions)
			g := Websocket(f, Options{Engine: engine})
			e := g.Endpoint()
			f.onData = func(id ClientID, m *Message) {
				text, _ := m.Text()
				if text == "publish" {
					e.Broadcast("published")
				}
				e.Send(text, id)
			}
			f.onClose = func(ClientID, Code, string) {}
			server := httptest.NewServer(g)
			defer server.Close()
			ctx, cancel := context.WithTimeout(context.Background(), 2*feedPatience)
			defer cancel()
			slow := openSlowPipe(e)
			var clients []*Conn
			for range 2 {
				c, _, err := Dial(ctx, "ws"+strings.TrimPrefix(server.URL, "http"))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close(CodeNormal, "")
				clients = append(clients, c)
			}
			for n := range 3 {
				for i, c := range clients {
					for _, text := range []string{"publish", numbered(n)} {
						if err := c.Write(ctx, text); err != nil {
							t.Fatal(err)
						}
						for got := ""; got != text; {
							data, _, err := c.Read(ctx)
							if err != nil {
								close(slow.permits)
								t.Fatalf("client %d waits for %q: %v", i, text, err)
							}
							got = string(data)
						}
					}
				}
			}
			close(slow.permits)
			awaitDelivery(t, e)
			slow.end()
			for _, c := range clients {
				c.Close(CodeNormal, "")
			}
			g.Stop(ctx)
		})
	}
}

// Compressing one message holds up no other.
func TestSmallBroadcastBesidesLarge(t *testing.T) {
	e := newEndpoint(&functions{}, Options{Compression: true, CompressionLevel: 9, MaxQueuedBytes: -1})
	openPipe(e, &pipe{mute: true}, 15)
	large := make([]byte, 128<<10)
	if Raced() {
		large = large[:32<<10]
	}
	for i := range large {
		large[i] = 'a' + byte(rand.Intn(2)) // slow to compress
	}
	var took atomic.Int64
	go func() {
		began := time.Now()
		e.BroadcastText(large)
		took.Store(int64(time.Since(began)))
	}()
	longest := time.Duration(0)
	for took.Load() == 0 {
		began := time.Now()
		e.Broadcast("small")
		longest = max(longest, time.Since(began))
		time.Sleep(time.Millisecond)
	}
	if longest > time.Duration(took.Load())/2 {
		t.Errorf("a small broadcast took %v besides one of %v", longest, time.Duration(took.Load()))
	}
}

// Nothing is compressed for an audience in which nobody inflates.
func TestNobodyInflates(t *testing.T) {
	message := strings.Repeat("compressible ", 1000)
	e := newEndpoint(&functions{}, Options{Compression: true})
	plain, narrow, inflating := openPipe(e, new(pipe), 0), openPipe(e, new(pipe), 9), openPipe(e, new(pipe), 15)
	e.Subscribe(plain.id, "plain")
	e.Subscribe(narrow.id, "plain")
	e.Subscribe(plain.id, "both")
	e.Subscribe(inflating.id, "both")
	e.Subscribe(inflating.id, "left")
	e.Subscribe(plain.id, "left")
	e.Unsubscribe(inflating.id, "left")
	for _, test := range []struct {
		name    string
		publish func()
		deflate bool
	}{
		{"Broadcast", func() { e.Broadcast(message) }, true},
		{"Broadcast of little", func() { e.Broadcast("little") }, false},
		{"Publish to some who do", func() { e.Publish("both", message) }, true},
		{"Publish to nobody who does", func() { e.Publish("plain", message) }, false},
		{"Publish to nobody who still does", func() { e.Publish("left", message) }, false},
		{"Multicast to some who do", func() { e.Multicast(message, plain.id, inflating.id) }, true},
		{"Multicast to nobody who does", func() { e.Multicast(message, plain.id, narrow.id) }, false},
		{"Broadcast when all have left", func() { inflating.end(); e.Broadcast(message) }, false},
	} {
		f := &e.feed
		f.mu.Lock()
		f.delivering = true // as if somebody did
		f.mu.Unlock()
		test.publish()
		f.mu.Lock()
		if deflated := f.batches[0].deflated.ends != nil; deflated != test.deflate {
			t.Errorf("%s: compressed is %v", test.name, deflated)
		}
		f.delivering = false
		e.deliverLater()
		f.mu.Unlock()
		awaitDelivery(t, e)
	}
}

// Each publisher's messages keep their order, whoever delivers them.
func TestOrderOfPublishers(t *testing.T) {
	const publishers, messages = 4, 300
	e := newEndpoint(&functions{}, Options{Compression: true, CompressionThreshold: 1, MaxQueuedBytes: -1, MaxQueuedMessages: -1})
	var pipes []*pipe
	for range 20 {
		p := openPipe(e, new(pipe), 0)
		e.Subscribe(p.id, "topic")
		pipes = append(pipes, p)
	}
	var group sync.WaitGroup
	for publisher := range publishers {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := range messages {
				if publisher%2 == 0 { // in turns
					e.busy.Add(1)
					defer e.endTurn()
				}
				text := fmt.Sprint(publisher, " ", n)
				switch n % 3 {
				case 0:
					e.Broadcast(text, pipes[n%len(pipes)].id)
				case 1:
					e.Publish("topic", text, pipes[n%len(pipes)].id)
				default:
					e.Multicast(text, pipes[0].id, pipes[1].id, pipes[0].id)
					e.Send(text, pipes[2].id)
				}
			}
		}()
	}
	group.Wait()
	awaitDelivery(t, e)
	for i, p := range pipes {
		var next [publishers]int
		for _, text := range p.payloads(t) {
			var publisher, n int
			fmt.Sscan(text, &publisher, &n)
			if n < next[publisher] {
				t.Fatalf("client %d got message %d of publisher %d behind %d", i, n, publisher, next[publisher])
			}
			for ; next[publisher] < n; next[publisher]++ {
				if missed := next[publisher]; missed%3 < 2 && missed%len(pipes) != i || missed%3 == 2 && i < 3 {
					t.Fatalf("client %d did not get message %d of publisher %d", i, missed, publisher)
				}
			}
			next[publisher]++
		}
	}
}

// Messages to many topics that wait together leave together: one write for each
// client, however few or many there are in a topic, and in order.
func TestTopicsLeaveTogether(t *testing.T) {
	for _, test := range []struct{ topics, members, rounds int }{{500, 2, 8}, {3, 700, 10}, {2, 1, 300}} {
		t.Run(fmt.Sprint(test.topics, " topics of ", test.members), func(t *testing.T) {
			e := newEndpoint(&functions{}, Options{})
			var pipes []*pipe
			for n := range test.topics * test.members {
				p := openPipe(e, &pipe{}, 0)
				e.Subscribe(p.id, numbered(n%test.topics))
				e.Subscribe(p.id, "all")
				pipes = append(pipes, p)
			}
			e.soon.after = time.Hour
			e.busy.Add(1) // a turn, so that nothing is delivered meanwhile
			want := make([][]string, test.topics)
			for round := range test.rounds {
				for n := range test.topics {
					e.Publish(numbered(n), numbered(round))
					want[n] = append(want[n], numbered(round))
				}
			}
			e.endTurn()
			awaitDelivery(t, e)
			for n, p := range pipes {
				if got := p.payloads(t); !slices.Equal(got, want[n%test.topics]) || p.writes != 1 {
					t.Fatalf("client %d got %q in %d writes", n, got, p.writes)
				}
			}
		})
	}
}

// What is held for a client is no reason to find it slow, and no reason to copy
// without bounds.
func TestHeldIsNotLate(t *testing.T) {
	e := newEndpoint(&functions{}, Options{MaxQueuedBytes: 1000, MaxQueuedMessages: 3})
	p := openPipe(e, &pipe{}, 0)
	e.Subscribe(p.id, "a")
	e.Subscribe(p.id, "b")
	e.busy.Add(1)
	for n := range 500 {
		e.Publish("a", numbered(n))
		e.Publish("b", string(make([]byte, 3000)))
	}
	e.endTurn()
	awaitDelivery(t, e)
	if got := p.payloads(t); len(got) != 1000 || p.closing.Load() != nil {
		t.Errorf("got %d messages, closing %v", len(got), p.closing.Load())
	}
}
