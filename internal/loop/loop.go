package loop

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Loop carries the connections of a server.
type Loop struct {
	log    *slog.Logger
	engine engine
	table  table
	soon   soon
	clock  clock
	epoch  time.Time
	now    atomic.Uint32

	pipes pipes

	received, sent atomic.Int64

	mu        sync.Mutex // guards what follows
	listeners []*Listener
	closed    bool
}

// New makes a loop. log hears of what no owner can be told. Close gives back what
// the loop holds.
func New(log *slog.Logger) *Loop {
	l := &Loop{epoch: time.Now(), log: log}
	l.engine.loop, l.clock.looked = l, l.epoch
	l.now.Store(1)
	return l
}

// Listener is an address that a loop accepts connections on.
type Listener struct {
	net.Listener
	loop  *Loop
	tls   *tls.Config
	admit Admit
	index int
	done  chan struct{} // closed when nothing is accepted any more
	once  sync.Once

	admitting sync.Mutex // from accepting a connection until the loop knows it
}

// Admit is asked for the owner of a connection that was accepted, of which it
// may know the addresses and keep the pointer. Where there is none the
// connection is refused with a reset. It must not block.
type Admit func(*Conn) Owner

// Listen accepts connections on ln, encrypted ones if there is a config. Closing
// the Listener ends that; connections stay, and the loop knows all that there will
// be.
func (l *Loop) Listen(ln net.Listener, config *tls.Config, admit Admit) (*Listener, error) {
	listener := &Listener{Listener: ln, loop: l, tls: config, admit: admit, done: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, net.ErrClosed
	}
	listener.index = len(l.listeners)
	l.listeners = append(l.listeners, listener)
	return listener, l.engine.listen(listener)
}

// listener returns the listener of a number.
func (l *Loop) listener(index int) *Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listeners[index]
}

// Adopt takes over a connection of package net. The owner's Serve is called at
// once.
func (l *Loop) Adopt(conn net.Conn, owner Owner) { l.engine.adopt(conn, owner) }

// AdoptPortable is Adopt that leaves the connection one of package net.
func (l *Loop) AdoptPortable(conn net.Conn, owner Owner) { newStream(l, conn).start(owner) }

// Shared returns a loop for connections that servers of others have accepted. It
// runs as long as the process does.
func Shared() *Loop { return shared() }

var shared = sync.OnceValue(func() *Loop { return New(slog.Default()) })

// Len returns how many connections there are.
func (l *Loop) Len() int { return int(l.table.length.Load()) }

// Traffic returns how many bytes came and went, those of TLS included.
func (l *Loop) Traffic() (received, sent int64) { return l.received.Load(), l.sent.Load() }

// Each calls visit for every connection. Connections may come and go meanwhile.
func (l *Loop) Each(visit func(*Conn)) { l.table.each(visit) }

// Close closes the listeners, interrupts every connection, and returns when all
// of them are over or patience is.
func (l *Loop) Close(patience time.Duration) {
	l.mu.Lock()
	l.closed = true
	listeners := l.listeners
	l.mu.Unlock()
	for _, listener := range listeners {
		listener.Close()
	}
	deadline := time.Now().Add(patience)
	for l.Len() > 0 && time.Now().Before(deadline) {
		l.table.each((*Conn).Interrupt)
		time.Sleep(time.Millisecond)
	}
	l.stopSweeping()
	l.engine.stop()
}

// ready readies a connection, before anybody knows it.
func (l *Loop) ready(c *Conn, t transport, remote netip.AddrPort) {
	c.loop, c.transport = l, t
	if remote.IsValid() {
		c.remote = newAddress(remote)
	}
	c.lastRead.Store(l.now.Load())
	c.lastWritten.Store(l.now.Load())
}
