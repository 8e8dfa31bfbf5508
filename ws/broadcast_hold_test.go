package ws

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"aerys/ws/frame"
)

// byHand delivers what is published, step by step.
type byHand struct {
	*Endpoint
	d       delivery
	batches []*batch[conn] // sealed, and not yet with everybody
	at      int            // of them
}

func deliverByHand(e *Endpoint) *byHand {
	e.busy.Add(1) // whatever is published waits
	e.soon.armed.Store(true)
	return &byHand{Endpoint: e}
}

// step gives the clients one batch more, or lets them have what they got.
func (h *byHand) step() {
	f := &h.feed
	switch {
	case h.at < len(h.batches):
		h.batches[h.at].to.spread(func(c *conn) { h.d.hold(c, h.batches[h.at]) })
		h.at++
	case h.at > 0:
		h.d.letGo()
		f.mu.Lock()
		f.drop(h.at)
		f.mu.Unlock()
		h.batches, h.at = nil, 0
	default:
		f.mu.Lock()
		h.batches = f.seal()
		f.mu.Unlock()
	}
}

// all delivers all there is.
func (h *byHand) all() {
	for h.at > 0 || h.feed.pending() {
		h.step()
	}
}

// script does at random what may be sent to a client, and notes in which order it is to
// come.
type script struct {
	*byHand
	*rand.Rand
	id     ClientID
	sent   []string
	stream *Writer
	whole  bool // there are no streams, behind which others have to wait
}

// text is that of the next message.
func (s *script) text() string {
	text := fmt.Sprint(len(s.sent), " ")
	if s.IntN(10) == 0 {
		text += strings.Repeat("x", s.IntN(2*bufferSize))
	}
	s.sent = append(s.sent, text)
	return text
}

func (s *script) next() error {
	switch s.IntN(12) {
	case 0, 1:
		return s.Broadcast(s.text())
	case 2, 3:
		return s.Publish("topic", s.text())
	case 4:
		return s.Multicast(s.text(), s.id)
	case 5:
		return s.Broadcast("for others", s.id)
	case 6:
		return s.TrySend(s.text(), s.id)
	case 7:
		if !s.whole {
			return s.write()
		}
	case 8:
		s.Unsubscribe(s.id, "topic")
		return s.Subscribe(s.id, "topic")
	default:
		s.step()
	}
	return nil
}

// write begins a message of many pieces, or ends it.
func (s *script) write() (err error) {
	if s.stream != nil {
		err, s.stream = s.stream.Close(), nil
	} else if s.stream, err = s.Writer(s.id, false); err == nil {
		_, err = s.stream.Write([]byte(s.text()))
	}
	return err
}

func (s *script) run(t *testing.T, steps int) {
	for range steps {
		if err := s.next(); err != nil {
			t.Fatal(err)
		}
	}
	if s.stream != nil {
		s.write()
	}
	s.Publish("topic", s.text())
	s.step()
	s.Close(s.id, CodeNormal, "the end")
	s.all()
}

// However what is published is held, sent, streamed and closed meanwhile, it comes in
// the order in which it was published; and a client that takes all is never behind,
// whatever the limits.
func TestOrderWhileHeld(t *testing.T) {
	for name, options := range map[string]Options{
		"no limits":   {MaxQueuedBytes: -1, MaxQueuedMessages: -1},
		"one message": {MaxQueuedBytes: -1, MaxQueuedMessages: 1},
		"one byte":    {MaxQueuedBytes: 1, MaxQueuedMessages: -1},
	} {
		for range 300 {
			seed := rand.Uint64()
			e, p := openTap(options)
			p.room = 1 << 30
			s := &script{byHand: deliverByHand(e), Rand: rand.New(rand.NewPCG(seed, 0)), id: p.id,
				whole: options.MaxQueuedBytes > 0 || options.MaxQueuedMessages > 0}
			e.Subscribe(p.id, "topic")
			if s.run(t, 200); t.Failed() {
				t.Fatalf("%s: seed %d", name, seed)
			}
			got := p.payloadsOf(t)
			want := append(s.sent, "\x03\xe8the end")
			for i, text := range want {
				if i >= len(got) || got[i] != text {
					t.Fatalf("%s, seed %d: message %d of %d, %d came", name, seed, i, len(want), len(got))
				}
			}
			if len(got) > len(want) {
				t.Fatalf("%s, seed %d: %q came besides", name, seed, got[len(want):])
			}
		}
	}
}

// payloadsOf are those of the messages that were sent.
func (p *tap) payloadsOf(t *testing.T) (all []string) {
	for rest := p.written; len(rest) > 0; {
		h, n, err := frame.ParseHeader(rest)
		if err != nil || n == 0 || len(rest) < n+int(h.Length) {
			t.Fatal("half a frame")
		}
		if h.Opcode == frame.Continuation {
			all[len(all)-1] += string(rest[n : n+int(h.Length)])
		} else {
			all = append(all, string(rest[n:n+int(h.Length)]))
		}
		rest = rest[n+int(h.Length):]
	}
	return all
}

// What is held takes no more memory than it may, however many clients it is for.
func TestHeldMemory(t *testing.T) {
	t.Cleanup(func() { // pools let go of it: other tests look how the heap grows
		for range 3 {
			runtime.GC()
		}
	})
	const clients = 30_000
	e := newEndpoint(&functions{}, Options{HeartbeatPeriod: -1})
	h := deliverByHand(e)
	shared := &pipe{mute: true}
	for range clients {
		p := &pipe{mute: true, clock: shared.Loop()}
		p.made.Do(func() {})
		e.Subscribe(openPipe(e, p, 0).id, "topic")
	}
	for range 3 {
		e.Broadcast(string(make([]byte, 100)))
		e.Publish("topic", string(make([]byte, 100)))
	}
	h.step()
	for range 6 {
		h.step()
		size := 0
		e.table.each(func(c *conn) bool {
			if c.out != nil {
				size += 200
				for _, s := range c.out.segments {
					size += cap(s.bytes)
				}
			}
			return true
		})
		if size > mostHeld+mostHeld/4 {
			t.Fatalf("%d MiB are held, want %d at most", size>>20, mostHeld>>20)
		}
	}
	h.all()
}

// Little messages among many others do not keep the memory of all those for a client
// that is behind.
func TestBehindPinsLittle(t *testing.T) {
	e, p := openTap(Options{MaxQueuedBytes: -1, MaxQueuedMessages: -1})
	h := deliverByHand(e)
	e.Subscribe(p.id, "slow")
	other := openPipe(e, &pipe{mute: true}, 0)
	e.Subscribe(other.id, "quick")
	for range 5000 {
		e.Publish("slow", "twenty bytes or more")
		for range 3 { // a page is full
			e.Publish("quick", strings.Repeat("x", pageSize/4-100))
			e.Publish("nobody's", "")
		}
		h.all()
	}
	pages := 0
	for _, s := range p.out.segments {
		if !s.own {
			pages++
		}
	}
	if most := 2 * p.out.size / bufferSize; pages > most {
		t.Errorf("%d pages are kept for %d bytes, want %d at most", pages, p.out.size, most)
	}
}
