package loop

import (
	"sync"
	"sync/atomic"
	"time"
)

// extra is what few connections need: what wakes those who wait, and deadlines.
type extra struct {
	readable, writable chan struct{}
	read, write        deadline
}

func newExtra() *extra {
	return &extra{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// stop ends the timers.
func (e *extra) stop() {
	e.read.set(time.Time{}, nil)
	e.write.set(time.Time{}, nil)
}

// deadline is one that an owner has set.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  atomic.Bool
}

// set sets the deadline, in place of the one before. wake wakes who waits.
func (d *deadline) set(t time.Time, wake chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	left := time.Until(t)
	d.over.Store(!t.IsZero() && left <= 0)
	switch {
	case t.IsZero():
	case left <= 0:
		signal(wake)
	default:
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // else there is another deadline by now
				d.over.Store(true)
				signal(wake)
			}
		})
		d.timer = timer
	}
}

// signal wakes who waits for a channel, or will.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
