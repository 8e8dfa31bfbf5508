package aerys

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// readDeadline is the read deadline of a connection. net/http sets five for each
// request, most of which are over before anything waits; each would cost a timer
// and two looks at the clock. So it is only noted, and the timer is set by a
// read that would otherwise wait for longer. Times are since epoch; 0 is none.
type readDeadline struct {
	wanted  atomic.Int64
	set     atomic.Int64 // what the timer is set to; written under mu
	reading atomic.Int32 // reads under way
	mu      sync.Mutex
}

// want sets the deadline, also for a read under way.
func (d *readDeadline) want(conn net.Conn, t time.Time) error {
	d.wanted.Store(sinceEpoch(t))
	if d.reading.Load() == 0 {
		return nil // the next read will see it
	}
	return d.settle(conn)
}

func sinceEpoch(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return or(int64(t.Sub(epoch)), 1)
}

// settle sets the timer if it would end a read too late, or before it began.
func (d *readDeadline) settle(conn net.Conn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if wanted := d.wanted.Load(); tooLate(d.set.Load(), wanted) {
		return d.setTimer(conn, wanted)
	}
	return nil
}

func tooLate(set, wanted int64) bool {
	return set != wanted && (set <= 0 || 0 != wanted && wanted < set)
}

func (d *readDeadline) setTimer(conn net.Conn, wanted int64) error {
	d.set.Store(wanted)
	if wanted == 0 {
		return conn.SetReadDeadline(time.Time{})
	}
	return conn.SetReadDeadline(epoch.Add(time.Duration(wanted)))
}

// clear takes the deadline off the connection, before it gets another owner.
func (d *readDeadline) clear(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted.Store(0); d.set.Load() != 0 {
		d.setTimer(conn, 0)
	}
}

// read reads from conn until the deadline.
func (d *readDeadline) read(conn net.Conn, p []byte) (n int, err error) {
	d.reading.Add(1)
	defer d.reading.Add(-1)
	for {
		wanted := d.wanted.Load()
		if wanted < 0 { // how net/http ends a read
			return 0, os.ErrDeadlineExceeded
		}
		if tooLate(d.set.Load(), wanted) {
			d.settle(conn)
		}
		n, err = conn.Read(p)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || d.over() {
			return n, err
		}
		d.renew(conn)
	}
}

// over reports whether the deadline has passed.
func (d *readDeadline) over() bool {
	wanted := d.wanted.Load()
	return wanted != 0 && wanted <= int64(time.Since(epoch))
}

// renew replaces a timer that has run down too early.
func (d *readDeadline) renew(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.setTimer(conn, d.wanted.Load())
}
