// Package looptest turns the clock of a loop for tests.
package looptest

import (
	"bytes"
	"regexp"
	"runtime"
	"sync/atomic"
	"time"

	"aerys/internal/loop"
)

// Pass lets seconds pass, one by one. Each begins when all that the loop and
// the handlers under it were doing has come to rest: a test's time would
// otherwise overtake what needs none.
func Pass(l *loop.Loop, seconds int) {
	for range seconds {
		rest()
		l.Sweep(1)
	}
	rest()
}

// patience is how long something may go on that does not come to rest.
const patience = 10 * time.Second

// enough is how many bytes the stacks of all goroutines took so far.
var enough atomic.Int64

// rest wants to see it twice: starting the world again finds what the kernel has
// for those that wait for it.
func rest() {
	stacks := make([]byte, max(64<<10, enough.Load()))
	end := time.Now().Add(patience)
	for quiet := 0; quiet < 2 && time.Now().Before(end); quiet++ {
		switch n := runtime.Stack(stacks, true); {
		case n == len(stacks): // one that is missing would be one that rests
			quiet = -1
			stacks = make([]byte, 2*n)
			enough.Store(int64(2 * n))
		case busy(stacks[:n]):
			quiet = -1
			time.Sleep(10 * time.Microsecond)
		}
	}
}

// concerns reports whether a goroutine has to do with us: those that net/http has for
// HTTP/2 bring what clients send.
func concerns(stack []byte) bool {
	return bytes.Contains(stack, []byte("aerys")) || bytes.Contains(stack, []byte("http2"))
}

// busy reports whether goroutines of ours other than the first, which asks, run.
func busy(stacks []byte) bool {
	_, stacks, _ = bytes.Cut(stacks, between)
	for len(stacks) > 0 {
		var stack []byte
		if stack, stacks, _ = bytes.Cut(stacks, between); concerns(stack) && !waits(stack) {
			return true
		}
	}
	return false
}

var between = []byte("\n\n")

var transient = regexp.MustCompile(`\[(run|GC |preempted|copystack|stopping|wait for GC|flushing)`)

// ours are goroutines that carry connections, and not a test's.
var ours = regexp.MustCompile(`aerys/internal/(loop|http1)`)

// waits reports whether a goroutine waits for others, or for the kernel: a system
// call of a loop's other than to wait does not take long, nor does what the
// collector has a goroutine do or wait for.
func waits(stack []byte) bool {
	state, _, _ := bytes.Cut(stack, []byte("\n"))
	switch {
	case transient.Match(state):
		return false
	case bytes.Contains(state, []byte("[syscall")) && ours.Match(stack):
		return bytes.Contains(stack, []byte("syscall.EpollWait("))
	}
	return true
}
