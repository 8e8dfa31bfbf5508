package loop

import (
	"runtime"
	"runtime/debug"
	"sync"
	"time"
)

const sweepPeriod = time.Second

// clock counts the seconds that the process ran.
type clock struct {
	mu     sync.Mutex
	timer  *time.Timer   // nil while nobody is swept
	looked time.Time     // when the last sweep was
	rest   time.Duration // of what had passed by then
	ended  bool

	sweeping sync.Mutex // one sweep at a time

	connections int // at the last sweep
	settled     int // when memory was last given back
}

// Now returns the loop's time, as of the last sweep.
func (l *Loop) Now() Time { return Time(l.now.Load()) }

// At returns when a time of the loop's was, if the process has run since.
func (l *Loop) At(t Time) time.Time {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	return l.clock.looked.Add(-l.clock.rest - time.Duration(l.Now()-t)*time.Second)
}

// startSweeping is called when a connection was added.
func (l *Loop) startSweeping() {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	if l.clock.timer == nil && !l.clock.ended {
		l.clock.looked = time.Now()
		l.clock.timer = time.AfterFunc(sweepPeriod, l.sweep)
	}
}

// sweep is what a second does, for as long as there are connections.
func (l *Loop) sweep() {
	c := &l.clock
	next := c.pass(time.Now())
	l.Sweep(1)
	c.settle(l.Len())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer = nil; l.Len() > 0 && !c.ended {
		c.timer = time.AfterFunc(next, l.sweep)
	}
}

// pass lets a second pass, and returns in how much time the next is over. Two
// seconds at most count of what went by since it was last called, for in a longer
// time the process did not run; and nobody has to do in no time what takes some.
func (c *clock) pass(now time.Time) (next time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rest = max(0, min(c.rest+now.Sub(c.looked), 2*sweepPeriod)-sweepPeriod)
	c.looked = now
	return max(sweepPeriod-c.rest, sweepPeriod/4)
}

// settle gives memory back when a rush of connections is over. Each handshake
// leaves some 20 KB behind, a hundred times what an idle connection needs, and the
// heap has grown to suit. It takes a doubling of the connections: that is a few
// collections in a process's life.
func (c *clock) settle(connections int) {
	calm := connections == c.connections
	c.connections = connections
	if calm && connections >= 1000 && connections >= 2*c.settled {
		c.settled = connections
		go func() {
			runtime.GC() // pools let go in two steps
			debug.FreeOSMemory()
		}()
	}
}

// Sweep lets a number of seconds pass: every owner is told of each. The loop
// calls it by itself once a second; tests turn the clock with it.
func (l *Loop) Sweep(seconds int) {
	l.clock.sweeping.Lock()
	defer l.clock.sweeping.Unlock()
	for range seconds {
		now := Time(l.now.Add(1))
		l.table.each(func(c *Conn) {
			if c.isStuck() {
				c.transport.retry() // a socket does not tell of little room
			}
			if o := c.Owner(); o != nil {
				o.Tick(c, now)
			}
		})
	}
	l.engine.rearm()
}

// stopSweeping ends the sweeps.
func (l *Loop) stopSweeping() {
	l.clock.mu.Lock()
	defer l.clock.mu.Unlock()
	l.clock.ended = true
	if l.clock.timer != nil {
		l.clock.timer.Stop()
	}
}

// soon is a list of connections that asked to be told in a millisecond.
type soon struct {
	mu    sync.Mutex
	timer *time.Timer // runs while there are any
	conns []*Conn
	spare []*Conn
}

const soonPeriod = time.Millisecond

func (s *soon) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns = append(s.conns, c); len(s.conns) > 1 {
		return
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(soonPeriod, s.run)
	} else {
		s.timer.Reset(soonPeriod)
	}
}

func (s *soon) run() {
	s.mu.Lock()
	conns := s.conns
	s.conns, s.spare = s.spare[:0], nil
	s.mu.Unlock()
	for i, c := range conns {
		conns[i] = nil
		c.tellSoon()
	}
	s.mu.Lock()
	s.spare = conns
	s.mu.Unlock()
}
