package loop

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// poller is an epoll instance and the goroutines that take turns at it.
type poller struct {
	engine   *epoll
	file     *os.File
	raw      syscall.RawConn
	fd       int
	worker   func()               // work, bound once
	look     func(uintptr) bool   // poll, bound once
	events   []syscall.EpollEvent // of who waits
	found    int                  // of events
	runnable []*socket            // of those
	yielded  time.Duration        // when who waits last went through the scheduler

	mu      sync.Mutex // guards all below
	queue   []*socket  // to be run, the first at head
	head    int
	behind  []func() // to be called when a round is over
	round   int      // how many of the queue may run before the next look at epoll
	waiting bool     // a goroutine waits, or looks
	spare   bool     // a goroutine was started that has not looked for work yet
	resting bool     // one that found nothing to do waits for wake
	stopped bool

	wake chan struct{}
}

// eventsAtOnce is how many connections are looked up and served in a row: of many
// more, the first are out of the processor's cache before their turn has come
// (512 cost a request on 5,000 connections 1.2 times what 64 do).
const eventsAtOnce = 64

// newPoller makes an epoll instance, and starts the goroutine that waits.
func newPoller(e *epoll) (*poller, error) {
	p := &poller{engine: e, events: make([]syscall.EpollEvent, eventsAtOnce), wake: make(chan struct{}, 1)}
	p.worker, p.look = p.work, p.poll
	var err error
	if p.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	syscall.SetNonblock(p.fd, true)
	p.file = os.NewFile(uintptr(p.fd), "epoll")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	go p.worker()
	return p, nil
}

// stop ends the goroutines.
func (p *poller) stop() {
	p.mu.Lock()
	if !p.stopped {
		p.stopped = true
		close(p.wake) // who rests ends
	}
	p.mu.Unlock()
	p.file.Close()
}

// work runs connections as long as there are any to run. Then it rests, unless
// another does already: a goroutine that has worked has the stack for it.
func (p *poller) work() {
	for p.workOnce() {
		<-p.wake
	}
}

// workOnce runs connections, and waits for events when nobody else does. It
// reports whether to wait for wake.
func (p *poller) workOnce() (rest bool) {
	var served *socket
	defer func() {
		if served != nil { // it has ended the goroutine, or panics: another one is ready to go on
			served.outlive()
		}
	}()
	p.mu.Lock()
	p.spare = false
	for {
		if next, ok := p.next(); ok {
			p.readySpare()
			p.mu.Unlock()
			served = next
			again := next.run()
			served = nil
			p.mu.Lock()
			if again {
				p.queue = append(p.queue, next)
			}
			continue
		}
		if p.waiting || p.stopped {
			break
		}
		p.wait()
	}
	p.endRound()
	rest = !p.resting && !p.stopped
	p.resting = p.resting || rest
	p.mu.Unlock()
	return rest
}

// AfterRound has f called when whoever serves the connection has served all
// others that there is something to do for, or is about to rest. Connections
// that are not served together have rounds of their own.
func (c *Conn) AfterRound(f func()) {
	s := plain(c)
	if s == nil {
		f()
		return
	}
	p := s.poller()
	p.mu.Lock()
	p.behind = append(p.behind, f)
	p.mu.Unlock()
}

// endRound calls what is to be called behind a round. p.mu is held, but not
// meanwhile.
func (p *poller) endRound() {
	for len(p.behind) > 0 {
		behind := p.behind
		p.behind = nil
		p.mu.Unlock()
		for _, f := range behind {
			f()
		}
		p.mu.Lock()
	}
}

// next takes a connection from the queue. There is none when it is time to look
// for events. p.mu is held.
func (p *poller) next() (next *socket, ok bool) {
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
		return nil, false
	}
	if p.round <= 0 && !p.waiting && !p.stopped {
		return nil, false
	}
	p.round--
	next, p.queue[p.head] = p.queue[p.head], nil
	p.head++
	return next, true
}

// readySpare makes a goroutine runnable that goes on should this one block.
// p.mu is held.
func (p *poller) readySpare() {
	switch {
	case p.spare:
	case p.resting && !p.stopped:
		p.spare, p.resting = true, false
		p.wake <- struct{}{}
	default:
		p.spare = true
		go p.worker()
	}
}

// wait waits for events, or only looks for them when there is work already, and
// queues the connections that have something to do. p.mu is held, but not
// meanwhile.
func (p *poller) wait() {
	p.waiting = true
	if p.head == len(p.queue) {
		p.endRound()
	}
	idle := p.head == len(p.queue)
	p.mu.Unlock()
	p.yield()
	failed := false
	if idle {
		if failed = p.raw.Read(p.look) != nil; failed {
			p.found = 0
		}
	} else {
		p.poll(0)
	}
	runnable := p.dispatch()
	p.mu.Lock()
	p.waiting, p.stopped = false, p.stopped || failed
	p.queue = slices.Delete(p.queue, 0, p.head) // it may never run empty
	p.head = 0
	p.queue = append(p.queue, runnable...)
	clear(runnable)
	p.round = len(p.queue)
}

// yieldPeriod is much less than the 10 ms after which the runtime takes a
// processor away from a goroutine that has not been through the scheduler: that
// costs a change of threads, and has the runtime look every 20 µs for a while.
const yieldPeriod = 2 * time.Millisecond

// yield lets the scheduler see the goroutine that looks for events.
func (p *poller) yield() {
	if now := time.Since(p.engine.loop.epoch); now-p.yielded >= yieldPeriod {
		p.yielded = now
		runtime.Gosched()
	}
}

// poll takes the events that there are, without waiting.
func (p *poller) poll(uintptr) bool {
	for {
		n, err := syscall.EpollWait(p.fd, p.events, 0)
		if err != syscall.EINTR {
			p.found = max(n, 0)
			return n > 0
		}
	}
}

// dispatch notes events at their connections, and returns those whose
// connections are to be run. Listeners are accepted from at once.
func (p *poller) dispatch() []*socket {
	runnable := p.runnable[:0]
	for _, event := range p.events[:p.found] {
		if event.Pad == listenerEvent {
			p.engine.accept(event.Fd)
			continue
		}
		id := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32 // descriptors are used again at once, ids are not
		c := p.engine.loop.table.find(id)
		if c == nil {
			continue
		}
		if s := plain(c); s.notify(event.Events) {
			runnable = append(runnable, s)
		}
	}
	p.runnable = runnable
	return runnable
}

// listenerEvent is in the place of the upper half of an id, which is not
// negative, in the event of a listener.
const listenerEvent = -1

// schedule queues a connection whose state is running already.
func (p *poller) schedule(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, s)
	p.readySpare()
}
