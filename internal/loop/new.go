package loop

import (
	"log/slog"
	"sync"
	"time"
)

// New makes a loop. log hears of what no owner can be told. Close gives back what
// the loop holds.
func New(log *slog.Logger) *Loop {
	l := &Loop{epoch: time.Now(), log: log}
	l.engine, l.clock.looked = newEngine(l), l.epoch
	l.now.Store(1)
	return l
}

// Shared returns a loop for connections that servers of others have accepted. It
// runs as long as the process does.
func Shared() *Loop { return shared() }

var shared = sync.OnceValue(func() *Loop { return New(slog.Default()) })
