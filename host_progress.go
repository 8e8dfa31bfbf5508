package aerys

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// patience is for how many ConnectionTimeouts a handler waits for more of a body,
// or for a client that takes nothing of a response: networks stall longer in the
// middle of something than before a header.
const patience = 10

// progress is what a client has to make for a write to go on: a write of which it
// takes nothing for a while fails. The timer is not set anew for each write, but
// to twice that while, and when half of it is over.
type progress struct{ until atomic.Int64 }

// The values of progress.until other than a time since epoch.
const (
	unset   = 0
	foreign = -1 // a handler has set a deadline of its own
	handed  = -2 // the connection was hijacked: its owner looks after it
)

// expect sets the timer, if need be.
func (p *progress) expect(conn net.Conn, while time.Duration) {
	until, now := p.until.Load(), int64(time.Since(epoch))
	next := now + 2*int64(while)
	if until >= 0 && until-now < int64(while) && p.until.CompareAndSwap(until, next) {
		conn.SetWriteDeadline(epoch.Add(time.Duration(next)))
	}
}

// want sets a deadline in place of the timer, or the timer in place of it.
func (p *progress) want(conn net.Conn, t time.Time) error {
	switch until := p.until.Load(); {
	case until == handed:
	case !t.IsZero():
		p.until.Store(foreign)
	case until == foreign:
		p.until.Store(unset)
	default:
		return nil // the timer stays
	}
	return conn.SetWriteDeadline(t)
}

// clear takes the timer off the connection, before it gets another owner.
func (p *progress) clear(conn net.Conn) {
	if until := p.until.Swap(handed); until > 0 || until == foreign {
		conn.SetWriteDeadline(time.Time{})
	}
}

// sending calls write, which reports how many bytes the client took, and again
// when its time is over as long as these are some.
func (c *connection) sending(write func() (int64, error)) (n int64, err error) {
	for {
		c.progress.expect(c.Conn, patience*c.all.options.ConnectionTimeout)
		some, err := write()
		n += some
		if some == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.progress.until.Load() < 0 {
			return n, err
		}
	}
}

// write is Write past the cork, and not counted.
func (c *connection) write(p []byte) (int, error) {
	n, err := c.sending(func() (int64, error) {
		n, err := c.Conn.Write(p)
		p = p[n:]
		return int64(n), err
	})
	return int(n), err
}

// copy sends what r has. The kernel does if it is a file.
func (c *connection) copy(r io.Reader) (int64, error) {
	source := r
	if limited, ok := r.(*io.LimitedReader); ok {
		source = limited.R
	}
	file, ok := source.(*os.File)
	if !ok {
		return io.Copy(writerFunc(c.write), r)
	}
	position, err := file.Seek(0, io.SeekCurrent)
	if err != nil { // it is a pipe, or the like
		return io.Copy(writerFunc(c.write), r)
	}
	return c.sending(func() (int64, error) {
		n, err := io.Copy(c.Conn, r)
		position += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if now, _ := file.Seek(0, io.SeekCurrent); now != position {
				err = errReadNotSent // it was no file for the kernel
			}
		}
		return n, err
	})
}

var errReadNotSent = errors.New("aerys: some of a file was read and could not be sent in time")

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
