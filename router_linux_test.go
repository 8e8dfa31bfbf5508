package aerys

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"
)

// A router of 20,000 routes takes hardly more work than ten of 2,000: each route
// costs the same, however many there are.
func TestRegisteringIsLinear(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, shape := range []string{
		"/a%d/{x}/?", "/{x}/a%d", "/{x}.%d/y", "/{x}-{y}-%d", `/{x:\d{4}}/a%d`, `/{x:a|b%d}`, "/a%d[/b[/{x}[/{y}]]]",
	} {
		var few, many float64
		for range 3 { // what else the machine does may be in the way
			if few, many = registering(shape, 10, 2_000), registering(shape, 1, 20_000); many < 2.5*few {
				break
			}
		}
		t.Logf("%-22s %.3f s, %.3f s", shape, few, many)
		if many > 2.5*few {
			t.Errorf("%s: ten times 2,000 routes take %.3f s, and 20,000 %.3f s", shape, few, many)
		}
		runtime.GC()
	}
}

// registering returns the seconds of CPU that it takes to register and compile so
// many routes, several times.
func registering(shape string, times, count int) float64 {
	began := threadTime()
	for range times {
		router := Router()
		for i := range count {
			router.Get(fmt.Sprintf(shape, i), func(*Request, *Response) {})
		}
		router.Start(context.Background())
	}
	return (threadTime() - began).Seconds()
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_THREAD, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
