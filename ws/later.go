package ws

import (
	"sync"
	"sync/atomic"
	"time"
)

// later does something after a while, once however often it is asked for until
// then.
type later struct {
	after time.Duration
	then  func()
	armed atomic.Bool
}

func (l *later) arm() {
	if !l.armed.Swap(true) {
		time.AfterFunc(l.after, l.run)
	}
}

func (l *later) run() {
	l.armed.Store(false)
	l.then()
}

// pacePeriod is how often one looks at clients that wait because of a rate.
const pacePeriod = 20 * time.Millisecond

// pace is the clients that wait because of a rate, looked at by one timer.
type pace struct {
	mu    sync.Mutex
	conns []*conn
}

// add has a conn looked at. Its mutex is held.
func (p *pace) add(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns = append(p.conns, c); len(p.conns) == 1 {
		time.AfterFunc(pacePeriod, p.pass)
	}
}

// pass looks at all. Who has to wait on adds itself again.
func (p *pace) pass() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.pacePassed()
	}
}
