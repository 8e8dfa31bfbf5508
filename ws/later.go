package ws

import (
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
