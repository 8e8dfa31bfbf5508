//go:build !linux

package loop

import (
	"net"
)

// engine is nothing here: goroutines wait for connections.
type engine struct{ loop *Loop }

func (*engine) listen(l *Listener) error {
	go l.acceptPortable()
	return nil
}

func (e *engine) adopt(conn net.Conn, owner Owner) { e.loop.AdoptPortable(conn, owner) }

// AfterRound has f called when whoever serves the connection has served all
// others that there is something to do for, or is about to rest. Connections
// that are not served together have rounds of their own.
func (c *Conn) AfterRound(f func()) { f() }

func (*engine) rearm() {}

func (*engine) stop() {}

// Close ends the accepting.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		close(l.done)
		err = l.Listener.Close()
		l.admitting.Lock() // until what was accepted is known
		l.admitting.Unlock()
	})
	return err
}
