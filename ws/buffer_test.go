package ws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// While a handler runs its client is served: what comes is read ahead.

// holding is a recorder whose handler stays in OnData for every message that
// begins with "hold", until it is let go.
type holding struct {
	recorder
	held chan ws.ClientID
	free chan bool
	got  chan string // all messages
}

func holdingRecorder() *holding {
	h := &holding{held: make(chan ws.ClientID, 100), free: make(chan bool), got: make(chan string, 1100)}
	h.onData = func(id ws.ClientID, m *ws.Message) {
		s, err := m.Text()
		if err != nil {
			s = err.Error()
		}
		h.got <- s
		if strings.HasPrefix(s, "hold") {
			h.held <- id
			<-h.free
		}
		h.endpoint.Send(s, id)
	}
	return h
}

// expectMessages waits for messages that the handler got.
func (h *holding) expectMessages(t testing.TB, messages ...string) {
	t.Helper()
	for _, want := range messages {
		select {
		case got := <-h.got:
			if got != want {
				t.Fatalf("the handler got %q, not %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("the handler did not get %q", want)
		}
	}
}

// serveHolding is serve for a handler that holds.
func serveHolding(t testing.TB, at setting, options ws.Options) (*holding, *server) {
	h := holdingRecorder()
	s := serve(t, at, h, options)
	s.recorder = &h.recorder
	return h, s
}

// Pings are answered, wherever they stand, and data waits in order.
func TestPingsWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	rows := []struct {
		name   string
		behind []byte // sent in one with the message that holds
		later  []byte // sent while the handler runs
		pongs  []string
		then   []string // what the handler gets later
	}{
		{name: "alone", later: ping("1"), pongs: []string{"1"}},
		{name: "in one with the message", behind: ping("1"), pongs: []string{"1"}},
		{name: "the last of many", later: join(ping("1"), ping("2"), ping("3")), pongs: []string{"3"}},
		{name: "behind a message", later: join(text("a"), ping("1")), pongs: []string{"1"}, then: []string{"a"}},
		{name: "between fragments", behind: first(frame.Text, "a"), later: join(ping("1"), middle("b"), ping("2"), last("c"), ping("3")),
			pongs: []string{"3"}, then: []string{"abc"}},
		{name: "behind the half of a frame", behind: text("hello")[:8], later: join(text("hello")[8:], ping("1")), pongs: []string{"1"}, then: []string{"hello"}},
		{name: "behind the half of a header", behind: text("hello")[:1], later: join(text("hello")[1:], ping("1"), text("a")), pongs: []string{"1"}, then: []string{"hello", "a"}},
		{name: "its half in one with the message", behind: ping("12345")[:7], later: ping("12345")[7:], pongs: []string{"12345"}},
		{name: "behind an empty message", behind: text(""), later: join(text(""), ping("")), pongs: []string{""}, then: []string{"", ""}},
		{name: "behind 50 KB", later: join(text(filler(50000)), ping("1")), pongs: []string{"1"}, then: []string{filler(50000)}},
	}
	everywhere(t, func(t *testing.T, at setting) {
		checks := make([]func(*testing.T), len(rows))
		for i, row := range rows { // all handlers run at once, for each is waited for as long
			h, s := serveHolding(t, at, unlimited)
			p := s.dial(t)
			p.write(join(text("hold"), row.behind))
			<-h.held
			p.write(row.later)
			checks[i] = func(t *testing.T) {
				p.t = t
				for _, payload := range row.pongs {
					p.expectPong(payload)
				}
				h.free <- true
				h.expectMessages(t, append([]string{"hold"}, row.then...)...)
				p.expect(frame.Text, "hold")
				for _, message := range row.then {
					p.expect(frame.Text, message)
				}
				p.expectEcho("quick")
				p.leave()
			}
		}
		for i, row := range rows {
			t.Run(row.name, checks[i])
		}
	})
}

// What was known of a message that a handler has read since is not taken for what
// comes during the next one.
func TestPingsBehindAMessageThatWasRead(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		h, s := serveHolding(t, at, ws.Options{AutoFrameSize: 1000, MaxFramesPerSecond: -1})
		h.onData = func(id ws.ClientID, m *ws.Message) {
			h.held <- id
			<-h.free
			m.Bytes()
		}
		p, other := s.dial(t), s.dial(t)
		message := text(filler(2000))
		p.write(message[:1500])
		<-h.held
		other.write(text("hold"))
		<-h.held
		other.write(ping("late"))
		other.expectPong("late") // so the first handler was found to be late, too
		h.free <- true
		h.free <- true // whichever it is
		other.expectPongTo("returned")
		p.write(message[1500:])
		p.write(text("hold"))
		<-h.held
		p.expectPongTo("still there?")
		h.free <- true
		p.leave()
		other.leave()
	})
}

func (p *peer) expectPongTo(payload string) {
	p.t.Helper()
	p.write(ping(payload))
	p.expectPong(payload)
}

// expectPong reads pongs up to this one: only the latest ping has to be answered
// (RFC 6455 §5.5.3).
func (p *peer) expectPong(payload string) {
	p.t.Helper()
	for {
		got, err := p.read()
		if err != nil || got.Opcode != frame.Pong {
			p.t.Fatalf("%s, %v instead of pong %q", brief(got.Opcode, got.payload), err, payload)
		}
		if got.payload == payload {
			return
		}
	}
}

// A byte at a time is looked at as well.
func TestTrickleWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		h, s := serveHolding(t, at, unlimited)
		p := s.dial(t)
		p.write(text("hold"))
		<-h.held
		for _, b := range join(ping("1"), first(frame.Text, "a"), ping("2"), last("b")) {
			p.write([]byte{b})
		}
		p.expect(frame.Pong, "1")
		p.expect(frame.Pong, "2")
		h.free <- true
		h.expectMessages(t, "hold", "ab")
		p.expect(frame.Text, "hold")
		p.expect(frame.Text, "ab")
		p.leave()
	})
}

// ends are the ways in which a client may go, or be sent away, while its handler runs.
var ends = []struct {
	name   string
	happen func(*testing.T, *peer)
	code   ws.Code
	reason string
}{
	{"the client closes", func(_ *testing.T, p *peer) { p.write(closing(4001, "enough")) }, 4001, "enough"},
	{"the client closes behind messages", func(_ *testing.T, p *peer) { p.write(join(text("a"), text("b"), closing(4001, "enough"))) }, 4001, "enough"},
	{"the client closes without a code", func(_ *testing.T, p *peer) { p.write(closingPayload("")) }, ws.CodeNoStatus, ""},
	{"the client closes and is gone", func(_ *testing.T, p *peer) { p.write(closing(4001, "enough")); p.nc.Close() }, 4001, "enough"},
	{"an end", func(_ *testing.T, p *peer) { p.nc.Close() }, ws.CodeAbnormal, "connection lost"},
	{"an end behind a message", func(_ *testing.T, p *peer) { p.write(text("a")); p.nc.Close() }, ws.CodeAbnormal, "connection lost"},
	{"a reset", func(t *testing.T, p *peer) { p.reset() }, ws.CodeAbnormal, "connection lost"},
	{"Endpoint.Close", func(_ *testing.T, p *peer) { p.server.Close(p.id(), 4002, "go") }, 4002, "go"},
	{"Gateway.Stop", func(t *testing.T, p *peer) { go p.server.stop(t) }, ws.CodeGoingAway, "server stops"},
}

// reset has the connection reset, be it TLS or not.
func (p *peer) reset() {
	nc := p.nc
	if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = c.NetConn()
	}
	switch c := nc.(type) {
	case *net.TCPConn:
		c.SetLinger(0)
		c.Close()
	default: // a Unix socket with unread bytes behaves alike
		c.Close()
	}
}

// A handler that waits for something else learns that its client is gone, and
// what it still sends is refused. OnClose comes when it has returned, behind the
// messages that came whole.
func TestEndWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	type outcome struct {
		cause, endpoint, send error
	}
	everywhere(t, func(t *testing.T, at setting) {
		checks := make([]func(*testing.T), len(ends))
		for i, end := range ends { // all handlers run at once, for each takes as long to learn it
			waits, told := make(chan bool, 1), make(chan outcome, 1)
			r := &recorder{}
			r.onData = func(id ws.ClientID, m *ws.Message) {
				if s, _ := m.Text(); s != "wait" {
					return
				}
				ctx := m.Context()
				waits <- true
				select {
				case <-ctx.Done():
					told <- outcome{context.Cause(ctx), context.Cause(r.endpoint.Context(id)), r.endpoint.Send("more", id)}
				case <-time.After(patience):
					told <- outcome{}
				}
			}
			p := serve(t, at, r, unlimited).dial(t)
			p.write(text("wait"))
			<-waits
			end.happen(t, p)
			checks[i] = func(t *testing.T) {
				p.t = t
				got := <-told
				for _, err := range []error{got.cause, got.endpoint} {
					var cause *ws.CloseError
					if !errors.As(err, &cause) || cause.Code != end.code || cause.Reason != end.reason {
						t.Errorf("the cause is %v, not %d %q", err, end.code, end.reason)
					}
				}
				if got.send != ws.ErrClosed {
					t.Errorf("Send: %v", got.send)
				}
				if end.code == 4002 || end.code == ws.CodeGoingAway { // else it could be lost on its way
					p.expectClose(end.code)
				}
				p.nc.Close()
				calls := []string{"OnOpen", "OnData"}
				switch {
				case strings.Contains(end.name, "behind messages"):
					calls = append(calls, "OnData", "OnData")
				case strings.Contains(end.name, "behind a message"):
					calls = append(calls, "OnData")
				}
				p.expectCalls(append(calls, strings.TrimSpace(fmt.Sprintf("OnClose %d %s", end.code, end.reason)))...)
			}
		}
		for i, end := range ends {
			t.Run(end.name, checks[i])
		}
	})
}

// The closing handshake is over while the handler still runs, and a client that
// is gone is not sent to.
func TestCloseInTheMiddleOfAStream(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		stopped := make(chan error, 1)
		release := make(chan bool)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			for {
				if err := r.endpoint.Send("token", id); err != nil {
					stopped <- err
					<-release
					return
				}
				time.Sleep(time.Millisecond)
			}
		}
		s := serve(t, at, r, unlimited)
		p := s.dial(t)
		p.write(text("go on"))
		for range 10 {
			p.expect(frame.Text, "token")
		}
		p.write(closing(ws.CodeNormal, "enough"))
		got, err := p.read()
		for err == nil && got.Opcode == frame.Text {
			got, err = p.read()
		}
		if err != nil || got.Opcode != frame.Close {
			t.Fatalf("%s, %v instead of a close frame", brief(got.Opcode, got.payload), err)
		}
		p.expectEOF()
		p.nc.Close()
		if err := <-stopped; err != ws.ErrClosed {
			t.Errorf("Send: %v", err)
		}
		select {
		case <-p.visit.closed:
			t.Error("OnClose came before OnData returned")
		default:
		}
		close(release)
		p.expectCalls("OnOpen", "OnData", "OnClose 1000 enough")
	})
}

// OnOpen is a handler like others.
func TestOnOpenTakesLong(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		r := &recorder{}
		told := make(chan error, 1)
		r.onOpen = func(id ws.ClientID) {
			ctx := r.endpoint.Context(id)
			select {
			case <-ctx.Done():
			case <-time.After(patience):
			}
			told <- context.Cause(ctx)
		}
		s := serve(t, at, r, unlimited)
		p := s.dial(t)
		p.write(ping("1"))
		p.expect(frame.Pong, "1")
		p.write(join(text("a"), closing(4001, "enough")))
		p.expectClose(4001)
		var cause *ws.CloseError
		if err := <-told; !errors.As(err, &cause) || cause.Code != 4001 {
			t.Errorf("the cause is %v", err)
		}
		p.nc.Close()
		p.expectCalls("OnOpen", "OnData", "OnClose 4001 enough")
	})
}

// What is behind the handshake is seen while OnOpen runs.
func TestOnOpenAndWhatIsBehindTheHandshake(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		release := make(chan bool)
		r := &recorder{onOpen: func(ws.ClientID) { <-release }}
		s := serve(t, at, r, unlimited)
		p := s.connect(t)
		p.write(join([]byte(p.handshake()), text("a"), ping("1"), text("b")[:3]))
		p.expectSwitch()
		p.expect(frame.Pong, "1")
		p.write(text("b")[3:])
		close(release)
		p.expect(frame.Text, "a")
		p.expect(frame.Text, "b")
		p.leave()
	})
}

// What is read ahead is bounded; the rest comes in its turn, and nothing is lost.
func TestMaxReadAhead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 1000, 300_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			everywhere(t, func(t *testing.T, at setting) {
				options := unlimited
				options.MaxReadAhead = 16 << 10
				h, s := serveHolding(t, at, options)
				p := s.dial(t)
				p.write(text("hold"))
				<-h.held
				count := max(2, min(1000, 200_000/size))
				wire := text(filler(size))
				written := make(chan bool)
				go func() {
					for range count {
						p.write(wire)
					}
					close(written)
				}()
				most := uint64(10 + 16<<10 + 16<<10) // and one more read
				for read := uint64(0); read < 16<<10; time.Sleep(pollPeriod) {
					info, ok := s.Info(p.id())
					if read = info.BytesRead; !ok || read > most {
						t.Fatalf("%d bytes were read", read)
					}
				}
				h.free <- true
				h.expectMessages(t, "hold")
				p.expect(frame.Text, "hold")
				for range count {
					h.expectMessages(t, filler(size))
					p.expect(frame.Text, filler(size))
				}
				<-written
				p.leave()
			})
		})
	}
}

// A client that hangs up behind more than is read ahead is noticed as well,
// where the engine can see it.
func TestEndBehindMoreThanIsReadAhead(t *testing.T) {
	t.Parallel()
	for _, at := range []setting{waitings[0], {name: "TLS", network: "tcp", tls: true, host: true}} {
		t.Run(at.name, func(t *testing.T) {
			causes := make(chan error, 1)
			waits := make(chan bool, 1)
			r := &recorder{}
			r.onData = func(_ ws.ClientID, m *ws.Message) {
				if s, _ := m.Text(); s == "wait" {
					waits <- true
					select {
					case <-m.Context().Done():
					case <-time.After(patience):
					}
					causes <- context.Cause(m.Context())
				}
			}
			options := unlimited
			options.MaxReadAhead = 4 << 10
			s := serve(t, at, r, options)
			p := s.dial(t)
			p.write(text("wait"))
			<-waits
			p.write(text(filler(100_000)))
			p.nc.Close()
			var cause *ws.CloseError
			if err := <-causes; !errors.As(err, &cause) || cause.Code != ws.CodeAbnormal {
				t.Errorf("the cause is %v", err)
			}
			p.expectCalls("OnOpen", "OnData", "OnData", "OnClose 1006 connection lost")
		})
	}
}

// A message that is being read can be read as far as it came.
func TestEndOfAMessageThatIsBeingRead(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		held, release, got := make(chan bool), make(chan bool), make(chan string, 2)
		r := &recorder{}
		r.onData = func(_ ws.ClientID, m *ws.Message) {
			var read strings.Builder
			p := make([]byte, 100)
			for {
				n, err := m.Read(p)
				read.Write(p[:n])
				if err != nil {
					got <- read.String()
					got <- err.Error()
					return
				}
				if read.Len() == n {
					held <- true
					<-release
				}
			}
		}
		options := unlimited
		options.AutoFrameSize = 10
		s := serve(t, at, r, options)
		p := s.dial(t)
		p.write(first(frame.Text, filler(50)))
		<-held
		p.write(join(ping("1"), middle(filler(50)), ping("2"), closing(4001, "enough")))
		p.expectPong("2")
		p.expectClose(4001)
		close(release)
		if s := <-got; s != filler(50)+filler(50) {
			t.Errorf("read %q", s)
		}
		if s := <-got; s != (&ws.CloseError{Code: 4001, Reason: "enough"}).Error() {
			t.Errorf("then %q", s)
		}
		p.nc.Close()
		p.expectCalls("OnOpen", "OnData", "OnClose 4001 enough")
	})
}

// A fault that is read ahead fails the client in its turn: what came before is
// delivered.
func TestFaultWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		fault []byte
		code  ws.Code
	}{
		{"no message to continue", last(""), ws.CodeProtocolError},
		{"a reserved opcode", masked(frame.Header{Fin: true, Opcode: 0xb}, ""), ws.CodeProtocolError},
		{"a code that must not be sent", closing(1005, ""), ws.CodeProtocolError},
		{"a reason that is no text", closing(1000, "\xff"), ws.CodeInvalidPayload},
		{"a frame that is too long", text(filler(2000)), ws.CodeTooBig},
		{"text that is none", text("\xff"), ws.CodeInvalidPayload},
	} {
		t.Run(row.name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				options := unlimited
				options.MaxFrameSize = 1000
				h, s := serveHolding(t, at, options)
				p := s.dial(t)
				p.write(text("hold"))
				<-h.held
				p.write(join(text("a"), row.fault, ping("no"), text("no")))
				h.free <- true
				h.expectMessages(t, "hold", "a")
				p.expect(frame.Text, "hold")
				p.expect(frame.Text, "a")
				p.expectClose(row.code)
				p.nc.Close()
				p.awaitOnClose()
			})
		})
	}
}

// Pings in their thousands are paced like all else.
func TestPingFloodWhileAHandlerRuns(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		h, s := serveHolding(t, at, ws.Options{MaxFramesPerSecond: 100})
		p := s.dial(t)
		p.write(text("hold"))
		<-h.held
		p.write([]byte(strings.Repeat(string(ping("")), 1000)))
		p.expect(frame.Pong, "")
		info, _ := s.Info(p.id())
		if info.FramesRead > 500 {
			t.Errorf("%d frames were read", info.FramesRead)
		}
		h.free <- true
		p.nc.Close()
		p.awaitOnClose()
	})
}
