package ws_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// When a handler is called, and what it may do.

// A client is served over everything that carries a connection.
func TestEverywhere(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		long := filler(300000)
		p := s.dial(t)
		p.write(join(text("a"), ping("p"), binary("b")))
		p.expect(frame.Text, "a")
		p.expect(frame.Pong, "p")
		p.expect(frame.Binary, "b")
		p.trickle(join(first(frame.Text, "κό"), ping(""), last("σμε")), 1)
		p.expect(frame.Pong, "")
		p.expect(frame.Text, "κόσμε")
		p.write(text(long))
		p.expect(frame.Text, long)
		p.leave()
		p.expectHistory(4, ws.CodeNormal, "bye")

		p = s.dial(t)
		s.Close(p.id(), 4000, "enough")
		p.expectClose(4000)
		p.write(closing(4000, ""))
		p.expectEOF()
		p.nc.Close()
		p.expectHistory(0, 4000, "enough")

		p = s.dial(t)
		p.write(text("\xff"))
		p.expectClose(ws.CodeInvalidPayload)
		p.expectEOF()
	})
}

// OnOpen returns before OnData is called, OnData before it is called again, and
// the last one before OnClose, whatever the client sends meanwhile.
func TestCallOrder(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		var inside atomic.Int32
		var seen []string // without a lock: the race detector sees whether calls overlap
		proceed := make(chan bool)
		slowly := func(what string) {
			if n := inside.Add(1); n != 1 {
				t.Errorf("%s: %d calls at once", what, n)
			}
			<-proceed
			seen = append(seen, what)
			inside.Add(-1)
		}
		done := make(chan bool)
		r := &recorder{
			onOpen: func(ws.ClientID) { slowly("open") },
			onData: func(_ ws.ClientID, m *ws.Message) { s, _ := m.Text(); slowly(s) },
			onClose: func(_ ws.ClientID, code ws.Code, _ string) {
				slowly("close")
				close(done)
			},
		}
		s := serve(t, at, r, unlimited)
		p := s.connect(t)
		p.nc.Write(join([]byte(p.handshake()), text("1"), binary("2")))
		p.expectSwitch()
		p.write(text("3"))
		p.write(join(text("4"), closing(ws.CodeNormal, "")))
		for range 5 {
			proceed <- true
		}
		p.expectClose(ws.CodeNormal)
		p.nc.Close()
		proceed <- true
		<-done
		if got := strings.Join(seen, " "); got != "open 1 2 3 4 close" {
			t.Errorf("calls: %s", got)
		}
	})
}

// A handler that blocks holds up its own client's messages, and nothing else.
func TestBlockedHandlers(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		var blocked sync.WaitGroup
		proceed := make(chan bool)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			s, _ := m.Text()
			if s == "block" {
				blocked.Done()
				<-proceed
			}
			r.endpoint.Send(s, id)
		}
		s := serve(t, at, r, unlimited)
		var stuck []*peer
		for range 50 {
			p := s.dial(t)
			blocked.Add(1)
			p.write(join(text("block"), text("behind it"), ping("p")))
			stuck = append(stuck, p)
		}
		blocked.Wait()
		for _, p := range stuck {
			p.expect(frame.Pong, "p")
		}
		for i := range 10 {
			p := s.dial(t)
			p.write(text(fmt.Sprint(i)))
			p.expect(frame.Text, fmt.Sprint(i))
			p.leave()
		}
		s.Broadcast("to all")
		for _, p := range stuck {
			p.expect(frame.Text, "to all")
		}
		close(proceed)
		for _, p := range stuck {
			p.expect(frame.Text, "block")
			p.expect(frame.Text, "behind it")
			p.leave()
		}
	})
}

// Info and Clients know what there is.
func TestInfo(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		p, q := s.dial(t), s.dial(t)
		q.id() // for a client may have its 101 before it is counted
		wire := join(text("abc"), ping("p"), first(frame.Binary, "a"), last("b"), pong(""))
		p.trickle(wire, len(wire))
		p.expect(frame.Text, "abc")
		p.expect(frame.Pong, "p")
		p.expect(frame.Binary, "ab")
		want := ws.Traffic{BytesRead: uint64(len(wire)), FramesRead: 5, MessagesRead: 2, BytesSent: 5 + 3 + 4, FramesSent: 3, MessagesSent: 2}
		info, ok := s.Info(p.id())
		for deadline := time.Now().Add(patience); info.BytesSent < want.BytesSent && time.Now().Before(deadline); {
			info, ok = s.Info(p.id()) // bytes are counted behind the write that a client may already have read
		}
		if !ok || info.Traffic != want || !info.Closed.IsZero() || info.Code != 0 {
			t.Errorf("Info: %+v, want %+v", info, want)
		}
		if age := time.Since(info.Connected); age < 0 || age > patience {
			t.Errorf("connected %v ago", age)
		}
		clients := map[ws.ClientID]bool{}
		for id := range s.Clients() {
			clients[id] = true
		}
		if len(clients) != 2 || !clients[p.id()] || !clients[q.id()] || s.Len() != 2 {
			t.Errorf("Clients: %v, Len: %d", clients, s.Len())
		}
		p.leave()
		q.leave()
	})
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
