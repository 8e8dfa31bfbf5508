package ws

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// link is an endpoint's connection with its Broker. Nobody who publishes waits for
// the Broker: messages wait in a queue, from which one goroutine hands them over.
type link struct {
	broker   Broker
	node     uint64
	interest *interest
	receive  func(kind envelopeKind, node uint64, topic string, payload []byte) // an envelope of another node
	around   func(receive func())                                               // what a batch brings is delivered together

	mu    sync.Mutex
	queue outgoing      // waits
	wake  chan struct{} // there is something in it
	empty sync.Cond     // there is not, and all was handed over
	busy  bool          // something is being handed over
	end   atomic.Bool   // nothing is taken any more
	done  chan struct{} // told by each of the two goroutines when it ends

	loss     later       // calls Options.OnLost
	onLost   func()      // likewise, by telling, one call at a time
	telling  atomic.Bool // one is under way
	open     atomic.Bool // the application has started, and does not stop
	lastLoss atomic.Int64
	sent     atomic.Uint64 // messages, to others
	received atomic.Uint64 // from others
	lost     atomic.Uint64 // to others, and not sent
	unknown  atomic.Uint64 // what is no envelope of this version
}

// outgoing are envelopes one behind the other.
type outgoing struct {
	bytes  []byte
	ends   []int
	topics []string
	size   int // in memory
}

// linkLimit is how many bytes may wait for the Broker, and as many are handed over;
// outgoingSize is what is counted of each message besides.
const (
	linkLimit    = 16 << 20
	outgoingSize = 8 + 16
)

func newLink(broker Broker, node uint64, onLost func()) *link {
	l := &link{broker: broker, node: node, onLost: onLost, wake: make(chan struct{}, 1), done: make(chan struct{}, 2)}
	l.empty.L = &l.mu
	l.loss.after, l.loss.then = 100*time.Millisecond, l.tellLoss
	l.interest = newInterest(broker, func(late bool) {
		if late {
			l.Lost()
		}
	})
	return l
}

// admits returns an error for a message that the broker would not take.
func (l *link) admits(size int) error {
	if b, ok := l.broker.(interface{ MaxMessage() int }); ok && size+envelopeSize > b.MaxMessage() {
		return fmt.Errorf("%w: %d bytes, %d with its head are the most", ErrBroker, size, b.MaxMessage())
	}
	return nil
}

// forward queues a message to other nodes.
func forward[T string | []byte](l *link, kind envelopeKind, topic string, payload T) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q, size := &l.queue, envelopeSize+len(payload)+len(topic)+outgoingSize
	if l.end.Load() || q.size > 0 && q.size+size > linkLimit {
		l.drop(kind)
		return ErrBroker
	}
	q.size += size
	q.bytes = appendEnvelope(q.bytes, kind, l.node, payload)
	q.ends, q.topics = append(q.ends, len(q.bytes)), append(q.topics, topic)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// drop counts a message that other nodes do not get. What nodes say of themselves
// they say again when the broker is back.
func (l *link) drop(kind envelopeKind) {
	if kind.isForClients() {
		l.lost.Add(1)
		l.Lost()
	}
}

// Lost implements Receiver.
func (l *link) Lost() {
	l.lastLoss.Store(time.Now().UnixNano())
	if l.open.Load() {
		l.loss.arm()
	}
}

// begin has losses told, those before it, too: the application has started.
func (l *link) begin() {
	if l.open.Store(true); l.lastLoss.Load() != 0 {
		l.loss.arm()
	}
}

func (l *link) tellLoss() {
	switch {
	case !l.open.Load():
	case l.telling.Swap(true): // it takes its time, and is told again
		l.loss.arm()
	default:
		defer l.telling.Store(false)
		l.onLost()
	}
}

// start begins to talk to the broker.
func (l *link) start() {
	for _, run := range []func(){l.run, l.interest.run} {
		go func() {
			defer func() { l.done <- struct{}{} }()
			run()
		}()
	}
}

// run hands over what is queued, until the link is closed.
func (l *link) run() {
	var q outgoing
	for range l.wake {
		l.mu.Lock()
		q, l.queue = l.queue, outgoing{bytes: q.bytes[:0], ends: q.ends[:0], topics: q.topics[:0]}
		l.busy = true
		l.mu.Unlock()
		l.handOver(&q)
		l.mu.Lock()
		if l.busy = false; len(l.queue.ends) == 0 {
			l.empty.Broadcast()
		}
		l.mu.Unlock()
	}
}

func (l *link) handOver(q *outgoing) {
	begin := 0
	for n, end := range q.ends {
		if l.end.Load() {
			return
		}
		if err := l.broker.Publish(q.topics[n], q.bytes[begin:end]); err != nil {
			l.drop(envelopeKind(q.bytes[begin+1]))
		} else {
			l.sent.Add(1)
		}
		begin = end
	}
	clear(q.topics)
	if q.size > linkLimit/16 {
		*q = outgoing{} // so many are rare
	}
}

// Receive implements Receiver.
func (l *link) Receive(batch []Remote) {
	if l.end.Load() {
		return
	}
	l.around(func() {
		for _, m := range batch {
			kind, node, payload, ok := parseEnvelope(m.Message)
			switch {
			case !ok:
				l.unknown.Add(1)
			case node != l.node:
				l.received.Add(1)
				l.receive(kind, node, m.Topic, payload)
			}
		}
	})
}

// flush waits until all is handed over, or until done is closed.
func (l *link) flush(done <-chan struct{}) {
	flushed := make(chan struct{})
	over := false
	go func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		defer close(flushed)
		for (l.busy || len(l.queue.ends) > 0) && !over {
			l.empty.Wait()
		}
	}()
	select {
	case <-flushed:
	case <-done:
		l.mu.Lock()
		over = true
		l.empty.Broadcast()
		l.mu.Unlock()
	}
}

// closePeriod is how long a Broker that is closed may take to return from what it
// does besides.
const closePeriod = time.Second

// close closes the link. What is left to send is dropped.
func (l *link) close() error {
	l.mu.Lock()
	l.end.Store(true)
	close(l.wake)
	l.mu.Unlock()
	close(l.interest.end)
	err := l.broker.Close()
	late := time.After(closePeriod)
	for range cap(l.done) {
		select {
		case <-l.done:
		case <-late:
			return err
		}
	}
	return err
}

func (l *link) state() *BrokerState {
	s := &BrokerState{Connected: 1, Topics: l.interest.count(), Sent: l.sent.Load(), Received: l.received.Load(), Lost: l.lost.Load(), Unknown: l.unknown.Load()}
	if b, ok := l.broker.(interface{ Connected() bool }); ok && !b.Connected() {
		s.Connected = 0
	}
	if at := l.lastLoss.Load(); at != 0 {
		s.LastLost = time.Unix(0, at)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Queued = int64(len(l.queue.bytes))
	return s
}
