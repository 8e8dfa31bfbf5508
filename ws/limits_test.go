package ws_test

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

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
			compressed(true, deflated(x(1000))), x(1000), compressed(true, deflated(x(1001))), 1009, "Options.MaxMessageSize"},
		{"MaxMessageSize, compressed in fragments", ws.Options{MaxMessageSize: 100000, AutoFrameSize: 10},
			join(compressed(false, deflated(x(100000))[:50]), last(deflated(x(100000))[50:])), x(100000),
			join(compressed(false, deflated(x(100001))[:50]), last(deflated(x(100001))[50:])), 1009, "Options.MaxMessageSize"},
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

// concurrently runs subtests that mostly wait, all at once.
func concurrently(t *testing.T, tests map[string]func(*testing.T, setting)) {
	var group sync.WaitGroup
	for name, test := range tests {
		for _, at := range waitings {
			group.Add(1)
			go func() {
				defer group.Done()
				t.Run(name+"/"+at.name, func(t *testing.T) { test(t, at) })
			}()
		}
	}
	group.Wait()
}

// Limits that are looked at once a second, all at once, for they mostly wait.
func TestTimeLimits(t *testing.T) {
	t.Parallel()
	concurrently(t, map[string]func(*testing.T, setting){
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
		"Stop and a handler":                  testStopAndHandler,
	})
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

// expectAmongPings reads text before or behind which a sweep may ping.
func (p *peer) expectAmongPings(text string) {
	p.t.Helper()
	if got, err := p.message(); err != nil || got.Opcode != frame.Text || got.payload != text {
		p.t.Fatalf("%s, %v instead of text %q", brief(got.Opcode, got.payload), err, text)
	}
}

// heartbeat are the options of tests that count pings.
var heartbeat = ws.Options{HeartbeatPeriod: time.Second, QueuedPingLimit: 2}

// A client that sent much of a frame at once, and then sends little, is read all
// the same, be it the engine or a handler that waits for the rest, and is not taken
// for dead.
func testSlowFrame(t *testing.T, at setting)          { testSlow(t, at, 1<<20) }
func testSlowFrameToHandler(t *testing.T, at setting) { testSlow(t, at, streaming) }

func testSlow(t *testing.T, at setting, gather int) {
	const size = 1 << 20
	got := make(chan int, 1)
	options := unlimited
	options.AutoFrameSize, options.HeartbeatPeriod, options.QueuedPingLimit = gather, 5*time.Second, 1
	s := serve(t, at, &recorder{onData: func(_ ws.ClientID, m *ws.Message) {
		p, _ := m.Bytes()
		got <- len(p)
	}}, options)
	p := s.dial(t)
	wire := binary(filler(size))
	p.write(wire[:size/2])
	p.awaitRead()
	for from := size / 2; from < size/2+5000; from += 1000 {
		p.write(wire[from:][:1000])
		p.awaitRead()
	}
	p.write(wire[size/2+5000:])
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
	began := time.Now()
	p := s.dial(t)
	p.readPing()
	p.readPing()
	p.expectFailure(1008, "Options.QueuedPingLimit")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("closed after %v: less than three periods, in steps of a second", took)
	}
	if failed := s.state().Failed; failed[1008] != 1 {
		t.Errorf("Monitor: failed %v", failed)
	}
}

// One that answers is not, be it only the last of them.
func testAnsweredPings(t *testing.T, at setting) {
	options := heartbeat
	options.QueuedPingLimit++ // so that a busy machine is in time
	s := serve(t, at, &recorder{}, options)
	p := s.dial(t)
	p.readPing()
	p.write(p.readPing())
	p.readPing()
	p.write(p.readPing())
	p.write(text("hello"))
	p.expectAmongPings("hello")
	if info, ok := s.Info(p.id()); !ok || info.RoundTrip <= 0 {
		t.Errorf("Info: %+v, %v", info, ok)
	}
	p.leave()
}

// A handler may take as long as it likes: its client, whose pongs are not read
// meanwhile, is not closed for want of them.
func testSlowHandler(t *testing.T, at setting) {
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		body, _ := m.Text()
		time.Sleep(3500 * time.Millisecond) // more than three sweeps
		r.endpoint.Send(body, id)
	}
	options := unlimited
	options.HeartbeatPeriod, options.QueuedPingLimit = time.Second, 1
	s := serve(t, at, r, options)
	b := s.dialBot(t, ws.DialOptions{})
	b.echoes(false, "slow")
}

// A client that sends too many frames is read from again when the second is
// over; others go on meanwhile, and nothing is lost.
func testFrameRate(t *testing.T, at setting) {
	var mu sync.Mutex
	times := make(map[ws.ClientID][]time.Time)
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		body, _ := m.Text()
		mu.Lock()
		times[id] = append(times[id], time.Now())
		mu.Unlock()
		r.endpoint.Send(body, id)
	}
	s := serve(t, at, r, ws.Options{MaxFramesPerSecond: 5})
	fast, other := s.dial(t), s.dial(t)
	var wire []byte
	for _, c := range "abcdefghijkl" {
		wire = append(wire, text(string(c))...)
	}
	fast.write(wire)
	for _, c := range "abcde" {
		fast.expect(frame.Text, string(c))
	}
	for range 5 {
		other.expectEcho("hello")
	}
	for _, c := range "fghijkl" {
		fast.expect(frame.Text, string(c))
	}
	mu.Lock()
	defer mu.Unlock()
	sent := times[fast.id()]
	if len(sent) != 12 {
		t.Fatalf("%d messages arrived", len(sent))
	}
	// There is a sweep before the sixth and one before the eleventh, a second apart.
	if took := sent[11].Sub(sent[4]); took < 900*time.Millisecond {
		t.Errorf("messages 6 to 12 came within %v", took)
	}
}

// So it is while a handler reads.
func testFrameRateWithinMessage(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxFramesPerSecond: 5, AutoFrameSize: 1})
	p := s.dial(t)
	p.write(join(first(frame.Text, "ab"), middle("c"), middle("d"), middle("e"), middle("f"), middle("g"), last("h"), text("i")))
	p.expect(frame.Text, "abcdefgh")
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

// A client that sent too much is not read from until the minute is over. It can
// still be closed.
func testByteRate(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxBytesPerMinute: 1000, HeartbeatPeriod: time.Second})
	p, other := s.dial(t), s.dial(t)
	p.write(text(strings.Repeat("x", 900)))
	p.expectAmongPings(strings.Repeat("x", 900))
	p.write(text(strings.Repeat("y", 200))) // the last that is read, for it begins below the limit
	p.awaitRead()
	p.write(text("too much"))
	for range 3 { // sweeps
		other.write(other.readPing())
	}
	info, _ := s.Info(p.id())
	if info.BytesRead > 1200 || !info.Closed.IsZero() {
		t.Errorf("%d bytes were read, closed %v", info.BytesRead, info.Closed)
	}
	s.Close(p.id(), 4000, "enough")
	got, err := p.read()
	for err == nil && got.Opcode != frame.Close {
		if got.payload == "too much" {
			t.Error("the message arrived before the minute was over")
		}
		got, err = p.read()
	}
	p.write(closing(4000, ""))
	p.nc.Close()
	p.expectEnd(4000, "enough")
}

// So it is while a handler reads.
func testByteRateWithinMessage(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{MaxBytesPerMinute: 100 << 10, AutoFrameSize: 1000, HeartbeatPeriod: time.Second, MaxFrameSize: -1, MaxMessageSize: -1})
	p, other := s.dial(t), s.dial(t)
	defer p.flood(binary(strings.Repeat("x", 4<<20)))()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(pollPeriod) {
		if info, _ := s.Info(p.id()); info.BytesRead >= 100<<10 {
			break
		}
	}
	for range 2 { // sweeps
		other.write(other.readPing())
	}
	if info, ok := s.Info(p.id()); !ok || info.BytesRead < 100<<10 || info.BytesRead > 1<<20 {
		t.Errorf("%d bytes were read (%v, closed %v %q)", info.BytesRead, ok, info.Closed, info.Reason)
	}
}

// closePeriod is longer than a busy machine keeps a test from reading what is there.
const closePeriod = 2 * time.Second

// A client that does not answer a close frame is dropped.
func testClosePeriod(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{ClosePeriod: closePeriod})
	p := s.dial(t)
	began := time.Now()
	if err := s.Close(p.id(), 4000, "so long"); err != nil {
		t.Error(err)
	}
	if reason := p.expectClose(4000); reason != "so long" {
		t.Errorf("reason %q", reason)
	}
	p.write(text("what?"))
	p.expectEOF()
	p.expectCalls("OnOpen", "OnClose 4000 so long")
	if took := time.Since(began); took < closePeriod {
		t.Errorf("dropped after %v", took)
	}
}

// So is one that was closed for its fault and does not leave.
func testClosePeriodAfterFailure(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{ClosePeriod: closePeriod})
	p := s.dial(t)
	p.write([]byte("nonsense"))
	p.expectClose(1002)
	p.expectEnd(1002, "")
}

// Nobody waits for ever for a client that does not answer, or does not end its
// stream (RFC 6455 §7.1.1).
func testClosePeriodWhateverComes(t *testing.T, at setting) {
	options := unlimited
	options.ClosePeriod = closePeriod
	s := serve(t, at, &recorder{}, options)
	cases := []struct {
		name  string
		begin func(*peer)
		code  ws.Code
		want  string
	}{
		{"no answer to a close", func(p *peer) { s.Close(p.id(), 4000, "no answer") }, 4000, "no answer"},
		{"no end after a fault", func(p *peer) { p.write(last("")) }, ws.CodeProtocolError, "a continuation frame without a message to continue (RFC 6455 §5.4)"},
		{"no end after a close", func(p *peer) { p.write(closing(4002, "stays")) }, 4002, "stays"},
		{"pings for ever after a close", func(p *peer) {
			s.Close(p.id(), 4003, "pings")
			p.trickle(join(ping("1"), ping("2"), ping("3")), 5)
		}, 4003, "pings"},
	}
	var peers []*peer
	for _, c := range cases {
		p := s.dial(t)
		c.begin(p)
		p.expectClose(c.code)
		peers = append(peers, p)
	}
	for n, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			peers[n].t = t
			peers[n].expectHistory(0, c.code, c.want)
		})
	}
}

// A client whose queue stands still is closed; one that reads now and then is not.
func testWriteTimeout(t *testing.T, at setting) {
	at.wrap = sendBuffers(128 << 10)
	s := serve(t, at, &recorder{}, ws.Options{WriteTimeout: time.Second, MaxQueuedBytes: 32 << 20})
	stuck, slow := s.dial(t), s.dial(t)
	message := strings.Repeat("x", 16<<20)
	stuck.id()
	slow.id()
	s.Broadcast(message)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for buffer, open := make([]byte, 512<<10), true; open; {
		select {
		case <-tick.C:
			if _, err := io.ReadFull(slow.nc, buffer); err != nil {
				t.Fatal(err)
			}
		case <-stuck.visit.closed:
			open = false
		}
	}
	stuck.expectEnd(1008, "Options.WriteTimeout")
	if info, ok := s.Info(slow.id()); !ok || !info.Closed.IsZero() {
		t.Errorf("the slow client is closed: %+v", info)
	}
}
