package ws_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/internal/loop"
	"aerys/ws"
	"aerys/ws/frame"
)

// What each limit lets through at its edge, and what is one too many. Rates and times are
// those of TestTimeLimits.
func TestLimits(t *testing.T) {
	t.Parallel()
	x := func(n int) string { return strings.Repeat("x", n) }
	compressed := func(fin bool, payload string) []byte {
		return masked(frame.Header{Fin: fin, Rsv: 4, Opcode: frame.Text}, payload)
	}
	for _, test := range []struct {
		name    string
		options ws.Options
		passes  []byte
		message string // that arrives by it
		fails   []byte
		code    ws.Code
		reason  string
	}{
		{"MaxMessageSize", ws.Options{MaxMessageSize: 100}, text(x(100)), x(100), text(x(101)), 1009, "Options.MaxMessageSize"},
		{"MaxMessageSize, by default", ws.Options{}, text(x(2 << 20)), x(2 << 20), text(x(2<<20 + 1)), 1009, "Options.MaxFrameSize"},
		{"MaxMessageSize, in fragments", ws.Options{MaxMessageSize: 100},
			join(first(frame.Text, x(60)), middle(x(40)), last("")), x(100), join(first(frame.Text, x(60)), last(x(41))), 1009, "Options.MaxMessageSize"},
		{"MaxMessageSize, above AutoFrameSize", ws.Options{MaxMessageSize: 1000, AutoFrameSize: 10},
			join(first(frame.Text, x(500)), last(x(500))), x(1000), join(first(frame.Text, x(500)), last(x(501))), 1009, "Options.MaxMessageSize"},
		{"MaxMessageSize, compressed", ws.Options{MaxMessageSize: 1000},
			compressed(true, deflate(x(1000))), x(1000), compressed(true, deflate(x(1001))), 1009, "Options.MaxMessageSize"},
		{"MaxMessageSize, compressed in fragments", ws.Options{MaxMessageSize: 100000, AutoFrameSize: 10},
			join(compressed(false, deflate(x(100000))[:50]), last(deflate(x(100000))[50:])), x(100000),
			join(compressed(false, deflate(x(100001))[:50]), last(deflate(x(100001))[50:])), 1009, "Options.MaxMessageSize"},
		{"MaxFrameSize", ws.Options{MaxFrameSize: 100}, text(x(100)), x(100), text(x(101)), 1009, "Options.MaxFrameSize"},
		{"MaxFrameSize, in fragments", ws.Options{MaxFrameSize: 100},
			join(first(frame.Text, x(100)), last(x(100))), x(200), join(first(frame.Text, ""), last(x(101))), 1009, "Options.MaxFrameSize"},
		{"MaxFrameSize, above MaxMessageSize", ws.Options{MaxFrameSize: -1, MaxMessageSize: -1},
			text(x(3 << 20)), x(3 << 20), []byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd"), 1002, "§5.2"},
		{"MaxFramesPerMessage", ws.Options{MaxFramesPerMessage: 3},
			join(first(frame.Text, "a"), pong(""), middle("b"), pong(""), last("c")), "abc",
			join(first(frame.Text, "a"), middle("b"), middle("c"), last("d")), 1008, "Options.MaxFramesPerMessage"},
		{"MaxFramesPerMessage of 1", ws.Options{MaxFramesPerMessage: 1}, text("a"), "a", join(first(frame.Text, "a"), last("")), 1008, "Options.MaxFramesPerMessage"},
		{"TextOnly", ws.Options{TextOnly: true}, join(first(frame.Text, "a"), last("b")), "ab", binary("a"), 1003, "Options.TextOnly"},
		{"TextOnly, in fragments", ws.Options{TextOnly: true}, text(""), "", first(frame.Binary, ""), 1003, "Options.TextOnly"},
	} {
		t.Run(test.name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				options := test.options
				options.MaxFramesPerSecond, options.MaxBytesPerMinute, options.MaxQueuedBytes = -1, -1, 64<<20
				options.Compression, options.CompressionThreshold = true, 1<<30
				s := serve(t, at, &recorder{}, options)
				p := s.dial(t, compressing)
				for range 2 { // the second shows that nothing of the first is counted
					p.write(test.passes)
					p.expect(frame.Text, test.message)
				}
				p.write(test.fails)
				p.expectFailure(test.code, test.reason)
			})
		})
	}
}

// Limits that are looked at once a second.
func TestTimeLimits(t *testing.T) {
	for name, test := range map[string]func(*testing.T, setting){
		"QueuedPingLimit":                     testUnansweredPings,
		"HeartbeatPeriod":                     testAnsweredPings,
		"HeartbeatPeriod and a slow handler":  testSlowHandler,
		"a long frame that comes slowly":      testSlowFrame,
		"the same, to a handler that waits":   testSlowFrameToHandler,
		"MaxFramesPerSecond":                  testFrameRate,
		"MaxFramesPerSecond within a message": testFrameRateWithinMessage,
		"MaxFramesPerSecond and order":        testFrameRateAndOrder,
		"MaxBytesPerMinute":                   testByteRate,
		"MaxBytesPerMinute within a message":  testByteRateWithinMessage,
		"ClosePeriod":                         testClosePeriod,
		"ClosePeriod after a failure":         testClosePeriodAfterFailure,
		"ClosePeriod (RFC 6455 §7.1.1)":       testClosePeriodWhateverComes,
		"WriteTimeout":                        testWriteTimeout,
		"OnClose once":                        testOnCloseOnceAndSweep,
	} {
		t.Run(name, func(t *testing.T) { engines(t, test) })
	}
}

// readPing reads a frame, which has to be a ping, and returns the pong for it.
func (p *peer) readPing() (answer []byte) {
	p.t.Helper()
	got, err := p.read()
	if err != nil || got.Opcode != frame.Ping {
		p.t.Fatalf("%s, %v instead of a ping", brief(got.Opcode, got.payload), err)
	}
	return pong(got.payload)
}

// heartbeat are the options of tests that count pings.
var heartbeat = ws.Options{HeartbeatPeriod: 10 * time.Second, QueuedPingLimit: 2, MaxFramesPerSecond: -1, MaxBytesPerMinute: -1}

// answersPings is what a client does that is alive, for longer than one is waited
// for that is not.
func (p *peer) answersPings() {
	p.t.Helper()
	for range 5 {
		p.pass(10)
		p.write(p.readPing())
		p.awaitRead()
	}
}

// A client that sent much of a frame at once, and then sends little, is read all
// the same, be it the engine or a handler that waits for the rest, and is not taken
// for dead.
func testSlowFrame(t *testing.T, at setting)          { testSlow(t, at, 1<<20) }
func testSlowFrameToHandler(t *testing.T, at setting) { testSlow(t, at, streaming) }

func testSlow(t *testing.T, at setting, gather int) {
	const size = 1 << 20
	got := make(chan int, 1)
	options := heartbeat
	options.AutoFrameSize = gather
	s := serve(t, at, &recorder{onData: func(_ ws.ClientID, m *ws.Message) {
		p, _ := m.Bytes()
		got <- len(p)
	}}, options)
	p := s.dial(t)
	wire := binary(filler(size))
	p.write(wire[:size/2])
	p.pass(5)
	p.awaitRead()
	for from := size / 2; from < size/2+10_000; from += 1000 {
		p.write(wire[from:][:1000])
		p.pass(5)
		p.awaitRead()
	}
	p.write(wire[size/2+10_000:])
	p.pass(5)
	select {
	case n := <-got:
		if n != size {
			t.Errorf("got %d bytes", n)
		}
	case <-time.After(patience):
		t.Fatal("the message does not come")
	}
	p.leave()
}

// A client that answers no ping is closed after QueuedPingLimit of them.
func testUnansweredPings(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, heartbeat)
	p := s.dial(t)
	began := p.now()
	for range 2 {
		p.pass(10)
		p.readPing()
	}
	p.pass(10)
	p.expectFailure(1008, "Options.QueuedPingLimit")
	if took := p.now() - began; took < 30 || took > 35 {
		t.Errorf("closed after %d s, not three periods", took)
	}
	if failed := s.state().Failed; failed[1008] != 1 {
		t.Errorf("Monitor: failed %v", failed)
	}
}

// One that answers is not, be it only the last of them.
func testAnsweredPings(t *testing.T, at setting) {
	p := serve(t, at, &recorder{}, heartbeat).dial(t)
	for range 5 {
		p.pass(10)
		p.readPing()
		p.pass(10)
		p.write(p.readPing())
		p.awaitRead()
	}
	p.expectEcho("hello")
	if info, ok := p.server.Info(p.id()); !ok || info.RoundTrip <= 0 {
		t.Errorf("Info: %+v, %v", info, ok)
	}
	p.leave()
}

// A handler may take as long as it likes: its client's pongs are read meanwhile.
func testSlowHandler(t *testing.T, at setting) {
	ctx, release := context.WithCancel(context.Background())
	defer release()
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		body, _ := m.Text()
		<-ctx.Done()
		r.endpoint.Send(body, id)
	}
	p := serve(t, at, r, heartbeat).dial(t)
	p.write(join(text("slow"), ping("read ahead")))
	p.expect(frame.Pong, "read ahead")
	p.answersPings()
	release()
	p.expect(frame.Text, "slow")
	p.leave()
}

// times are when something was, by a client's clock.
type times struct {
	mu    sync.Mutex
	times []loop.Time
}

func (t *times) note(now loop.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times = append(t.times, now)
}

// within fails the test if more of it was than a rate allows: so much at once, and as
// much again in each second. A second is under way when it begins, and a tick may be
// late by another.
func (t *times) within(tb testing.TB, atOnce, rate int) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, at := range t.times {
		if passed := int(at - t.times[0]); n >= atOnce+rate*(passed+2) {
			tb.Errorf("number %d was %d s after the first", n, passed)
		}
	}
}

// longest is the longest time between two of them.
func (t *times) longest() (seconds loop.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, at := range t.times[1:] {
		seconds = max(seconds, at-t.times[n])
	}
	return seconds
}

// A client that sends too many frames is read from more slowly; others go on
// meanwhile, and nothing is lost.
func testFrameRate(t *testing.T, at setting) {
	const rate, messages = 5, 60
	var came times
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		body, _ := m.Text()
		if strings.HasPrefix(body, "number ") {
			came.note(ws.Loop(r.endpoint, id).Now())
		}
		r.endpoint.Send(body, id)
	}
	s := serve(t, at, r, ws.Options{MaxFramesPerSecond: rate})
	fast, other := s.dial(t), s.dial(t)
	var wire []byte
	for n := range messages {
		wire = append(wire, text(fmt.Sprint("number ", n))...)
	}
	fast.write(wire)
	fast.awaitPaused(1)
	for range rate {
		other.expectEcho("hello")
	}
	defer fast.strolls()()
	for n := range messages {
		fast.expect(frame.Text, fmt.Sprint("number ", n))
	}
	came.within(t, rate, rate)
}

// So it is while a handler reads.
func testFrameRateWithinMessage(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxFramesPerSecond: 5, AutoFrameSize: 1})
	p := s.dial(t)
	p.write(join(first(frame.Text, "ab"), fragments(frame.Continuation, filler(30), 1), text("i")))
	p.awaitPaused(1)
	defer p.strolls()()
	p.expect(frame.Text, "ab"+filler(30))
	p.expect(frame.Text, "i")
	p.expectCalls("OnOpen", "OnData", "OnData")
	p.leave()
}

// Who exceeds a rate loses nothing: neither messages nor their order.
func testFrameRateAndOrder(t *testing.T, at setting) {
	short := row{name: "short messages"}
	for i := range 9 {
		short.send, short.want = append(short.send, text(fmt.Sprint(i))...), append(short.want, gotText(fmt.Sprint(i)))
	}
	long := row{
		name: "a message that is being read",
		send: join(first(frame.Text, filler(2000)), fragments(frame.Continuation, filler(80), 10), text("next")),
		want: []answer{gotText(filler(2000) + filler(80)), gotText("next")},
	}
	s := serve(t, at, &recorder{}, ws.Options{MaxFramesPerSecond: 4, AutoFrameSize: streaming, MaxBytesPerMinute: -1})
	defer s.dial(t).strolls()()
	var checks []func()
	for _, r := range []row{short, long} {
		for _, pieces := range []int{whole, behindHandshake} {
			p, sent := r.begin(t, s, pieces)
			checks = append(checks, func() { r.finish(p, sent) })
		}
	}
	for _, check := range checks {
		check()
	}
}

// A client that sent too much is not read from for a while. It can still be closed.
func testByteRate(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxBytesPerMinute: 1000, HeartbeatPeriod: -1})
	p := s.dial(t)
	p.expectEcho(filler(900))
	p.write(text(filler(1000))) // the last that is read, for it begins below the limit
	p.awaitRead()
	p.write(text("too much"))
	p.pass(30)
	info, _ := s.Info(p.id())
	if info.BytesRead > 2000 || !info.Closed.IsZero() {
		t.Errorf("%d bytes were read, closed %v", info.BytesRead, info.Closed)
	}
	s.Close(p.id(), 4000, "enough")
	p.expectClose(4000)
	p.write(closing(4000, ""))
	p.nc.Close()
	p.expectEnd(4000, "enough")
}

// So it is while a handler reads.
func testByteRateWithinMessage(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxBytesPerMinute: 100 << 10, AutoFrameSize: 1000, HeartbeatPeriod: -1, MaxFrameSize: -1, MaxMessageSize: -1})
	p := s.dial(t)
	defer p.flood(binary(strings.Repeat("x", 4<<20)))()
	p.awaitPaused(1)
	p.pass(10)
	if info, ok := s.Info(p.id()); !ok || info.BytesRead < 100<<10 || info.BytesRead > 1<<20 {
		t.Errorf("%d bytes were read (%v, closed %v %q)", info.BytesRead, ok, info.Closed, info.Reason)
	}
}

// closePeriod is one that does not pass by itself.
const closePeriod = 30 * time.Second

// A client that does not answer a close frame is dropped.
func testClosePeriod(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{ClosePeriod: closePeriod})
	p := s.dial(t)
	began := p.now()
	if err := s.Close(p.id(), 4000, "so long"); err != nil {
		t.Error(err)
	}
	if reason := p.expectClose(4000); reason != "so long" {
		t.Errorf("reason %q", reason)
	}
	p.write(text("what?"))
	p.awaitArrival()
	p.expires(began, 30)
	p.expectEOF()
	p.expectCalls("OnOpen", "OnClose 4000 so long")
}

// So is one that was closed for its fault and does not leave.
func testClosePeriodAfterFailure(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{ClosePeriod: closePeriod})
	p := s.dial(t)
	began := p.now()
	p.write([]byte("nonsense"))
	p.expectClose(1002)
	p.outstays(began, 30)
	p.expectEnd(1002, "")
}

// Nobody waits for ever for a client that does not answer, or does not end its
// stream (RFC 6455 §7.1.1).
func testClosePeriodWhateverComes(t *testing.T, at setting) {
	options := unlimited
	options.ClosePeriod = closePeriod
	s := serve(t, at, &recorder{}, options)
	for _, c := range []struct {
		name  string
		begin func(*peer)
		code  ws.Code
		want  string
		waits func(*peer, loop.Time, int)
	}{
		{"no answer to a close", func(p *peer) { s.Close(p.id(), 4000, "no answer") }, 4000, "no answer", func(p *peer, began loop.Time, limit int) { p.awaitArrival(); p.expires(began, limit) }},
		{"no end after a fault", func(p *peer) { p.write(last("")) }, ws.CodeProtocolError,
			"a continuation frame without a message to continue (RFC 6455 §5.4)", (*peer).outstays},
		{"no end after a close", func(p *peer) { p.write(closing(4002, "stays")) }, 4002, "stays", (*peer).outstays},
		{"pings for ever after a close", func(p *peer) {
			s.Close(p.id(), 4003, "pings")
			p.trickle(join(ping("1"), ping("2"), ping("3")), 5)
		}, 4003, "pings", func(p *peer, began loop.Time, limit int) { p.awaitArrival(); p.expires(began, limit) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := s.dial(t)
			began := p.now()
			c.begin(p)
			p.expectClose(c.code)
			c.waits(p, began, 30)
			p.expectHistory(0, c.code, c.want)
		})
	}
}

// A client whose queue stands still is closed; one that reads now and then is not.
func testWriteTimeout(t *testing.T, at setting) {
	at.wrap = sendBuffers(128 << 10)
	s := serve(t, at, &recorder{}, ws.Options{MaxQueuedBytes: 32 << 20, HeartbeatPeriod: -1, WriteTimeout: 10 * time.Second})
	stuck, slow := s.dial(t), s.dial(t)
	stuck.id()
	slow.id()
	s.Broadcast(strings.Repeat("x", 16<<20))
	began := stuck.now()
	for buffer, open := make([]byte, 512<<10), true; open; {
		if _, err := io.ReadFull(slow.nc, buffer); err != nil {
			t.Fatal(err)
		}
		stuck.pass(1)
		info, ok := s.Info(stuck.id())
		open = ok && info.Closed.IsZero()
	}
	if took := stuck.now() - began; took < 10 { // more, if its kernel goes on taking something
		t.Errorf("closed after %d s", took)
	}
	stuck.expectEnd(1008, "Options.WriteTimeout")
	if info, ok := s.Info(slow.id()); !ok || !info.Closed.IsZero() {
		t.Errorf("the slow client is closed: %+v", info)
	}
}
