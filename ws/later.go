package ws

import (
	"sync"
	"time"
)

// later looks at some conns after a while, and again while they want it. It has
// one timer for all.
type later struct {
	after time.Duration
	visit func(*conn) (again bool)
	then  func() // called behind all visits

	mu    sync.Mutex
	armed bool
	timer *time.Timer
	conns []*conn
	spare []*conn
}

// add puts a conn on the list. conn.mu is held.
func (l *later) add(c *conn) {
	l.mu.Lock()
	l.conns = append(l.conns, c)
	l.start()
	l.mu.Unlock()
}

// arm sees to it that then is called.
func (l *later) arm() {
	l.mu.Lock()
	l.start()
	l.mu.Unlock()
}

func (l *later) start() {
	switch {
	case l.armed:
	case l.timer == nil:
		l.timer = time.AfterFunc(l.after, l.run)
	default:
		l.timer.Reset(l.after)
	}
	l.armed = true
}

func (l *later) run() {
	l.mu.Lock()
	conns := l.conns
	l.conns, l.spare = l.spare[:0], nil
	l.armed = false
	l.mu.Unlock()
	kept := conns[:0]
	for _, c := range conns {
		if l.visit(c) {
			kept = append(kept, c)
		}
	}
	clear(conns[len(kept):])
	l.mu.Lock()
	if len(kept) > 0 {
		l.conns = append(l.conns, kept...)
		clear(kept)
		l.start()
	}
	l.spare = conns
	l.mu.Unlock()
	l.then()
}
