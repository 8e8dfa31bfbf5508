package loop

import (
	"crypto/tls"
	"log/slog"
	"net"
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

	received, sent atomic.Int64

	mu        sync.Mutex // guards what follows
	listeners []*Listener
	closed    bool
}

// engine is a way to wait for connections.
type engine interface {
	listen(l *Listener) error
	forget(l *Listener) // which is about to be closed
	adopt(l *Loop, conn net.Conn, owner Owner)
	rearm() // a second has passed
	stop()
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

// Close ends the accepting.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.done)
		l.loop.engine.forget(l)
		err = l.Listener.Close()
		l.admitting.Lock() // until what was accepted is known
		l.admitting.Unlock()
	})
	return err
}

// tired tells that no connection can be accepted for now.
func (l *Listener) tired(err error) {
	l.loop.log.Warn("aerys: cannot accept a connection, trying again in a second", "address", l.Addr().String(), "error", err)
}

// Adopt takes over a connection of package net. The owner's Serve is called at
// once.
func (l *Loop) Adopt(conn net.Conn, owner Owner) { l.engine.adopt(l, conn, owner) }

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
