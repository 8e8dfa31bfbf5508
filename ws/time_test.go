package ws

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What depends on time, with a clock that is turned by hand.

// receive is a read that brings this.
func (p *tap) receive(wire string) {
	r := p.takeReader()
	r.begin(&p.conn)
	r.received([]byte(wire))
	r.finish()
}

// pings returns how many pings were sent, and nothing but pings, since the last call.
func (p *tap) pings(t *testing.T) int {
	t.Helper()
	all := p.frames(t)
	if slices.ContainsFunc(all, func(f string) bool { return !strings.HasPrefix(f, "ping ") }) {
		t.Fatalf("sent %q", all)
	}
	p.written = nil
	return len(all)
}

// A silent client gets a ping each HeartbeatPeriod and is closed after
// QueuedPingLimit of them, at whatever second the silence began and however far
// apart the ticks are.
func TestHeartbeatOfSilentClients(t *testing.T) {
	for _, period := range []int{1, 2, 10} {
		for _, limit := range []int{1, 3, 300} {
			for _, apart := range []int{1, 2, 3} {
				for odd := range 2 {
					_, p := openTap(Options{HeartbeatPeriod: time.Duration(period) * time.Second, QueuedPingLimit: limit})
					p.room = 1 << 20
					p.seconds(odd)
					p.receive(clientFrame(0x8a, ""))
					p.written = nil
					name := fmt.Sprintf("period %d, limit %d, ticks %d s apart, from second %d", period, limit, apart, odd)
					silence, pings := 0, 0
					for p.closing.Load() == nil && silence < 10000 {
						p.tick(apart)
						silence += apart
						if p.closing.Load() == nil {
							pings += p.pings(t)
						}
					}
					if late := silence - (limit+1)*period; pings != limit || late < 0 || late > apart*(limit+1) {
						t.Errorf("%s: closed after %d pings and %d s", name, pings, silence)
					}
					p.end()
					if p.ending != "1008 no answer to Options.QueuedPingLimit pings" {
						t.Errorf("%s: OnClose %s", name, p.ending)
					}
				}
			}
		}
	}
}

// Whatever comes from a client says that it is there: it need not be a pong, nor
// one to a ping of ours.
func TestSignsOfLife(t *testing.T) {
	for name, wire := range map[string]string{
		"a message":                    clientFrame(0x81, "data"),
		"a part of one":                clientFrame(0x01, ""),
		"a part of a frame":            clientFrame(0x81, "data")[:3],
		"a ping":                       clientFrame(0x89, "ping"),
		"a pong with another payload":  clientFrame(0x8a, "what?"),
		"a pong without a payload":     clientFrame(0x8a, ""),
		"an answer to an earlier ping": clientFrame(0x8a, string(binary.BigEndian.AppendUint64(nil, 1))),
	} {
		for _, every := range []int{1, 3, 5} {
			e := newEndpoint(&functions{onData: func(ClientID, *Message) {}}, Options{})
			_, p := openTap(Options{HeartbeatPeriod: 2 * time.Second, QueuedPingLimit: 2, MaxFramesPerSecond: -1, AutoFrameSize: 1})
			p.endpoint.application = e.application
			for range 20 {
				p.room = 1 << 20
				p.seconds(every)
				if strings.HasPrefix(name, "a part") {
					p.in = nil // as if it had been completed
				}
				p.receive(wire)
				if how := p.closing.Load(); how != nil {
					t.Fatalf("%s every %d s: closed with %d %s", name, every, how.code, how.reason)
				}
			}
		}
	}
}

// That what is sent now and then arrives is no sign of life: a client that does not
// read has room for it.
func TestClientThatHangs(t *testing.T) {
	_, p := openTap(Options{HeartbeatPeriod: 2 * time.Second, QueuedPingLimit: 3})
	p.room = 1 << 20
	for second := range 8 {
		if p.closing.Load() != nil {
			t.Errorf("closed after %d s", second)
		}
		p.endpoint.SendBinary(make([]byte, 1000), p.id)
		p.holds = int(second % 2 * 3000)
		p.seconds(1)
	}
	if p.closing.Load() == nil {
		t.Error("not closed")
	}
}

// A queue that gets on is a sign of life, and the silence begins when it is empty.
// It has no bound but that it must not stand still.
func TestSlowDownload(t *testing.T) {
	_, p := openTap(Options{HeartbeatPeriod: time.Second, QueuedPingLimit: 2, WriteTimeout: 2 * time.Second})
	for range 2 { // the second waits, but not to be queued: the first is on its way
		p.endpoint.SendBinary(make([]byte, 20<<20), p.id)
	}
	for p.takes(200 << 10); p.out != nil && p.closing.Load() == nil; p.takes(200 << 10) {
		p.seconds(2)
	}
	if how := p.closing.Load(); how != nil {
		t.Fatalf("closed with %d %s, %d bytes sent", how.code, how.reason, len(p.written))
	}
	p.room = 1 << 20
	p.written = nil
	if p.seconds(2); p.closing.Load() != nil || p.pings(t) != 1 { // one left behind the download
		t.Error("closed soon after the queue was empty, or no pings")
	}
	if p.seconds(1); p.closing.Load() == nil {
		t.Error("not closed for its silence")
	}
}

// A ping that was not handed to the kernel is not counted as unanswered: a client
// whose queue stands still has WriteTimeout.
func TestPingsThatWaitAreNotUnanswered(t *testing.T) {
	_, p := openTap(Options{HeartbeatPeriod: time.Second, QueuedPingLimit: 1, WriteTimeout: 10 * time.Second})
	p.endpoint.SendBinary(make([]byte, 20<<10), p.id)
	if p.seconds(10); p.closing.Load() != nil {
		t.Fatalf("closed with %s", p.closing.Load().reason)
	}
	p.takes(1 << 20)
	if all := p.frames(t); len(all) != 2 || !strings.HasPrefix(all[1], "ping ") {
		t.Errorf("sent %q, want one ping behind the message", all)
	}
	if p.seconds(2); p.closing.Load() == nil {
		t.Error("not closed, though a ping left that was not answered")
	}
}

// A queue that stands still for WriteTimeout is given up, also behind a close frame,
// and OnClose does not say that it was closed as it should.
func TestQueueThatStandsStill(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*tap)
		want string
	}{
		"a message":              {func(*tap) {}, "1008 client does not read: Options.WriteTimeout passed"},
		"and Close":              {func(p *tap) { p.endpoint.Close(p.id, CodeNormal, "bye") }, "1006 connection lost before all was sent: closing with 1000 normal closure"},
		"half taken, and Close":  {func(p *tap) { p.endpoint.Close(p.id, CodeNormal, "bye"); p.takes(10 << 10) }, "1006 connection lost before all was sent: closing with 1000 normal closure"},
		"all taken, and Close":   {func(p *tap) { p.endpoint.Close(p.id, CodeNormal, "bye"); p.takes(1 << 20) }, "1000 bye"},
		"and the client's close": {func(p *tap) { p.receive(clientFrame(0x88, "\x0f\xa0enough")) }, "4000 enough"},
	} {
		_, p := openTap(Options{HeartbeatPeriod: -1, WriteTimeout: 5 * time.Second, ClosePeriod: time.Nanosecond})
		p.endpoint.SendBinary(make([]byte, 20<<10), p.id)
		test.do(p)
		if p.seconds(5); p.shut && p.out != nil {
			t.Errorf("%s: given up within WriteTimeout", name)
		}
		if p.seconds(2); !p.shut {
			t.Errorf("%s: not given up", name)
		}
		if p.end(); p.ending != test.want {
			t.Errorf("%s: OnClose %s, want %s", name, p.ending, test.want)
		}
	}
}

// What waits in front of a close frame has as long as it gets on. Only then
// ClosePeriod begins.
func TestCloseBehindQueue(t *testing.T) {
	_, p := openTap(Options{HeartbeatPeriod: -1, WriteTimeout: 2 * time.Second, ClosePeriod: time.Minute})
	p.endpoint.SendBinary(make([]byte, 1<<20), p.id)
	p.endpoint.Close(p.id, CodeNormal, "bye")
	for range 100 {
		p.takes(10 << 10)
		p.seconds(2)
	}
	if p.shut {
		t.Fatal("given up while it took its time")
	}
	p.takes(1 << 20)
	if all := p.frames(t); len(all) != 2 || all[1] != "close \x03\xe8bye" {
		t.Errorf("sent %q", all)
	}
	if p.seconds(60); p.shut {
		t.Fatal("given up before ClosePeriod was over")
	}
	if p.seconds(1); !p.shut {
		t.Fatal("not given up after ClosePeriod")
	}
	if p.end(); p.ending != "1000 bye" {
		t.Errorf("OnClose %s", p.ending)
	}
}

// What the kernel holds is not closed away either, and while that gets less the
// client is there. What does not move is not waited for.
func TestWhatTheKernelHolds(t *testing.T) {
	_, p := openTap(Options{HeartbeatPeriod: time.Second, QueuedPingLimit: 2, WriteTimeout: 2 * time.Second, ClosePeriod: 2 * time.Second})
	p.room, p.holds = 1<<20, 1<<20
	p.endpoint.SendBinary(make([]byte, 100), p.id)
	for range 20 {
		p.seconds(1)
		p.holds -= 1000
	}
	if how := p.closing.Load(); how != nil {
		t.Fatalf("closed with %s", how.reason)
	}
	p.endpoint.Close(p.id, CodeNormal, "bye")
	for range 20 {
		p.seconds(1)
		p.holds -= 1000
	}
	if p.seconds(1); p.shut {
		t.Fatal("given up while it took its time")
	}
	if p.seconds(2); p.shut {
		t.Fatal("given up before ClosePeriod was over")
	}
	if p.seconds(1); !p.shut {
		t.Fatal("not given up after ClosePeriod")
	}
	if p.end(); p.ending != "1006 connection lost before all was sent: closing with 1000 normal closure" {
		t.Errorf("OnClose %s", p.ending)
	}
	_, p = openTap(Options{HeartbeatPeriod: -1, WriteTimeout: 2 * time.Second})
	p.endpoint.SendBinary(make([]byte, 100), p.id)
	for p.holds = 1 << 20; p.holds > 1<<19; p.holds -= 1 << 17 {
		if p.seconds(2); p.closing.Load() != nil {
			t.Fatal("closed though the kernel's queue moves")
		}
	}
	if p.seconds(4); p.closing.Load() == nil {
		t.Fatal("not closed though nothing moves")
	}
}

// A broadcast closes a client that is behind and does not get on, or is behind by
// far. A client that gets on is not closed.
func TestBehindWithBroadcasts(t *testing.T) {
	options := Options{HeartbeatPeriod: -1, MaxQueuedBytes: 100 << 10, WriteTimeout: 4 * time.Second, ClosePeriod: time.Nanosecond}
	broadcast := func(p *tap, n, size int) {
		for range n {
			p.endpoint.BroadcastBinary(make([]byte, size))
		}
	}
	for _, test := range []struct {
		name   string
		do     func(*tap)
		closed bool
	}{
		{"a large one", func(p *tap) { broadcast(p, 1, 10<<20); p.seconds(4) }, false},
		{"a large one and a small one", func(p *tap) { broadcast(p, 1, 10<<20); broadcast(p, 1, 10); p.seconds(4) }, false},
		{"many, and nothing taken for a moment", func(p *tap) { broadcast(p, 20, 100<<10); p.seconds(2) }, false},
		{"many, and nothing taken", func(p *tap) { broadcast(p, 20, 100<<10); p.seconds(3) }, true},
		{"many, and little taken", func(p *tap) {
			broadcast(p, 20, 100<<10)
			for range 50 {
				p.takes(1)
				p.seconds(1)
				broadcast(p, 1, 10)
			}
		}, false},
		{"many too many", func(p *tap) { broadcast(p, 40, 100<<10) }, true},
		{"many small ones", func(p *tap) { broadcast(p, 20_000, 100) }, false},
		{"many small ones too many", func(p *tap) { broadcast(p, 40_000, 100) }, true},
		{"many, taken before the next look", func(p *tap) { broadcast(p, 20, 100<<10); p.takes(10 << 20); p.seconds(5) }, false},
	} {
		_, p := openTap(options)
		test.do(p)
		if how := p.closing.Load(); (how != nil) != test.closed || how != nil && how.code != CodePolicyViolation {
			t.Errorf("%s: %+v", test.name, how)
		}
	}
}

// Who is closed for being behind gets the close frame behind the frame that was on
// its way, if it takes that in time.
func TestCloseFrameOfSlowClient(t *testing.T) {
	for _, taken := range []int{0, 50 << 10, 150 << 10} {
		_, p := openTap(Options{HeartbeatPeriod: -1, MaxQueuedBytes: 100 << 10})
		p.endpoint.BroadcastBinary(make([]byte, 100<<10))
		p.takes(taken)
		for range 50 {
			p.endpoint.BroadcastBinary(make([]byte, 100<<10))
		}
		p.takes(1 << 30)
		all := p.frames(t)
		if whole := (taken + 100<<10 - 1) / (100 << 10); len(all) < whole+1 || len(all) > whole+2 || !strings.HasPrefix(all[len(all)-1], "close \x03\xf0client") {
			t.Errorf("%d bytes taken: %q", taken, all)
		}
	}
}
