package aerys

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// timers is a connection that tells which read deadlines are really set.
type timers struct {
	net.Conn
	set chan time.Time
}

func (c *timers) SetReadDeadline(t time.Time) error {
	err := c.Conn.SetReadDeadline(t)
	c.set <- t
	return err
}

// TestReadDeadline has in each row what is wanted before a read, what while it
// waits, whether the client sends something after that, and what comes of it.
func TestReadDeadline(t *testing.T) {
	const soon, long, past, none = 500 * time.Millisecond, time.Hour, -time.Hour * 1e6, 0
	for _, test := range []struct {
		name   string
		before []time.Duration
		during []time.Duration
		sent   bool
		timers int
	}{
		{"none", nil, nil, true, 0},
		{"taken back", []time.Duration{long, none}, nil, true, 0},
		{"five, as net/http's", []time.Duration{long, long, none, past, none}, nil, true, 0},
		{"the last one counts", []time.Duration{soon, long}, nil, true, 1},
		{"soon", []time.Duration{soon}, nil, false, 1},
		{"earlier while it waits", []time.Duration{long}, []time.Duration{soon}, false, 2},
		{"past while it waits", []time.Duration{long}, []time.Duration{past}, false, 2},
		{"past while it waits without end", nil, []time.Duration{past}, false, 1},
		{"past before", []time.Duration{past}, nil, false, 0},
		{"later while it waits", []time.Duration{soon}, []time.Duration{long}, true, 2},
		{"taken back while it waits", []time.Duration{soon}, []time.Duration{none}, true, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			near, far := net.Pipe()
			defer far.Close()
			conn := &timers{near, make(chan time.Time, 10)}
			var d readDeadline
			want := func(all []time.Duration) {
				for _, in := range all {
					deadline := time.Time{}
					if in != none {
						deadline = time.Now().Add(in)
					}
					if err := d.want(conn, deadline); err != nil {
						t.Error(err)
					}
				}
			}
			want(test.before)
			result := make(chan error)
			go func() {
				_, err := d.read(conn, make([]byte, 1))
				result <- err
			}()
			if test.during != nil {
				eventually(t, "a read", func() bool { return d.reading.Load() == 1 })
				if len(test.before) > 0 {
					conn.set <- <-conn.set // the timer is set: it waits
				}
				want(test.during)
			}
			if test.sent {
				eventually(t, "the timers", func() bool { return len(conn.set) >= test.timers })
				io.WriteString(far, "x")
			}
			if err := <-result; test.sent && err != nil || !test.sent && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			if n := len(conn.set); n != test.timers {
				t.Errorf("%d timers were set, want %d", n, test.timers)
			}
			d.clear(conn)
			go io.WriteString(far, "y")
			if _, err := io.ReadFull(near, make([]byte, 1)); err != nil {
				t.Error("after clear: ", err)
			}
		})
	}
}

// TestManyReadDeadlines ends reads as net/http ends that of one byte, which it
// starts for each request.
func TestManyReadDeadlines(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	var d readDeadline
	for range 10_000 {
		ended := make(chan error, 1)
		go func() {
			_, err := d.read(near, make([]byte, 1))
			ended <- err
		}()
		d.want(near, time.Unix(1, 0))
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		d.want(near, time.Time{})
	}
}
