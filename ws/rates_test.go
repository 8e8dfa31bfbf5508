package ws_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// A client over a rate gets on at that rate, and is served meanwhile.

// overRate makes a client wait, with a message that was not delivered.
func (p *peer) overRate() {
	p.t.Helper()
	p.write(text(filler(900)))
	p.expect(frame.Text, filler(900))
	p.write(text(filler(3000)))
	p.awaitPaused(1)
}

// awaitPaused waits until so many clients have to wait.
func (p *peer) awaitPaused(n int) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); p.server.state().Paused != n; time.Sleep(pollPeriod) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%d clients are paused, not %d", p.server.state().Paused, n)
		}
	}
}

// byBytes has a client that is overRate wait for longer than any test.
var byBytes = ws.Options{MaxBytesPerMinute: 1000, MaxFramesPerSecond: -1}

// Control frames of a client that waits are dealt with, and so is its end.
func TestPausedClientIsServed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		do   func(*peer)
		end  string // what OnClose gets
		late int    // messages that had to wait, and were delivered
	}{
		{"ping", func(p *peer) {
			p.write(ping("1"))
			p.expect(frame.Pong, "1")
			p.write(join(text("a"), ping("2")))
			p.expect(frame.Pong, "2")
			p.write(closing(4001, "enough"))
			p.expectClose(4001)
		}, "4001 enough", 2},
		{"close", func(p *peer) {
			p.write(closing(4001, "enough"))
			p.expectClose(4001)
			p.expectEOF()
		}, "4001 enough", 1},
		{"close behind a message", func(p *peer) {
			p.write(join(text("a"), closing(4001, "enough")))
			p.expectClose(4001)
			p.expectEOF()
		}, "4001 enough", 2},
		{"an end", func(p *peer) { p.nc.Close() }, "1006 connection lost", 1},
		{"an end behind a message", func(p *peer) { p.write(text("a")); p.nc.Close() }, "1006 connection lost", 2},
		{"a reset", func(p *peer) { p.reset() }, "1006 connection lost", 1},
		{"Endpoint.Close", func(p *peer) {
			p.server.Close(p.id(), 4002, "go")
			p.expectClose(4002)
			p.write(closing(4002, ""))
			p.expectEOF()
		}, "4002 go", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, at setting) {
				s := serve(t, at, &recorder{}, byBytes)
				p := s.dial(t)
				p.overRate()
				row.do(p)
				p.nc.Close()
				p.awaitOnClose()
				calls := []string{"OnOpen", "OnData"}
				for range row.late {
					calls = append(calls, "OnData")
				}
				p.expectCalls(append(calls, "OnClose "+row.end)...)
			})
		})
	}
}

// So it is while a handler reads a message whose sender is over a rate.
func TestPausedHandlerIsServed(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		ended := make(chan string, 1)
		r := &recorder{}
		r.onData = func(_ ws.ClientID, m *ws.Message) {
			p, err := m.Bytes()
			ended <- fmt.Sprint(len(p), " ", err)
		}
		options := byBytes
		options.AutoFrameSize = 10
		s := serve(t, at, r, options)
		p := s.dial(t)
		p.write(join(first(frame.Binary, filler(1200)), middle("a")))
		p.awaitPaused(1)
		p.write(join(middle("b"), ping("1")))
		p.expect(frame.Pong, "1")
		p.write(closing(4001, "enough"))
		p.expectClose(4001)
		p.expectEOF()
		if got := <-ended; got != "0 "+(&ws.CloseError{Code: 4001, Reason: "enough"}).Error() {
			t.Errorf("the handler got %s", got)
		}
		p.nc.Close()
		p.expectCalls("OnOpen", "OnData", "OnClose 4001 enough")
	})
}

// An upload of more than a minute's worth is not held up for a minute: it goes on
// at the rate, without long pauses.
func TestUploadOverTheRate(t *testing.T) {
	const rate, size = 200 << 10, 20 << 10 // bytes a second, bytes a message
	for _, at := range append(waitings[:len(waitings):len(waitings)], setting{name: "TLS", network: "tcp", tls: true}) {
		t.Run(at.name, func(t *testing.T) {
			var came times
			r := &recorder{}
			r.onData = func(id ws.ClientID, m *ws.Message) {
				m.Bytes()
				came.note(ws.Loop(r.endpoint, id).Now())
			}
			s := serve(t, at, r, ws.Options{MaxBytesPerMinute: 60 * rate, MaxFramesPerSecond: -1, HeartbeatPeriod: -1})
			p := s.dial(t)
			stop := p.strolls()
			wire := binary(filler(size))
			for range 70 * rate / size {
				p.write(wire)
			}
			p.leave()
			stop()
			came.within(t, 61*rate/size, rate/size)
			if longest := came.longest(); longest > 10 {
				t.Errorf("a pause of %d s", longest)
			}
		})
	}
}

// A game's 144 messages a second, in whatever bursts they come, never wait.
func TestOrdinaryRates(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		var log bytes.Buffer
		s := serve(t, at, &recorder{}, ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		p := s.dial(t)
		for range 6 { // more than five seconds' worth at once
			for range 144 {
				p.write(text("state"))
			}
			for range 144 {
				p.expect(frame.Text, "state")
			}
			if n := s.state().Paused; n > 0 {
				t.Fatalf("%d clients are paused", n)
			}
		}
		p.leave()
		s.stop(t)
		if strings.Contains(log.String(), "Options.") {
			t.Errorf("logged %s", log.String())
		}
	})
}

// Monitor counts who has to wait, and the log names the option: once for each client.
func TestPausesAreTold(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]ws.Options{
		"MaxBytesPerMinute":  {MaxBytesPerMinute: 1000, MaxFramesPerSecond: -1},
		"MaxFramesPerSecond": {MaxFramesPerSecond: 2},
	} {
		t.Run(name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				log := new(buffer)
				options.Logger = slog.New(slog.NewTextHandler(log, nil))
				s := serve(t, at, &recorder{}, options)
				p := s.dial(t)
				for range 8 {
					p.write(text(filler(200)))
				}
				p.awaitPaused(1)
				p.nc.Close()
				p.awaitOnClose()
				p.awaitPaused(0)
				s.stop(t)
				if got := log.String(); strings.Count(got, "Options."+name) != 1 || strings.Count(got, "level=WARN") != 1 {
					t.Errorf("logged %q", got)
				}
			})
		})
	}
}

// A client that has sent more than is read ahead and leaves is not paced any more:
// nobody waits for what it can send no more of.
func TestPausedClientHangsUpBehindMuch(t *testing.T) {
	t.Parallel()
	for _, at := range []setting{waitings[0], {name: "TLS", network: "tcp", tls: true, host: true}} {
		t.Run(at.name, func(t *testing.T) {
			options := byBytes
			options.MaxReadAhead = 4 << 10
			s := serve(t, at, &recorder{}, options)
			p := s.dial(t)
			p.overRate()
			for range 100 {
				p.write(text(filler(500)))
			}
			p.write(closing(4001, "enough"))
			if c, ok := p.nc.(interface{ CloseWrite() error }); ok {
				c.CloseWrite()
			}
			if c, ok := p.nc.(interface{ NetConn() net.Conn }); ok {
				c.NetConn().(*net.TCPConn).CloseWrite()
			}
			p.expectClose(4001)
			p.awaitOnClose()
		})
	}
}
