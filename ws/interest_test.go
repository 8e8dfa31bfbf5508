package ws

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// refusing is a Broker that refuses for as long as it is told to.
type refusing struct {
	with      error
	published int
	topics    int // subscribed
	most      int // at once
}

func (b *refusing) Start(Receiver) error { return nil }

func (b *refusing) Subscribe(topics []string) error {
	if b.with == nil {
		b.topics += len(topics)
	}
	return b.with
}

func (b *refusing) Unsubscribe(topics []string) {
	b.topics -= len(topics)
	b.most = max(b.most, len(topics))
}

func (b *refusing) Publish(string, []byte) error { b.published++; return b.with }
func (b *refusing) Close() error                 { return nil }

// pass has so much time pass.
func (i *interest) pass(period time.Duration) {
	i.begun, i.again = i.begun.Add(-period), i.again.Add(-period)
	for !i.update() && len(i.wake) > 0 {
		<-i.wake
	}
}

// However topics come and go, no more is kept than there is to know.
func TestInterestKeepsLittle(t *testing.T) {
	come := func(i *interest, n int, stay bool) {
		for n := range n {
			topic := fmt.Sprint(n)
			if i.want(topic); !stay {
				i.release(topic)
			}
		}
	}
	leave := func(i *interest, n int) {
		for n := range n {
			i.release(fmt.Sprint(n))
		}
	}
	for name, test := range map[string]struct {
		do                   func(*interest, *refusing)
		wishes, left, topics int
	}{
		"one that toggles": {func(i *interest, _ *refusing) {
			i.want("a")
			i.pass(0)
			for range 1000 {
				i.release("a")
				i.pass(keptPeriod / 2)
				i.want("a")
				i.release("a")
			}
		}, 1, 1, 1},
		"it toggles, and stays": {func(i *interest, _ *refusing) {
			i.want("a")
			i.pass(0)
			for range 1000 {
				i.release("a")
				i.want("a")
			}
			i.pass(keptPeriod)
			i.pass(keptPeriod)
		}, 0, 0, 1},
		"many, while the broker refuses": {func(i *interest, b *refusing) {
			b.with = errors.New("no")
			i.want("stays")
			for range 100 {
				come(i, 100, false)
				i.pass(keptPeriod)
			}
			i.pass(keptPeriod)
			b.with = nil
			i.pass(keptPeriod)
		}, 0, 0, 1},
		"many, that leave at once": {func(i *interest, _ *refusing) {
			come(i, 10_000, true)
			i.pass(0)
			leave(i, 10_000)
			i.pass(keptPeriod)
		}, 0, 0, 0},
		"many, that come back": {func(i *interest, _ *refusing) {
			for range 10 {
				come(i, 100, true)
				i.pass(keptPeriod)
				leave(i, 100)
				i.pass(keptPeriod / 2)
			}
			come(i, 100, true)
			i.pass(keptPeriod)
		}, 0, 0, 100},
	} {
		t.Run(name, func(t *testing.T) {
			b := new(refusing)
			i := newInterest(b, func(bool) {})
			test.do(i, b)
			if len(i.wishes) != test.wishes || len(i.left) != test.left || i.count() != test.topics || b.topics != test.topics || b.most > mostLeaving {
				t.Errorf("%d wishes, %d left, %d topics, of which the broker has %d, %d given up at once", len(i.wishes), len(i.left), i.count(), b.topics, b.most)
			}
		})
	}
}

// Whoever waits for a topic that nobody wants any more is not kept waiting.
func TestInterestOfNobody(t *testing.T) {
	i := newInterest(new(refusing), func(bool) {})
	i.want("a")
	known := i.wishes["a"].known
	i.release("a")
	if i.pass(0); !isOver(known) {
		t.Error("it is waited for")
	}
}

// What waits for the broker is bounded, however little of it are messages.
func TestLinkIsBounded(t *testing.T) {
	for name, test := range map[string]struct{ topic, payload int }{
		"nothing": {100, 0}, "short": {10, 100}, "long topics": {10_000, 0}, "long messages": {10, 1 << 20},
	} {
		l := newLink(new(refusing), 1, func() {})
		topic, payload := strings.Repeat("t", test.topic), strings.Repeat("p", test.payload)
		n := 0
		for forward(l, textKind, topic, payload) == nil {
			n++
		}
		if size := n * (test.topic + test.payload + outgoingSize + envelopeSize); size > linkLimit || size < linkLimit-2<<20 || l.lost.Load() != 1 {
			t.Errorf("%s: %d messages of %d bytes in all", name, n, size)
		}
	}
	l := newLink(new(refusing), 1, func() {})
	if err := forward(l, textKind, "t", strings.Repeat("p", 2*linkLimit)); err != nil {
		t.Errorf("one that is larger, alone: %v", err)
	}
}

// Nodes that cannot say that they are there have lost nothing of the application's,
// and do not go on saying it.
func TestLossesAreOfTheApplication(t *testing.T) {
	for kind, lost := range map[envelopeKind]uint64{
		textKind: 1, binaryKind: 1, closeKind: 1, helloKind: 0, byeKind: 0, askKind: 0, answerKind: 0,
	} {
		b := &refusing{with: errors.New("no")}
		l := newLink(b, 1, func() {})
		go l.run()
		forward(l, kind, "topic", "payload")
		l.flush(nil)
		close(l.wake)
		if b.published != 1 || l.lost.Load() != lost || (l.lastLoss.Load() != 0) != (lost > 0) {
			t.Errorf("%c: %d published, %d lost", kind, b.published, l.lost.Load())
		}
	}
}

// Losses are told from when the application has started until it stops, one at a
// time.
func TestWhenLossesAreTold(t *testing.T) {
	calls, hold := make(chan bool, 10), make(chan bool)
	l := newLink(new(refusing), 1, func() { calls <- true; <-hold })
	l.loss.after = time.Hour
	if l.Lost(); l.loss.armed.Load() {
		t.Error("it is told before the start")
	}
	if l.begin(); !l.loss.armed.Load() {
		t.Error("what was lost before the start is not told")
	}
	go l.loss.run()
	<-calls
	if l.loss.run(); len(calls) > 0 || !l.loss.armed.Load() {
		t.Error("two calls at once, or one too few")
	}
	hold <- true
	for l.telling.Load() {
		time.Sleep(time.Microsecond)
	}
	go l.loss.run()
	<-calls
	hold <- true
	l.open.Store(false)
	if l.loss.run(); len(calls) > 0 {
		t.Error("it is told after the end")
	}
}

// A topic that is there already when one begins to observe is told, too.
func TestTopicsAreObserved(t *testing.T) {
	var topics topics[int]
	topics.join("before", new(int), false, nil)
	var told []string
	topics.observe(func(name string) { told = append(told, name) }, nil)
	topics.join("behind", new(int), false, nil)
	if fmt.Sprint(told) != "[before behind]" {
		t.Error(told)
	}
	topics.observe(nil, nil)
}
