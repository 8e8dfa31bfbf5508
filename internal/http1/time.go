package http1

import (
	"sync/atomic"
	"time"

	"aerys/internal/loop"
)

// limits are how long a client may take. Zero is no limit.
type limits struct {
	header, idle, body, write, linger time.Duration
	rate                              int64 // bytes of a body a second
}

// moments is what the sweep knows of a connection that may be idle.
type moments struct {
	seen  uint32    // of Conn.moves
	moved loop.Time // when they were first seen to be so many
}

// never is what moments.seen is before the first sweep.
const never = ^uint32(0)

// clock is what the sweep knows of an exchange. The connection counts what
// happens, without asking for the time; the sweep sees whether the counts have
// moved since it looked last, so every limit is exact to a sweep.
type clock struct {
	exchanges atomic.Uint32
	got       atomic.Int64  // bytes read
	writes    atomic.Uint64 // odd while something is written
	last      lastLook      // the sweep's own
}

// lastLook is what the sweep saw when it looked last.
type lastLook struct {
	at, gotAt, wroteAt loop.Time
	exchanges          uint32
	got, begun         int64 // bytes; at the beginning of the exchange
	writes             uint64
	waited             loop.Time // for the body of this exchange, at most limits.body
}

func (c *clock) received(n int) { c.got.Add(int64(max(n, 0))) }
func (c *clock) writing()       { c.writes.Add(1) }
func (c *clock) wrote()         { c.writes.Add(1) }
func (c *clock) piece()         { c.writes.Add(2) }

// reset makes it as new: what counts is how much more there is.
func (c *clock) reset() {
	c.last = lastLook{exchanges: c.exchanges.Load(), got: c.got.Load(), writes: c.writes.Load()}
}

// verdict is what time alone does to a connection.
type verdict uint8

const (
	patience  verdict = iota
	interrupt         // the body does not come: its reader gets a timeout
	expire            // nobody is at work on it: it is closed
	cut               // the client takes nothing: writing fails
)

// exceeds reports whether a time is as long as a limit.
func exceeds(past loop.Time, limit time.Duration) bool {
	return limit > 0 && time.Duration(past)*time.Second >= limit
}

// judge says what is due to an exchange.
func (c *clock) judge(p phase, l *limits, now loop.Time) verdict {
	c.look(p, now)
	last := &c.last
	slow := exceeds(now-last.gotAt, l.body) || c.tooSlow(l)
	switch {
	case last.writes%2 == 1 && exceeds(now-last.wroteAt, l.write):
		return cut
	case p == skipping && slow:
		return expire
	case p == waiting && slow:
		return interrupt
	}
	return patience
}

// tooSlow reports whether a body came too slowly in the last limits.body that
// it was waited for. Pauses and bursts within that time are fine.
func (c *clock) tooSlow(l *limits) bool {
	last := &c.last
	if l.body == 0 || !exceeds(last.waited, l.body) {
		return false
	}
	slow := last.got-last.begun < l.rate*int64(last.waited)
	last.begun, last.waited = last.got, 0
	return slow
}

// look notes what has changed.
func (c *clock) look(p phase, now loop.Time) {
	last := &c.last
	if n := c.writes.Load(); n != last.writes || n%2 == 0 {
		last.writes, last.wroteAt = n, now
	}
	got := c.got.Load()
	if n := c.exchanges.Load(); n != last.exchanges {
		last.exchanges, last.begun, last.waited, last.gotAt = n, last.got, 0, now
	}
	body := p == waiting || p == skipping
	if got != last.got || !body {
		last.got, last.gotAt = got, now
	}
	if body && last.at != 0 {
		last.waited += now - last.at
	}
	last.at = now
}

// longPast is a deadline that ends what waits.
var longPast = time.Unix(1, 0)
