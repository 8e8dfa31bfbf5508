package ws

import (
	"log/slog"
	"math"
	"time"

	"aerys/internal/loop"
)

// A client may read as many bytes as Options.MaxBytesPerMinute at once, and as
// many frames as Options.MaxFramesPerSecond. What it has used comes back little
// by little, so that who is over a rate gets on at that rate.

// refill gives a client back what it has earned in the second that ends now.
// c.mu is held.
func (c *conn) refill(now loop.Time) {
	options, second := c.endpoint.options, int64(now%60)
	frames, minute := min(int64(options.MaxFramesPerSecond), math.MaxUint32), min(options.MaxBytesPerMinute, math.MaxUint32)
	bytes := (second+1)*minute/60 - second*minute/60
	c.framesMark += min(uint32(frames), c.tally[framesRead]-c.framesMark)
	c.bytesMark += min(uint32(bytes), c.tally[bytesRead]-c.bytesMark)
}

// allowance is how many frames and bytes may be read before the client has to
// pause, as of the last tick. c.mu is held.
func (c *conn) allowance() (frames, bytes int64) {
	options := c.endpoint.options
	return int64(options.MaxFramesPerSecond) - int64(c.tally[framesRead]-c.framesMark),
		options.MaxBytesPerMinute - int64(c.tally[bytesRead]-c.bytesMark)
}

// allowanceNow is allowance as of now, with what was earned since the last tick.
// c.mu is held.
func (c *conn) allowanceNow() (frames, bytes int64) {
	options, carrier := c.endpoint.options, c.transport.Loop()
	since := min(time.Since(carrier.At(carrier.Now())), 2*time.Second) // which is what a tick may be late
	back := func(rest, limit int64, period time.Duration) int64 {
		return rest + min(min(limit, math.MaxUint32)*int64(since)/int64(period), limit-rest)
	}
	frames, bytes = c.allowance()
	return back(frames, int64(options.MaxFramesPerSecond), time.Second),
		back(bytes, options.MaxBytesPerMinute, time.Minute)
}

// mustPause reports whether the client has used up a rate. One that is being
// closed, or has left, may finish.
func (r *reader) mustPause() bool {
	c := r.conn
	if r.frames > 0 && r.bytes > 0 || c.closing.Load() != nil {
		return false
	}
	c.mu.Lock()
	r.account()
	r.frames, r.bytes = c.allowanceNow()
	c.mu.Unlock()
	return r.frames <= 0 || r.bytes <= 0
}

// pause notes that reading stops until more is allowed. c.mu is held.
func (c *conn) pause() {
	if c.closing.Load() != nil {
		return
	}
	c.activity = paused
	c.lookAtPace()
	if !c.extra.warned {
		c.extra.warned = true
		c.warn()
	}
}

// lookAtPace sees to it that pacePassed is called. c.mu is held.
func (c *conn) lookAtPace() {
	if !c.extras().pacing {
		c.extra.pacing = true
		c.endpoint.pace.add(c)
	}
}

// unpause ends a pause. c.mu is held.
func (c *conn) unpause() {
	if c.activity == paused {
		c.activity = listening
		c.wakeHandler()
		c.transport.Resume()
	}
}

// pacePassed ends the pause of a client that may send again.
func (c *conn) pacePassed() {
	c.mu.Lock()
	if frames, bytes := c.allowanceNow(); frames > 0 && bytes > 0 {
		c.unpause()
	}
	c.extra.pacing = false
	if c.activity == paused {
		c.lookAtPace()
	}
	late := c.activity == handling
	c.mu.Unlock()
	if late {
		c.readAhead()
	}
}

// waitWhilePaused pauses a handler that is reading a message.
func (c *conn) waitWhilePaused() {
	c.mu.Lock()
	wake := c.waker()
	c.pause()
	waits := c.activity == paused
	c.mu.Unlock()
	if waits {
		c.readAhead()
	}
	for waits {
		<-wake
		c.mu.Lock()
		waits = c.activity == paused
		c.mu.Unlock()
	}
}

// warn tells the log that a client is over a rate. c.mu is held.
func (c *conn) warn() {
	option := "MaxFramesPerSecond"
	if frames, _ := c.allowanceNow(); frames > 0 {
		option = "MaxBytesPerMinute"
	}
	c.endpoint.paced.log(c.endpoint.options.Logger, slog.LevelWarn,
		"ws: a client sends more than Options."+option+" allows, and is read from no faster", slog.Uint64("client", uint64(c.id)))
}
