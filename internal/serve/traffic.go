package serve

import (
	"strconv"
	"sync/atomic"
	"time"
)

// bounds are those of the classes in which requests are counted by how long they
// took: three a decade, from what a small answer takes to what nobody waits for.
var bounds = [...]time.Duration{
	10 * time.Microsecond, 25 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Traffic counts requests, by status and by how long they took. The zero value
// has counted none; it may be used from any goroutine.
type Traffic struct {
	begun   atomic.Int64
	classes [5]atomic.Int64 // of those answered, 1xx to 5xx
	nanos   atomic.Int64    // time spent on them
	within  [len(bounds) + 1]atomic.Int64
}

// epoch is what times are measured from: time.Since needs only the monotonic
// clock, time.Now reads two.
var epoch = time.Now()

// Begin counts a request, and returns when.
func (t *Traffic) Begin() time.Duration {
	t.begun.Add(1)
	return time.Since(epoch)
}

// End counts the answer to a request that began at that time.
func (t *Traffic) End(began time.Duration, status int) {
	spent := time.Since(epoch) - began
	i := 0
	for i < len(bounds) && spent > bounds[i] { // the quick ones are found at once
		i++
	}
	t.nanos.Add(int64(spent))
	t.within[i].Add(1)
	t.classes[max(0, min(status/100-1, 4))].Add(1)
}

// Active is how many requests are being answered.
func (t *Traffic) Active() int64 {
	answered := int64(0)
	for i := range t.classes {
		answered += t.classes[i].Load()
	}
	return t.begun.Load() - answered
}

// Answered is how many requests got a status of a class, 1 to 5.
func (t *Traffic) Answered(class int) int64 { return t.classes[class-1].Load() }

// Spent is the time that all answers took together.
func (t *Traffic) Spent() time.Duration { return time.Duration(t.nanos.Load()) }

// Within tells how many answers took no longer than each of the bounds, and
// returns how many there were.
func (t *Traffic) Within(visit func(bound time.Duration, answers int64)) (all int64) {
	for i := range t.within {
		if all += t.within[i].Load(); i < len(bounds) {
			visit(bounds[i], all)
		}
	}
	return all
}

// Refusals counts the requests that reach nobody who answers them, by status.
type Refusals struct {
	errors [200]atomic.Int64 // 400 to 599
}

// Add counts one.
func (r *Refusals) Add(status int) { r.errors[status-400].Add(1) }

// All returns those that there were.
func (r *Refusals) All() map[string]int64 {
	all := make(map[string]int64)
	for i := range r.errors {
		if n := r.errors[i].Load(); n > 0 {
			all[strconv.Itoa(400+i)] = n
		}
	}
	return all
}
