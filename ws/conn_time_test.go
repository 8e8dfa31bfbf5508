//go:build go1.25

package ws

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"aerys/internal/loop"
)

// What depends on time, on a loop whose clock goes as a bubble's does. Go 1.24 has
// none.

// tended has its loop tell a pipe of time.
type tended struct {
	loop.Owner
	pipe *pipe
}

func (tended) Serve(c *loop.Conn) error {
	_, err := c.TryRead(make([]byte, 1))
	return err
}

func (o tended) Tick(c *loop.Conn, now loop.Time) { o.pipe.Tick(c, now) }
func (tended) Ahead(*loop.Conn, bool)             {}
func (tended) Over(*loop.Conn, error)             {}

// openTended is openPipe for a client that time passes for. Its loop carries
// nothing else.
func openTended(t *testing.T, e *Endpoint) *pipe {
	p := new(pipe)
	near, far := net.Pipe()
	p.Loop().AdoptPortable(near, tended{pipe: p})
	t.Cleanup(func() {
		far.Close()
		p.Loop().Close(time.Second)
	})
	return openPipe(e, p, 0)
}

// A client that used up a rate is read again as soon as something came back. Who
// was quiet has no more than the whole, and what comes back in a second.
func TestRatesComeBack(t *testing.T) {
	for _, rate := range []struct {
		name    string
		options Options
		what    int
		all     uint64        // that may be read at once
		one     time.Duration // in which one comes back
	}{
		{"MaxBytesPerMinute", Options{MaxBytesPerMinute: 1000}, bytesRead, 1000, 60 * time.Millisecond},
		{"a small MaxBytesPerMinute", Options{MaxBytesPerMinute: 10}, bytesRead, 10, 6 * time.Second},
		{"MaxFramesPerSecond", Options{MaxFramesPerSecond: 5}, framesRead, 5, 200 * time.Millisecond},
	} {
		t.Run(rate.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rate.options.HeartbeatPeriod = -1
				e := newEndpoint(&functions{onClose: func(ClientID, Code, string) {}}, rate.options)
				p := openTended(t, e)
				time.Sleep(time.Hour + time.Second/2) // does not give more than all
				var spent uint64
				for began, passed := time.Now(), time.Duration(0); passed < 40*rate.one; passed = time.Since(began) {
					resumed := p.resumed.Load()
					for left := p.left(rate.what); left > 0; left = p.left(rate.what) {
						p.spend(rate.what, uint64(left))
						spent += uint64(left)
					}
					p.rest()
					time.Sleep(rate.one + 2*pacePeriod)
					synctest.Wait() // for a tick of this moment
					if p.resumed.Load() == resumed || !p.mayRead() {
						t.Fatalf("not resumed %v after the beginning", passed)
					}
				}
				back := uint64(40)
				if soonest := uint64(time.Second/rate.one) + 2; spent < rate.all+back-2 || spent > rate.all+back+soonest {
					t.Errorf("could read %d: %d at once, and %d that came back", spent, rate.all, back)
				}
				p.end()
			})
		})
	}
}

// left is how much may be read.
func (p *pipe) left(what int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames, bytes := p.allowanceNow()
	if what == framesRead {
		return frames
	}
	return bytes
}

func (p *pipe) mayRead() bool { return p.left(framesRead) > 0 && p.left(bytesRead) > 0 }

// rest is what an engine does when the client has to pause.
func (p *pipe) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause()
}

// spend counts what was read.
func (p *pipe) spend(what int, n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(what, n)
}

// Info tells what was when, in steps of a second.
func TestInfoTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &functions{onClose: func(ClientID, Code, string) {}, onData: func(_ ClientID, m *Message) { m.Bytes() }}
		e := newEndpoint(f, Options{HeartbeatPeriod: -1})
		time.Sleep(10 * time.Second)
		p := openTended(t, e)
		began := time.Now()
		receive := func(wire string) {
			r := p.takeReader()
			r.begin(&p.conn)
			r.received([]byte(wire))
			r.finish()
		}
		check := func(what string, want Info) {
			t.Helper()
			info, ok := e.Info(p.id)
			if info.Traffic = (Traffic{}); !ok || info != want {
				t.Errorf("%s: %+v, want %+v", what, info, want)
			}
		}
		after := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
		want := Info{Connected: began, LastRead: began}
		check("at first", want)
		time.Sleep(2500 * time.Millisecond)
		receive(clientFrame(0x89, "p"))
		want.LastRead, want.LastSent = after(2), after(2)
		check("after a ping", want)
		time.Sleep(2 * time.Second)
		receive(clientFrame(0x81, "text"))
		want.LastRead, want.LastDataRead = after(4), after(4)
		check("after a message", want)
		time.Sleep(2 * time.Second)
		e.Send("text", p.id)
		want.LastSent, want.LastDataSent = after(6), after(6)
		check("after an answer", want)
		time.Sleep(2 * time.Second)
		e.Close(p.id, 4000, "enough")
		want.LastSent, want.Closed, want.Code, want.Reason = after(8), time.Now(), 4000, "enough"
		check("when it is being closed", want)
		p.end()
	})
}
