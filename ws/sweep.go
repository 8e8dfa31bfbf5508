package ws

import (
	"encoding/binary"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"aerys/ws/frame"
)

// soon sends, a millisecond later, what a handler that takes long has already
// sent, and what was broadcast meanwhile.
type soon struct {
	endpoint *Endpoint
	mu       sync.Mutex
	armed    bool
	timer    *time.Timer
	conns    []*conn
	spare    []*conn
}

const gatherPeriod = time.Millisecond

// add puts a conn on the list. conn.mu is held.
func (s *soon) add(c *conn) {
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.start()
	s.mu.Unlock()
}

// arm sees to it that the feed is flushed.
func (s *soon) arm() {
	s.mu.Lock()
	s.start()
	s.mu.Unlock()
}

func (s *soon) start() {
	switch {
	case s.armed:
	case s.timer == nil:
		s.timer = time.AfterFunc(gatherPeriod, s.run)
	default:
		s.timer.Reset(gatherPeriod)
	}
	s.armed = true
}

func (s *soon) run() {
	s.mu.Lock()
	conns := s.conns
	s.conns, s.spare = s.spare[:0], nil
	s.armed = false
	s.mu.Unlock()
	for i, c := range conns {
		c.mu.Lock()
		c.gatherPending = false
		if c.out != nil {
			c.gathering = false
			c.flush()
		}
		c.mu.Unlock()
		conns[i] = nil
	}
	s.mu.Lock()
	s.spare = conns
	s.mu.Unlock()
	s.endpoint.flushFeed()
}

// sweeper looks at every client once a second, for all that depends on time.
type sweeper struct {
	mu      sync.Mutex
	running bool
	passed  chan struct{} // closed by the next sweep
	minute  uint32        // when it began, for Options.MaxBytesPerMinute

	accepted uint64 // clients so far, as of the last sweep
	settled  int64  // clients when memory was last given back
}

const sweepPeriod = time.Second

// startSweeping is called when a client was added.
func (e *Endpoint) startSweeping() {
	e.sweeper.mu.Lock()
	defer e.sweeper.mu.Unlock()
	if !e.sweeper.running {
		e.sweeper.running = true
		e.clock.Store(e.seconds())
		time.AfterFunc(sweepPeriod, e.sweep)
	}
}

// sweep checks every client, as long as there are any.
func (e *Endpoint) sweep() {
	s := &e.sweeper
	now := e.seconds()
	e.clock.Store(now)
	newMinute := now-s.minute >= 60
	if newMinute {
		s.minute = now
	}
	e.table.each(func(c *conn) bool { c.sweep(newMinute); return true })
	s.settle(e.counters.accepted.Load(), e.table.length.Load())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.passed != nil {
		close(s.passed)
		s.passed = nil
	}
	s.running = e.table.length.Load() > 0
	if s.running {
		time.AfterFunc(sweepPeriod, e.sweep)
	}
}

// settle gives memory back when a rush of handshakes is over. Each leaves some
// 20 KB behind, a hundred times what an idle client needs, and the heap has
// grown to suit. It takes a doubling of the clients: that is a few collections
// in a process's life.
func (s *sweeper) settle(accepted uint64, clients int64) {
	calm := accepted == s.accepted
	s.accepted = accepted
	if calm && clients >= 1000 && clients >= 2*s.settled {
		s.settled = clients
		go func() {
			runtime.GC() // pools let go in two steps
			debug.FreeOSMemory()
		}()
	}
}

// nextSweep is closed when all clients were looked at again.
func (e *Endpoint) nextSweep() <-chan struct{} {
	e.sweeper.mu.Lock()
	defer e.sweeper.mu.Unlock()
	if e.sweeper.passed == nil {
		e.sweeper.passed = make(chan struct{})
	}
	return e.sweeper.passed
}

// seconds is the time since the endpoint was made.
func (e *Endpoint) seconds() uint32 { return uint32(time.Since(e.epoch) / time.Second) }

// sweep does what is due for one client.
func (c *conn) sweep(newMinute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.endpoint
	now := e.clock.Load()
	if c.lastRead != now {
		c.transport.hurry() // what comes slowly comes nevertheless
	}
	if how := c.closing.Load(); how != nil {
		if time.Since(how.at) >= e.options.ClosePeriod {
			c.abandon(how.code, how.reason)
		}
		return
	}
	c.secondMark = c.tally[framesRead]
	if newMinute {
		c.minuteMark = c.tally[bytesRead]
	}
	if frames, bytes := c.allowance(); c.activity == paused && frames > 0 && bytes > 0 {
		c.activity = listening
		c.transport.resume()
	}
	c.checkWriting(now)
	c.beat(now)
}

// checkWriting closes a client whose queue stands still.
func (c *conn) checkWriting(now uint32) {
	timeout := c.endpoint.options.WriteTimeout
	if c.out != nil && time.Duration(now-c.out.progress)*time.Second > timeout {
		c.endpoint.counters.slow.Add(1)
		c.abandon(CodePolicyViolation, "client does not read: Options.WriteTimeout passed")
	}
}

// beat sends a ping to a client that was silent for a while, or closes it when
// too many were not answered (RFC 6455 §5.5.2).
func (c *conn) beat(now uint32) {
	e := c.endpoint
	silence, period := now-c.lastRead, max(1, uint32(min(e.options.HeartbeatPeriod/time.Second, math.MaxUint32)))
	if silence == 0 || silence%period != 0 || c.activity != listening || c.closing.Load() != nil {
		return // nobody listens while a handler takes its time
	}
	if int(c.unanswered) >= e.options.QueuedPingLimit {
		e.counters.failed(CodePolicyViolation)
		c.sayClose(CodePolicyViolation, "no answer to Options.QueuedPingLimit pings", &closing{final: true})
		return
	}
	c.unanswered++
	c.sendControl(frame.Ping, binary.BigEndian.AppendUint64(nil, uint64(time.Since(e.epoch))))
}

// pong answers a ping (RFC 6455 §5.5.3).
func (c *conn) pong(payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() != nil {
		return nil
	}
	if option := c.out.over(c.endpoint.options); option != "" {
		c.endpoint.counters.slow.Add(1)
		c.abandon(CodePolicyViolation, "client does not read the answers to its pings: more than Options."+option+" waits")
		return nil
	}
	c.sendControl(frame.Pong, payload)
	return nil
}

// ponged takes the answer to a ping of ours; one that nobody asked for means
// nothing (RFC 6455 §5.5.3).
func (c *conn) ponged(payload []byte) {
	if len(payload) != 8 {
		return
	}
	took := time.Since(c.endpoint.epoch) - time.Duration(binary.BigEndian.Uint64(payload))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unanswered > 0 && took >= 0 {
		c.unanswered = 0
		c.roundTrip = uint32(min(took/time.Microsecond, 1<<32-1))
	}
}

// allowance is how many frames and bytes may be read before the client has to
// pause. c.mu is held.
func (c *conn) allowance() (frames, bytes int64) {
	options := c.endpoint.options
	return int64(options.MaxFramesPerSecond) - int64(c.tally[framesRead]-c.secondMark),
		options.MaxBytesPerMinute - int64(c.tally[bytesRead]-c.minuteMark)
}

// mayRead reports whether the client has not used up a rate.
func (c *conn) mayRead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames, bytes := c.allowance()
	return frames > 0 && bytes > 0
}

// pause notes that reading stops until a sweep allows more.
func (c *conn) pause() {
	c.mu.Lock()
	c.activity = paused
	c.mu.Unlock()
}

// waitWhilePaused is pause for a handler that is reading a message.
func (c *conn) waitWhilePaused() {
	c.pause()
	for {
		passed := c.endpoint.nextSweep()
		c.mu.Lock()
		waits := c.activity == paused && c.closing.Load() == nil
		c.mu.Unlock()
		if !waits {
			return
		}
		<-passed
	}
}
