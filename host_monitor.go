package aerys

import (
	"sync/atomic"
	"time"
)

// traffic counts the requests of one host.
type traffic struct {
	active  atomic.Int64
	classes [5]atomic.Int64 // 1xx to 5xx
	nanos   atomic.Int64    // time spent on all of them
}

// epoch makes reading the clock half as dear as time.Now.
var epoch = time.Now()

// begin counts a request, and returns when.
func (t *traffic) begin() time.Duration {
	t.active.Add(1)
	return time.Since(epoch)
}

// end counts the answer to a request that began at that time.
func (t *traffic) end(began time.Duration, status int) {
	t.nanos.Add(int64(time.Since(epoch) - began))
	t.classes[max(0, min(status/100-1, 4))].Add(1)
	t.active.Add(-1)
}
