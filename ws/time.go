package ws

import (
	"encoding/binary"
	"math"
	"time"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// This file is what is done because time has passed: pings (RFC 6455 §5.5.2), and
// the ends of WriteTimeout, ClosePeriod and of a silence.

// Tick implements loop.Owner: it does what is due for a client. All that depends
// on time does so on now alone.
func (c *conn) Tick(_ *loop.Conn, now loop.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == 0 || c.activity == ended {
		return
	}
	c.refill(now)
	if c.lastRead != now {
		c.transport.Hurry() // what comes slowly comes nevertheless
	}
	c.look(now)
	c.streaming().wakeSenders()
	if c.closing.Load() != nil {
		c.checkClosing(now)
		return
	}
	c.checkWriting(now)
	c.beat(now)
}

// muchHeld is what the kernel has to hold, when nothing waits to be written, for it to
// be a sign of life that it gets less: what is sent now and then is on its way for
// a moment, and arrives whether or not anyone reads it.
const muchHeld = 32 << 10

// look finds out whether what the kernel holds for a client gets less: that is
// progress, and a sign of life. c.mu is held.
func (c *conn) look(now loop.Time) {
	if c.out == nil && c.unanswered == 0 && c.closing.Load() == nil && (c.extra == nil || c.extra.held == 0) {
		return // nobody depends on it
	}
	held := uint32(c.transport.Held())
	if c.extra == nil && held == 0 {
		return
	}
	before := c.extras().held
	c.extra.held = held
	how := c.closing.Load()
	switch {
	case held >= before:
	case c.out == nil && how == nil && before < muchHeld:
	default:
		c.moved(now)
		if how != nil && how.since != 0 && !how.hurry {
			how.since = now
		}
	}
}

// checkClosing gives up a client that does not answer a close frame, or takes
// nothing of what is before it.
func (c *conn) checkClosing(now loop.Time) {
	how, options := c.closing.Load(), c.endpoint.options
	late := passed(how.since, now, options.ClosePeriod)
	if how.since == 0 {
		late = c.stalls(now, options.WriteTimeout)
	}
	if late {
		c.abandon(how.code, how.reason)
	}
}

// checkWriting closes a client whose queue stands still.
func (c *conn) checkWriting(now loop.Time) {
	switch options := c.endpoint.options; {
	case c.out == nil:
	case c.stalls(now, options.WriteTimeout):
		reason := "client does not read: Options.WriteTimeout passed"
		if option := c.backlog(1); option != "" {
			reason += ", and more than Options." + option + " waits"
		}
		c.giveUp(reason, &closing{slow: true})
		if c.out != nil { // it has had its time
			c.abandon(CodePolicyViolation, reason)
		}
	case c.out.late:
		c.keepsUp()
	}
}

// beat sends a ping to a client that was silent for a while, or closes it when
// too many were not answered (RFC 6455 §5.5.2).
func (c *conn) beat(now loop.Time) {
	e := c.endpoint
	alive, period := c.lastRead, max(1, loop.Time(min(e.options.HeartbeatPeriod/time.Second, math.MaxUint32)))
	if c.extra != nil {
		alive = max(alive, c.extra.moved)
	}
	due := (now - alive) / period // pings since then
	if due <= loop.Time(c.unanswered) || c.activity != listening && c.activity != ahead || c.closing.Load() != nil {
		return // nobody would see the pong
	}
	if int(c.unanswered) >= e.options.QueuedPingLimit {
		e.counters.failed(CodePolicyViolation)
		c.sayClose(CodePolicyViolation, "no answer to Options.QueuedPingLimit pings", &closing{final: true})
		return
	}
	c.sendControl(frame.Ping, binary.BigEndian.AppendUint64(nil, uint64(time.Since(e.epoch))))
}
