package serve

import (
	"sync"
	"testing"
	"time"
)

// TestTraffic has in each row how long a request took, its status, and the bound
// and the class that it is counted in.
func TestTraffic(t *testing.T) {
	for _, test := range []struct {
		spent  time.Duration
		status int
		within time.Duration // 0 is longer than all
		class  int
	}{
		{0, 200, 10 * time.Microsecond, 2},
		{90 * time.Microsecond, 101, 100 * time.Microsecond, 1},
		{90 * time.Millisecond, 304, 100 * time.Millisecond, 3},
		{9 * time.Second, 404, 10 * time.Second, 4},
		{11 * time.Second, 500, 0, 5},
		{time.Hour, 999, 0, 5}, // of a handler of net/http's
	} {
		traffic := new(Traffic)
		began := traffic.Begin()
		if traffic.Active() != 1 {
			t.Errorf("%d are active", traffic.Active())
		}
		traffic.End(began-test.spent, test.status)
		if traffic.Active() != 0 || traffic.Answered(test.class) != 1 || traffic.Spent() < test.spent {
			t.Errorf("%v, %d: %d active, %d of class %d, spent %v", test.spent, test.status, traffic.Active(), traffic.Answered(test.class), test.class, traffic.Spent())
		}
		first := time.Duration(0)
		all := traffic.Within(func(bound time.Duration, answers int64) {
			if answers > 0 && first == 0 {
				first = bound
			}
		})
		if all != 1 || first < test.within || first > 0 && test.within == 0 { // the test itself may take a while
			t.Errorf("%v is counted within %v, want %v", test.spent, first, test.within)
		}
	}
}

// A request is counted without memory, by whoever answers it.
func TestTrafficOfMany(t *testing.T) {
	traffic := new(Traffic)
	if n := testing.AllocsPerRun(100, func() { traffic.End(traffic.Begin(), 200) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	traffic = new(Traffic)
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 1000 {
				traffic.End(traffic.Begin(), 204)
			}
		}()
	}
	all.Wait()
	if n := traffic.Within(func(time.Duration, int64) {}); n != 8000 || traffic.Answered(2) != 8000 || traffic.Active() != 0 {
		t.Errorf("%d counted", n)
	}
}

func BenchmarkTraffic(b *testing.B) {
	traffic := new(Traffic)
	for b.Loop() {
		traffic.End(traffic.Begin(), 200)
	}
}
