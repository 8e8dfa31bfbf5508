package ws_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// How a connection ends when it is not the client that begins: RFC 6455 §7.

// closers are where a server may close from.
var closers = []struct {
	name  string
	setup func(r *recorder, end func(ws.ClientID))
	begin func(p *peer, end func(ws.ClientID)) // what makes it close
	calls []string                             // before OnClose
}{
	{
		"in OnOpen",
		func(r *recorder, end func(ws.ClientID)) { r.onOpen = end },
		func(*peer, func(ws.ClientID)) {},
		[]string{"OnOpen"},
	}, {
		"in OnData",
		func(r *recorder, end func(ws.ClientID)) { r.onData = func(id ws.ClientID, _ *ws.Message) { end(id) } },
		func(p *peer, _ func(ws.ClientID)) { p.write(text("close")) },
		[]string{"OnOpen", "OnData"},
	}, {
		"in OnData, in the middle of a message",
		func(r *recorder, end func(ws.ClientID)) { r.onData = func(id ws.ClientID, _ *ws.Message) { end(id) } },
		func(p *peer, _ func(ws.ClientID)) { p.write(first(frame.Text, filler(2*streaming))) },
		[]string{"OnOpen", "OnData"},
	}, {
		"from elsewhere",
		func(*recorder, func(ws.ClientID)) {},
		func(p *peer, end func(ws.ClientID)) { end(p.id()) },
		[]string{"OnOpen"},
	}, {
		"from elsewhere, inside a message",
		func(*recorder, func(ws.ClientID)) {},
		func(p *peer, end func(ws.ClientID)) {
			p.trickle(join(first(frame.Text, "a"), middle("b")[:3]), 1000)
			end(p.id())
			p.write(middle("b")[3:])
		},
		[]string{"OnOpen"},
	},
}

// §7.1.2: a close frame is the last that is sent, behind all that was sent
// before; §7.1.1: the connection ends with the client's answer, whatever it says.
func TestServerCloses(t *testing.T) {
	t.Parallel()
	replies := []struct {
		name string
		wire []byte
	}{
		{"the same code", closing(4001, "")},
		{"another code", closing(ws.CodeGoingAway, "I have to go")},
		{"no code", closingPayload("")},
		{"messages, then a close", join(last("a"), text("ignored"), binary(filler(100000)), ping("p"), closing(4001, ""))},
		{"a fault", masked(frame.Header{Fin: true, Rsv: 1, Opcode: frame.Text}, "")},
	}
	engines(t, func(t *testing.T, at setting) {
		for _, c := range closers {
			r := &recorder{}
			var s *server
			c.setup(r, func(id ws.ClientID) { closeTwice(t, s, id) })
			s = serve(t, at, r, streamingOptions())
			for _, reply := range replies {
				t.Run(c.name+", answered with "+reply.name, func(t *testing.T) {
					p := s.dial(t)
					c.begin(p, func(id ws.ClientID) { closeTwice(t, s, id) })
					p.expect(frame.Text, "last words")
					if reason := p.expectClose(4001); reason != "time is up" {
						t.Errorf("reason %q", reason)
					}
					p.write(reply.wire)
					p.expectEOF()
					p.nc.Close()
					p.awaitOnClose()
					p.expectCalls(append(c.calls, "OnClose 4001 time is up")...)
				})
			}
		}
	})
}

// closeTwice closes a client, behind last words; after that nothing is sent.
func closeTwice(t *testing.T, s *server, id ws.ClientID) {
	if err := s.Send("last words", id); err != nil {
		t.Errorf("Send: %v", err)
	}
	if err := s.Close(id, 4001, "time is up"); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := s.Send("after it", id); err != ws.ErrClosed {
		t.Errorf("Send after Close: %v", err)
	}
	if err := s.SendBinary(nil, id); err != ws.ErrClosed {
		t.Errorf("SendBinary after Close: %v", err)
	}
	if err := s.Close(id, ws.CodeNormal, "again"); err != ws.ErrClosed {
		t.Errorf("Close after Close: %v", err)
	}
	s.Broadcast("after it")
	s.Multicast("after it", id)
	if info, ok := s.Info(id); !ok || info.Code != 4001 || info.Reason != "time is up" || info.Closed.IsZero() {
		t.Errorf("Info: %+v %v", info, ok)
	}
}

// §7.4: every code that may be sent can be, no other; §5.5: a reason is cut to
// what fits, between characters.
func TestServerCloseCodes(t *testing.T) {
	t.Parallel()
	type closeCase struct {
		code         ws.Code
		reason, sent string
	}
	cases := []closeCase{
		{ws.CodeNormal, filler(123), filler(123)},
		{ws.CodeNormal, filler(124), filler(123)},
		{ws.CodeNormal, strings.Repeat("κ", 62), strings.Repeat("κ", 61)},
		{ws.CodeNormal, "not \xff UTF-8", "not \ufffd UTF-8"},
	}
	for _, code := range []ws.Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, closeCase{code, "", ""}, closeCase{code, "reason", "reason"})
	}
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		for _, c := range cases {
			p := s.dial(t)
			if err := s.Close(p.id(), c.code, c.reason); err != nil {
				t.Errorf("Close: %v", err)
			}
			if sent := p.expectClose(c.code); sent != c.sent {
				t.Errorf("reason %q was sent as %q", c.reason, sent)
			}
			p.write(closing(c.code, ""))
			p.expectEOF()
			p.nc.Close()
			p.expectHistory(0, c.code, c.reason)
		}
		for _, code := range []ws.Code{0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("Close with code %v does not panic", code)
					}
				}()
				s.Close(1, code, "")
			}()
		}
	})
}

// A connection that is lost, wherever it is, is 1006 (§7.1.5).
func TestLost(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		send     []byte
		messages int
	}{
		{"at once", nil, 0},
		{"after a message", text("a"), 1},
		{"inside a header", text(filler(1000))[:3], 0},
		{"inside a key", text("a")[:4], 0},
		{"inside a payload", text(filler(1000))[:500], 0},
		{"inside a long payload", binary(filler(100000))[:50000], 0},
		{"inside a ping", ping("payload")[:8], 0},
		{"inside a close frame", closing(ws.CodeNormal, "bye")[:8], 0},
		{"between fragments", first(frame.Text, "a"), 0},
		{"after a message, inside the next", join(text("a"), first(frame.Text, filler(1000))[:100]), 1},
	}
	ways := []struct {
		name string
		lose func(net.Conn)
	}{
		{"end of stream", func(nc net.Conn) { nc.Close() }},
		{"half closed", func(nc net.Conn) { nc.(interface{ CloseWrite() error }).CloseWrite() }},
		{"reset", func(nc net.Conn) { reset(nc) }},
	}
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		for _, way := range ways {
			for _, c := range cases {
				t.Run(way.name+" "+c.name, func(t *testing.T) {
					p := s.dial(t)
					p.trickle(c.send, len(c.send))
					way.lose(p.nc)
					p.expectHistory(c.messages, ws.CodeAbnormal, "connection lost")
				})
			}
		}
	})
}

// Both sides close at once: each takes the other's frame as the answer.
func TestBothClose(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		for i := range 50 {
			p := s.dial(t)
			id := p.id()
			done := make(chan error, 1)
			go func() { done <- s.Close(id, 4010, "server") }()
			p.write(closing(4020, "client"))
			got, err := p.read()
			if err != nil || got.Opcode != frame.Close {
				t.Fatalf("%v %v", got, err)
			}
			code, _, _ := frame.ParseClose([]byte(got.payload))
			p.expectEOF()
			p.nc.Close()
			switch err := <-done; {
			case err == nil && code == 4010:
				p.expectHistory(0, 4010, "server")
			case errors.Is(err, ws.ErrClosed) && code == 4020:
				p.expectHistory(0, 4020, "client")
			default:
				t.Fatalf("round %d: Close: %v, and the client got %v", i, err, code)
			}
		}
	})
}

// OnStop may still send; then all clients get 1001 (§7.4.1).
func TestStop(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		r := &recorder{}
		r.onStop = func() { r.endpoint.Broadcast("farewell") }
		s := serve(t, at, r, unlimited)
		var peers []*peer
		for range 5 {
			p := s.dial(t)
			p.id()
			peers = append(peers, p)
		}
		stopped := make(chan bool)
		go func() { s.stop(t); close(stopped) }()
		for _, p := range peers {
			p.expect(frame.Text, "farewell")
			if reason := p.expectClose(ws.CodeGoingAway); reason != "server stops" {
				t.Errorf("reason %q", reason)
			}
			p.write(closing(ws.CodeGoingAway, ""))
			p.expectEOF()
			p.nc.Close()
			p.expectHistory(0, ws.CodeGoingAway, "server stops")
		}
		<-stopped
	})
}

// A client whose handshake is under way when the gateway stops is not forgotten.
func TestStopDuringHandshake(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		asked, proceed := make(chan bool), make(chan bool)
		r := &recorder{onHandshake: func(*aerys.Request, *aerys.Response) { asked <- true; <-proceed }}
		s := serve(t, at, r, unlimited)
		p := s.connect(t)
		p.write([]byte(p.handshake()))
		<-asked
		if err := s.gateway.Stop(t.Context()); err != nil {
			t.Errorf("Stop: %v", err)
		}
		close(proceed)
		if res := p.response(); res.StatusCode == http.StatusSwitchingProtocols {
			p.expectClose(ws.CodeGoingAway)
			p.write(closing(ws.CodeGoingAway, ""))
			p.expectEOF()
			p.nc.Close()
			p.expectHistory(0, ws.CodeGoingAway, "server stops")
		} else if res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s after Stop", res.Status)
		}
	})
}
