package ws

import (
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// engine is the epoll engine of an endpoint. A socket has left net/http and
// net: all that is kept of it is its descriptor. An epoll instance, which itself
// waits in Go's netpoller, reports what is ready; a few goroutines take turns.
//
// One of them waits, the others run sockets. Before one runs a socket, whose
// handler may block, it sees to it that another is ready to go on in its place.
// When nobody blocks that other finds nothing to do: then one goroutine serves
// all, from one wait to the next.
type engine struct {
	once     sync.Once
	err      error
	endpoint *Endpoint
	epoll    *os.File
	raw      syscall.RawConn
	fd       int
	worker   func()               // work, bound once
	poller   func(uintptr) bool   // poll, bound once
	events   []syscall.EpollEvent // of who waits
	found    int                  // of events
	yielded  time.Duration        // when who waits last went through the scheduler

	mu      sync.Mutex // guards all below
	queue   []task     // to be run, the first at head
	head    int
	round   int  // how many of the queue may run before the next look at epoll
	waiting bool // a goroutine waits, or looks
	spare   bool // a goroutine was started that has not looked for work yet
	resting bool // one that found nothing to do waits for wake
	stopped bool

	wake chan struct{}
}

// task is a socket to be run, from its beginning if it has just arrived.
type task struct {
	socket  *socket
	arrival *arrival
}

// ready starts the engine, and reports whether it runs.
func (g *engine) ready(e *Endpoint) bool {
	g.once.Do(func() { g.start(e) })
	return g.err == nil
}

// isSocket reports whether the engine can serve a connection.
func isSocket(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// adopt runs a connection, which is a socket. All that is to be done is done by
// a goroutine of the engine: the one that net/http serves the request with has
// a small stack, and is to be gone soon.
func (g *engine) adopt(o *arrival) {
	s := new(socket)
	s.transport = s
	s.state.Store(running)
	g.schedule(task{s, o})
}

// duplicate returns a descriptor of our own for the connection's socket.
func duplicate(socket net.Conn) (fd int, ok bool) {
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(old uintptr) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		fd, ok = int(n), errno == 0
	})
	return fd, ok && err == nil
}

// start makes the epoll instance.
func (g *engine) start(e *Endpoint) {
	g.endpoint, g.worker, g.poller = e, g.work, g.poll
	g.events = make([]syscall.EpollEvent, 128)
	g.wake = make(chan struct{}, 1)
	if g.fd, g.err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); g.err != nil {
		return
	}
	syscall.SetNonblock(g.fd, true)
	g.epoll = os.NewFile(uintptr(g.fd), "epoll")
	if g.raw, g.err = g.epoll.SyscallConn(); g.err == nil {
		go g.worker()
	}
}

// stop ends the goroutines.
func (g *engine) stop() {
	g.once.Do(func() { g.err = net.ErrClosed })
	if g.epoll == nil {
		return
	}
	g.mu.Lock()
	g.stopped = true
	close(g.wake) // who rests ends
	g.mu.Unlock()
	g.epoll.Close()
}

// work runs sockets as long as there are any to run. Then it rests, unless
// another does already: a goroutine that has worked has the stack for it.
func (g *engine) work() {
	for g.workOnce() {
		<-g.wake
	}
}

// workOnce runs sockets, and waits for events when nobody else does. It reports
// whether to wait for wake.
func (g *engine) workOnce() (rest bool) {
	t := turns.Get().(*turn)
	g.endpoint.busy.Add(1)
	g.mu.Lock()
	g.spare = false
	for {
		if next, ok := g.next(); ok {
			g.readySpare()
			g.mu.Unlock()
			again := next.run(g.endpoint, t)
			g.mu.Lock()
			if again {
				g.queue = append(g.queue, task{socket: next.socket})
			}
			continue
		}
		if g.waiting || g.stopped {
			break
		}
		g.look()
	}
	rest = !g.resting && !g.stopped
	g.resting = g.resting || rest
	g.mu.Unlock()
	t.release()
	g.endpoint.rest()
	return rest
}

// run takes a turn. It reports whether the socket is to be run again.
func (next task) run(e *Endpoint, t *turn) (again bool) {
	if next.arrival != nil {
		return next.socket.open(e, t, next.arrival)
	}
	return next.socket.run(t)
}

// next takes a task from the queue. There is none when it is time to look for
// events. g.mu is held.
func (g *engine) next() (next task, ok bool) {
	if g.head == len(g.queue) {
		g.queue, g.head = g.queue[:0], 0
		return next, false
	}
	if g.round <= 0 && !g.waiting && !g.stopped {
		return next, false
	}
	g.round--
	next, g.queue[g.head] = g.queue[g.head], task{}
	g.head++
	return next, true
}

// readySpare makes a goroutine runnable that goes on should this one block.
// g.mu is held.
func (g *engine) readySpare() {
	switch {
	case g.spare:
	case g.resting && !g.stopped:
		g.spare, g.resting = true, false
		g.wake <- struct{}{}
	default:
		g.spare = true
		go g.worker()
	}
}

// look waits for events, or only looks for them when there is work already, and
// queues the sockets that have something to do. g.mu is held, but not meanwhile.
func (g *engine) look() {
	g.waiting = true
	idle := g.head == len(g.queue)
	g.mu.Unlock()
	g.yield()
	if idle {
		g.endpoint.rest()
		if g.raw.Read(g.poller) != nil {
			g.found = 0
			g.stopSoon()
		}
		g.endpoint.busy.Add(1)
	} else {
		g.poll(0)
	}
	runnable := g.dispatch()
	g.mu.Lock()
	g.waiting = false
	g.queue = slices.Delete(g.queue, 0, g.head) // it may never run empty
	g.head = 0
	for _, event := range runnable {
		if c := g.find(event); c != nil {
			g.queue = append(g.queue, task{socket: c.transport.(*socket)})
		}
	}
	g.round = len(g.queue)
}

// yieldPeriod is much less than the 10 ms after which the runtime takes a
// processor away from a goroutine that has not been through the scheduler: that
// costs a change of threads, and has the runtime look every 20 µs for a while.
const yieldPeriod = 2 * time.Millisecond

// yield lets the scheduler see the goroutine that looks for events.
func (g *engine) yield() {
	if now := time.Since(g.endpoint.epoch); now-g.yielded >= yieldPeriod {
		g.yielded = now
		runtime.Gosched()
	}
}

func (g *engine) stopSoon() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
}

// poll takes the events that there are, without waiting.
func (g *engine) poll(uintptr) bool {
	for {
		n, err := syscall.EpollWait(g.fd, g.events, 0)
		if err != syscall.EINTR {
			g.found = max(n, 0)
			return n > 0
		}
	}
}

// dispatch notes events at their sockets, and returns those whose sockets are
// to be run.
func (g *engine) dispatch() []syscall.EpollEvent {
	runnable := g.events[:0]
	for _, event := range g.events[:g.found] {
		c := g.find(event)
		if c == nil {
			continue
		}
		switch s := c.transport.(type) {
		case *socket:
			if s.notify(event.Events) {
				runnable = append(runnable, event)
			}
		case *stream:
			go s.server()
		}
	}
	return runnable
}

// eventOf is what is asked of epoll for a connection, and comes back.
func eventOf(c *conn, events uint32) syscall.EpollEvent {
	return syscall.EpollEvent{Events: events, Fd: int32(uint32(c.id)), Pad: int32(c.id >> 32)}
}

// find returns the connection that an event is meant for: descriptors are used
// again at once, ids are not.
func (g *engine) find(event syscall.EpollEvent) *conn {
	return g.endpoint.table.find(ClientID(uint32(event.Fd)) | ClientID(uint32(event.Pad))<<32)
}

// schedule queues a socket whose state is running already.
func (g *engine) schedule(next task) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = append(g.queue, next)
	g.readySpare()
}
