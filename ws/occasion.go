package ws

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// occasion is something that clients can bring about as often as they like. It
// is logged once a second at most.
type occasion struct {
	mu      sync.Mutex
	last    time.Time
	omitted int // since then
}

// log logs it, or counts it for the next time.
func (o *occasion) log(logger *slog.Logger, level slog.Level, message string, what ...any) {
	omitted, due := o.due(time.Now())
	if !due {
		return
	}
	if omitted > 0 {
		what = append(what, slog.Int("omitted", omitted))
	}
	logger.Log(context.Background(), level, message, what...)
}

// due reports whether to log it this time, and how often it was not since it was.
func (o *occasion) due(now time.Time) (omitted int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.last) < time.Second {
		o.omitted++
		return 0, false
	}
	omitted, o.omitted, o.last = o.omitted, 0, now
	return omitted, true
}

// clip cuts what a client sent to what a log can bear.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
