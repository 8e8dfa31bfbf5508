package ws_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// state is what Gateway.Monitor reports now.
func (s *server) state() ws.State { return s.gateway.Monitor().(ws.State) }

// awaitState waits until the state is as it has to be.
func (s *server) awaitState(t *testing.T, what string, ok func(ws.State) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(s.state()); time.Sleep(pollPeriod) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, s.state())
		}
	}
}

// Gateway.Monitor counts clients, what they exchange, and why they are refused and closed.
func TestMonitor(t *testing.T) {
	at, g := gated()
	s := serve(t, at, &recorder{onHandshake: func(req *aerys.Request, res *aerys.Response) {
		if req.Param("password") == "wrong" {
			res.SetStatus(403).End("no")
		}
	}}, ws.Options{MaxQueuedBytes: 300, Logger: slog.New(slog.DiscardHandler)})
	if state := s.state(); fmt.Sprintf("%+v", state) != fmt.Sprintf("%+v", ws.State{}) {
		t.Errorf("before anybody came: %+v", state)
	}
	for _, request := range []string{
		upgrade("Sec-WebSocket-Version: 8"), upgrade("Sec-WebSocket-Version: 7"), upgrade("Origin: https://evil"),
		upgrade("GET /chat?password=wrong HTTP/1.1"),
	} {
		p := s.connect(t)
		p.write([]byte(request))
		p.response()
	}
	rejected := map[string]uint64{
		"the WebSocket version is not 13": 2, "pages of this origin may not connect": 1, "declined by OnHandshake": 1,
	}
	if state := s.state(); !maps.Equal(state.Rejected, rejected) || state.Accepted != 0 {
		t.Errorf("%d accepted, rejected %v, want %v", state.Accepted, state.Rejected, rejected)
	}

	a, b, stuck := s.dial(t), s.dial(t), s.dial(t)
	a.expectEcho("hello")
	b.write(ping("p"))
	b.expect(frame.Pong, "p")
	stuck.clock()
	traffic := ws.Traffic{BytesRead: 11 + 7, FramesRead: 2, MessagesRead: 1, BytesSent: 7 + 3, FramesSent: 2, MessagesSent: 1}
	s.awaitState(t, "three clients", func(state ws.State) bool {
		return state.Active == 3 && state.Accepted == 3 && state.Traffic == traffic && len(state.Closed) == 0
	})

	a.leave()
	b.write([]byte("nonsense"))
	b.expectFailure(1002, "")
	s.awaitState(t, "a left, b failed", func(state ws.State) bool {
		return state.Active == 1 && state.Accepted == 3 && state.MessagesRead == 1 && state.FramesSent == 4 &&
			maps.Equal(state.Closed, map[ws.Code]uint64{1000: 1, 1002: 1}) && maps.Equal(state.Failed, map[ws.Code]uint64{1002: 1})
	})

	g.mu.Lock()
	defer g.mu.Unlock()
	s.Broadcast("at the gate")
	s.awaitSent(stuck, len("..at the gate"))
	for range 3 {
		s.Broadcast(strings.Repeat("x", 98))
	}
	s.awaitState(t, "some wait", func(state ws.State) bool { return state.Queued == 300 && state.Slow == 0 })
	for range 2 {
		s.Broadcast(strings.Repeat("x", 98))
	}
	stuck.passUntilClosed(20)
	s.awaitState(t, "too many wait", func(state ws.State) bool {
		return state.Active == 0 && state.Queued == 0 && state.Slow == 1 &&
			maps.Equal(state.Closed, map[ws.Code]uint64{1000: 1, 1002: 1, 1008: 1}) && maps.Equal(state.Failed, map[ws.Code]uint64{1002: 1, 1008: 1})
	})
}

// However it is noticed that a client does not read, it is counted.
func TestMonitorCountsSlowClients(t *testing.T) {
	message := strings.Repeat("x", 98)
	for name, send := range map[string]func(*server, *peer){
		"Broadcast": func(s *server, p *peer) { s.Broadcast(message) },
		"Publish":   func(s *server, p *peer) { s.Subscribe(p.id(), "topic"); s.Publish("topic", message) },
		"Send":      func(s *server, p *peer) { s.Send(message, p.id()) },
		"Writer": func(s *server, p *peer) {
			if w, err := s.Writer(p.id(), false); err == nil {
				w.Write([]byte(message))
				w.Close()
			}
		},
		"pings": func(s *server, p *peer) { p.write(ping(message)) },
	} {
		t.Run(name, func(t *testing.T) {
			at, g := gated()
			s := serve(t, at, &recorder{}, ws.Options{MaxQueuedBytes: 300, HeartbeatPeriod: -1, MaxFramesPerSecond: -1})
			p := s.dial(t)
			defer p.flies()()
			p.expectEcho("hello")
			g.mu.Lock()
			defer g.mu.Unlock()
			for s.state().Slow == 0 && s.Len() > 0 {
				send(s, p)
			}
			p.expectEnd(1008, "Options.MaxQueuedBytes")
			if state := s.state(); state.Slow != 1 || state.Failed[1008] != 1 {
				t.Errorf("%d slow, failed %v", state.Slow, state.Failed)
			}
		})
	}
}

// journal is a log whose lines are kept as "LEVEL message".
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "code" || a.Key == "reason" {
			line += " " + a.Value.String()
		}
		return true
	})
	j.lines = append(j.lines, strings.TrimSpace(line))
	return nil
}

// One line is logged for each client that comes and each that goes, at debug level, and
// one for each failure that is the application's or the operator's. Messages are not.
func TestLog(t *testing.T) {
	t.Parallel()
	fail := func(ws.ClientID) { panic("the handler's own fault") }
	for _, test := range []struct {
		name   string
		onOpen func(ws.ClientID)
		do     func(*server, *peer)
		want   string
	}{
		{"a client that leaves", nil, func(_ *server, p *peer) { p.leave() },
			"DEBUG ws: opened, DEBUG ws: closed 1000 bye"},
		{"messages", nil, func(s *server, p *peer) {
			for range 10 {
				p.expectEcho("hello")
				s.Broadcast("to all")
				p.expect(frame.Text, "to all")
			}
			p.leave()
		}, "DEBUG ws: opened, DEBUG ws: closed 1000 bye"},
		{"a client that breaks a rule", nil, func(_ *server, p *peer) { p.write(text("\xff")); p.expectFailure(1007, "") },
			"DEBUG ws: opened, DEBUG ws: closed 1007 text is not UTF-8 (RFC 6455 §8.1)"},
		{"a lost client", nil, func(_ *server, p *peer) { p.nc.Close(); p.expectEnd(1006, "") },
			"DEBUG ws: opened, DEBUG ws: closed 1006 connection lost"},
		{"a panic", fail, func(_ *server, p *peer) { p.expectFailure(1011, "") },
			"DEBUG ws: opened, ERROR ws: panic in OnOpen, DEBUG ws: closed 1011 the server failed"},
		{"a foreign origin", nil, func(s *server, p *peer) {
			p.leave()
			q := s.connect(p.t)
			q.write([]byte(upgrade("Origin: https://evil")))
			q.response()
		}, "DEBUG ws: opened, DEBUG ws: closed 1000 bye, WARN ws: origin refused: add it to Options.Origins if its pages may connect"},
		{"what is no handshake", nil, func(s *server, p *peer) {
			p.leave()
			q := s.connect(p.t)
			q.write([]byte(upgrade("-Upgrade")))
			q.response()
		}, "DEBUG ws: opened, DEBUG ws: closed 1000 bye"},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := new(journal)
			s := serve(t, byHTTP, &recorder{onOpen: test.onOpen}, ws.Options{Logger: slog.New(log), MaxFramesPerSecond: -1})
			p := s.dial(t)
			p.id()
			test.do(s, p)
			s.stop(t)
			if got := strings.Join(log.lines, ", "); got != test.want {
				t.Errorf("logged: %s\nwant: %s", got, test.want)
			}
		})
	}
}
