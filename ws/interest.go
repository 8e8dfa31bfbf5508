package ws

import (
	"sync"
	"time"
)

// interest keeps a Broker informed of the topics that have clients here: asked for
// with their first one, and given up a while after the last one left, for clients
// come back. One goroutine talks to the Broker, with all that is due at a time.
type interest struct {
	broker  Broker
	granted func(late bool) // what somebody no longer waits for is subscribed
	begun   time.Time

	mu     sync.Mutex
	topics int              // that are asked for, subscribed, or not yet given up
	wishes map[string]*wish // what there is to know of those that come or go
	asked  []string         // to be subscribed
	again  time.Time        // not before then
	left   []departure      // topics to be given up perhaps
	wake   chan struct{}    // there is something to do
	end    chan struct{}    // closed when there is not, ever again
}

// wish is what there is about one topic. There may be many topics, and about one that
// is subscribed and has clients there is nothing.
type wish struct {
	wanted  bool          // there are clients
	late    bool          // somebody waited in vain
	leaving bool          // it is in interest.left
	known   chan struct{} // closed when the broker has it, and nil from then on
	since   int64         // when the last client left, from interest.begun
}

// departure is when a topic is to be looked at: keptPeriod behind at.
type departure struct {
	topic string
	at    int64
}

// keptPeriod is how long a topic without clients stays subscribed, and how long
// after an error the broker is asked again. mostLeaving is how many are given up at
// once, for which whoever subscribes waits.
const (
	keptPeriod  = time.Second
	mostLeaving = 1000
)

func newInterest(broker Broker, granted func(late bool)) *interest {
	return &interest{broker: broker, granted: granted, begun: time.Now(), wishes: make(map[string]*wish),
		wake: make(chan struct{}, 1), end: make(chan struct{})}
}

// want notes that a topic has clients, which it did not have.
func (i *interest) want(topic string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.wishes[topic]
	if w == nil {
		w = &wish{known: make(chan struct{})}
		i.wishes[topic] = w
		i.topics++
		i.asked = append(i.asked, topic)
		i.signal()
	}
	w.wanted = true
}

// release notes that a topic has no clients any more.
func (i *interest) release(topic string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w := i.wishes[topic]
	if w == nil { // it was settled
		w = new(wish)
		i.wishes[topic] = w
	}
	if w.wanted, w.since = false, i.now(); !w.leaving {
		w.leaving = true
		i.left = append(i.left, departure{topic, w.since})
		i.signal()
	}
}

func (i *interest) now() int64 { return int64(time.Since(i.begun)) }

// signal wakes run.
func (i *interest) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// wait waits until the broker knows of a topic that is wanted, but not forever.
func (i *interest) wait(topic string, timeout time.Duration) error {
	i.mu.Lock()
	w := i.wishes[topic]
	if w == nil || w.known == nil { // it has, or the client left at once
		i.mu.Unlock()
		return nil
	}
	answer := w.known
	i.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-answer:
		return nil
	case <-i.end:
	case <-timer.C:
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if isOver(answer) {
		return nil
	}
	w.late = true
	return ErrBroker
}

// run talks to the broker until the end.
func (i *interest) run() {
	for !isOver(i.end) {
		again := time.NewTimer(keptPeriod)
		if idle := i.update(); idle {
			again.Stop()
		}
		select {
		case <-i.wake:
		case <-again.C:
		case <-i.end:
			again.Stop()
			return
		}
		again.Stop()
	}
}

// update does what is due, and reports whether nothing will be without a signal.
func (i *interest) update() (idle bool) {
	if over := i.takeLeft(); len(over) > 0 {
		i.broker.Unsubscribe(over)
	}
	if asked := i.takeAsked(); len(asked) > 0 {
		i.tell(asked, i.broker.Subscribe(asked))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked) == 0 && len(i.left) == 0
}

// takeAsked returns the topics to be subscribed now.
func (i *interest) takeAsked() (asked []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if time.Now().Before(i.again) {
		return nil
	}
	for _, topic := range i.asked {
		if w := i.wishes[topic]; w.wanted {
			asked = append(asked, topic)
		} else { // the client left before
			close(w.known)
			i.forget(topic)
		}
	}
	i.asked = nil
	return asked
}

// takeLeft returns topics to be given up now, of which nothing is known any more.
func (i *interest) takeLeft() (over []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	for len(i.left) > 0 && now-i.left[0].at >= int64(keptPeriod) {
		if len(over) == mostLeaving {
			i.signal()
			break
		}
		topic := i.left[0].topic
		if i.left = i.left[1:]; i.isLeft(topic, now) {
			i.forget(topic)
			over = append(over, topic)
		}
	}
	return over
}

// forget notes that a topic is not subscribed. i.mu is held.
func (i *interest) forget(topic string) {
	delete(i.wishes, topic)
	i.topics--
}

// settle drops a wish that is granted, and holds. i.mu is held.
func (i *interest) settle(topic string, w *wish) {
	if w.wanted && !w.leaving && w.known == nil {
		delete(i.wishes, topic)
	}
}

// isLeft reports whether a topic is to be given up. If that is not certain, it is
// looked at again.
func (i *interest) isLeft(topic string, now int64) bool {
	w := i.wishes[topic]
	switch {
	case w == nil:
	case w.wanted:
		w.leaving = false
		i.settle(topic, w)
	case now-w.since < int64(keptPeriod): // clients came and left
		i.left = append(i.left, departure{topic, w.since})
	case w.known != nil:
		i.left = append(i.left, departure{topic, now})
	default:
		return true
	}
	return false
}

// tell tells those who wait for topics that these are subscribed, or asks for them
// again.
func (i *interest) tell(asked []string, err error) {
	late := false
	i.mu.Lock()
	if err != nil {
		i.asked, i.again = append(asked, i.asked...), time.Now().Add(keptPeriod)
	} else {
		for _, topic := range asked {
			w := i.wishes[topic]
			late = late || w.late
			close(w.known)
			w.known = nil
			i.settle(topic, w)
		}
	}
	i.mu.Unlock()
	if err == nil {
		i.granted(late)
	}
}

func (i *interest) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.topics
}
