package ws_test

import (
	"strings"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// endSending ends the client's direction, as the connection has it: TLS says so
// first (RFC 8446 §6.1).
func (p *peer) endSending() {
	p.t.Helper()
	if err := p.nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
}

// A client that ends its direction right behind its close frame gets all that it
// is owed: the answers to its messages, then the close frame (RFC 6455 §5.5.1).
func TestHalfCloseBehindTheCloseFrame(t *testing.T) {
	t.Parallel()
	tries := 20
	if testing.Short() || ws.Raced() {
		tries = 3
	}
	for _, row := range []struct {
		name  string
		send  []byte
		wants []string
	}{
		{"a close frame alone", nil, nil},
		{"behind a message", text("hello"), []string{"hello"}},
		{"behind many", []byte(strings.Repeat(string(text("hello")), 20)), strings.Split(strings.Repeat("hello ", 20), " ")[:20]},
		{"behind a large one", text(filler(200_000)), []string{filler(200_000)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, at setting) {
				s := serve(t, at, &recorder{}, unlimited)
				for range tries {
					p := s.dial(t)
					p.write(join(row.send, closing(4001, "enough")))
					p.endSending()
					for _, want := range row.wants {
						p.expect(frame.Text, want)
					}
					p.expectClose(4001)
					p.expectEOF()
					p.awaitOnClose()
					p.nc.Close()
				}
			})
		})
	}
}

// So does one that sends no close frame: what was sent to it before arrives.
func TestHalfCloseWithoutACloseFrame(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(16 << 10)
		r := &recorder{}
		sent := make(chan error, 1)
		r.onData = func(id ws.ClientID, m *ws.Message) {
			m.Bytes()
			sent <- r.endpoint.Send(filler(500_000), id)
		}
		options := unlimited
		options.WriteTimeout = patience
		s := serve(t, at, r, options)
		p := s.dial(t)
		p.write(text("more"))
		if err := <-sent; err != nil { // while its handler is late it would see the client go
			t.Error(err)
		}
		p.endSending()
		p.expect(frame.Text, filler(500_000))
		p.expectEOF()
		p.expectCalls("OnOpen", "OnData", "OnClose 1006 connection lost")
	})
}

// One that takes nothing of it is not waited for longer than others.
func TestHalfCloseOfOneThatDoesNotRead(t *testing.T) {
	everywhere(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(16 << 10)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			m.Bytes()
			r.endpoint.SendBinary(make([]byte, 16<<20), id)
		}
		options := unlimited
		options.MaxQueuedBytes = -1
		s := serve(t, at, r, options)
		p := s.dial(t)
		p.clock()
		p.write(text("more"))
		p.endSending()
		p.passUntilClosed(40)
		p.expectCalls("OnOpen", "OnData", "OnClose 1006 connection lost")
	})
}

// Bytes behind a close frame are discarded, and do not reset the connection before
// the client has read the server's.
func TestBytesBehindTheCloseFrame(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		behind []byte
		later  bool // they are sent when the server has answered
	}{
		{"in one with it", []byte(filler(100_000)), false},
		{"when it has been answered", []byte(filler(100_000)), true},
		{"frames", []byte(strings.Repeat(string(ping("")), 1000)), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, at setting) {
				options := unlimited
				options.ClosePeriod = patience
				s := serve(t, at, &recorder{}, options)
				for range 5 {
					p := s.dial(t)
					id := p.id()
					p.write(text("hello"))
					p.expect(frame.Text, "hello")
					p.write(closing(4001, "enough"))
					if row.later {
						for info, ok := s.Info(id); ok && info.Closed.IsZero(); info, ok = s.Info(id) {
							time.Sleep(pollPeriod)
						}
						time.Sleep(time.Millisecond)
					}
					for range 3 {
						if _, err := p.nc.Write(row.behind); err != nil {
							t.Errorf("the server has reset the connection: %v", err)
						}
					}
					p.expectClose(4001)
					p.expectEOF()
					p.nc.Close()
					p.awaitOnClose()
				}
			})
		})
	}
}

// Who never ends its direction is dropped after ClosePeriod all the same.
func TestClosePeriodOfOneThatStays(t *testing.T) {
	everywhere(t, func(t *testing.T, at setting) {
		options := unlimited
		options.ClosePeriod = closePeriod
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		began := p.now()
		p.write(closing(4001, "enough"))
		p.expectClose(4001)
		p.expectEOF()
		p.outstays(began, 30)
	})
}
