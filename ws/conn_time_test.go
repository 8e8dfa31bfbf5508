//go:build go1.25

package ws

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What depends on time, with a clock that is turned by hand. Go 1.24 has none.

// pausing is a client that tells how often reading of it was resumed.
type pausing struct {
	pipe
	resumed atomic.Int32
}

func (p *pausing) resume() { p.resumed.Add(1) }

// A client that used up Options.MaxBytesPerMinute is read again when the minute is over.
func TestMinutePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(&functions{onClose: func(ClientID, Code, string) {}}, Options{MaxBytesPerMinute: 1000, HeartbeatPeriod: -1})
		p := new(pausing)
		openPipe(e, &p.pipe, 0).transport = p
		time.Sleep(sweepPeriod / 2)
		for minute := range int32(3) {
			p.spend(bytesRead, 999)
			if !p.mayRead() {
				t.Errorf("minute %d: 999 of 1000 bytes are too many", minute)
			}
			p.spend(bytesRead, 1)
			if p.mayRead() {
				t.Errorf("minute %d: 1000 bytes are too few", minute)
			}
			p.pause()
			time.Sleep(59 * time.Second)
			if p.resumed.Load() != minute {
				t.Errorf("minute %d: resumed before it was over", minute)
			}
			time.Sleep(time.Second)
			if p.resumed.Load() != minute+1 || !p.mayRead() {
				t.Errorf("minute %d: resumed %d times", minute, p.resumed.Load())
			}
		}
		p.end()
	})
}

// spend counts what was read.
func (p *pausing) spend(what int, n uint64) {
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
		p := openPipe(e, &pipe{}, 0)
		began := time.Now()
		receive := func(wire string) {
			tn := turns.Get().(*turn)
			defer tn.release()
			tn.begin(&p.conn)
			tn.received([]byte(wire))
			tn.finish()
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
