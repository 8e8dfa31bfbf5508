package ws_test

import (
	"time"

	"aerys/internal/loop"
	"aerys/internal/loop/looptest"
	"aerys/ws"
)

// Tests of time limits turn the clock. All that net/http's servers bring has one
// loop: no such test may run beside others.

// clock is the loop that carries a client.
func (p *peer) clock() *loop.Loop {
	if p.carrier == nil {
		p.carrier = ws.Loop(p.server.Endpoint, p.id())
	}
	return p.carrier
}

// now is a client's time. It goes on by itself, too.
func (p *peer) now() loop.Time { return p.clock().Now() }

// pass lets seconds pass for a client and those on its loop.
func (p *peer) pass(seconds int) { looptest.Pass(p.clock(), seconds) }

// flies lets time pass fast, until the function that it returns is called.
func (p *peer) flies() (stop func()) { return p.passEvery(time.Millisecond) }

// strolls is flies with a moment in each second for clients that are over a rate,
// at which one looks no more often.
func (p *peer) strolls() (stop func()) { return p.passEvery(25 * time.Millisecond) }

func (p *peer) passEvery(moment time.Duration) (stop func()) {
	p.clock()
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stopping:
				return
			case <-time.After(moment):
				p.pass(1)
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

// passUntil lets time pass until something is over, whether or not all comes to rest
// meanwhile.
func passUntil[T any](l *loop.Loop, over <-chan T) {
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Millisecond):
			l.Sweep(1)
		}
	}
}

// awaitArrival waits until all that was sent to a client has arrived: what the
// kernel has still to deliver needs real time.
func (p *peer) awaitArrival() {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ws.Held(p.server.Endpoint, p.id()) > 0; time.Sleep(pollPeriod) {
		if time.Now().After(deadline) {
			p.t.Fatal("what was sent does not arrive")
		}
	}
}

// passUntilClosed lets time pass until OnClose is called, but no more of it than so
// many seconds.
func (p *peer) passUntilClosed(most int) {
	p.t.Helper()
	for range most {
		p.pass(1)
		select {
		case <-p.visit.closed:
			return
		default:
		}
	}
	p.awaitOnClose()
}

// expires lets time pass until OnClose is called, which is to be when a limit of
// so many seconds is over that began at a time: not sooner, and hardly later. A busy
// machine needs some seconds for that, in which the clock goes on.
func (p *peer) expires(began loop.Time, limit int) {
	p.t.Helper()
	p.passUntilClosed(limit + 5)
	if took := int(p.now() - began); took < limit || took > limit+15 {
		p.t.Errorf("closed after %d s, with a limit of %d s", took, limit)
	}
}

// outstays is expires for a client that does not end its direction behind the close
// frames. Those end a stream of HTTP/2, of which no half is left to be waited for.
func (p *peer) outstays(began loop.Time, limit int) {
	p.t.Helper()
	if p.server.at.http2 {
		p.awaitOnClose()
		return
	}
	p.awaitArrival()
	p.expires(began, limit)
}
