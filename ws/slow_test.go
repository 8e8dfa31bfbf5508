package ws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/ws"
	"aerys/ws/frame"
)

// sendBuffers gives the sockets of a server room for about this many bytes that
// its clients do not read.
func sendBuffers(size int) func(net.Listener) net.Listener {
	return func(l net.Listener) net.Listener { return sendBuffering{l, size} }
}

type sendBuffering struct {
	net.Listener
	size int
}

func (l sendBuffering) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if c, ok := nc.(interface{ SetWriteBuffer(int) error }); ok {
		c.SetWriteBuffer(l.size)
	}
	return nc, err
}

// gate lets writes of a server pass, or not, while the client's socket is as it is.
type gate struct {
	net.Listener
	mu sync.RWMutex // locked: nothing passes
}

// gated puts a gate in front of all connections of a server.
func gated() (at setting, g *gate) {
	g = new(gate)
	return setting{name: "gated", engine: ws.EnginePortable, network: "tcp", wrap: func(l net.Listener) net.Listener {
		g.Listener = l
		return g
	}}, g
}

func (g *gate) Accept() (net.Conn, error) {
	nc, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return gatedConn{opaqueConn{nc}, g}, nil
}

// gatedConn shows nothing of its socket, whose writes would not wait at the gate.
type gatedConn struct {
	opaqueConn
	gate *gate
}

func (c gatedConn) Write(p []byte) (int, error) {
	c.gate.mu.RLock()
	defer c.gate.mu.RUnlock()
	return c.opaqueConn.Write(p)
}

// awaitSent waits until so many bytes were sent to a client, as the server sees it.
func (s *server) awaitSent(p *peer, n int) {
	for info, _ := s.Info(p.id()); info.BytesSent < uint64(n); info, _ = s.Info(p.id()) {
		time.Sleep(pollPeriod)
	}
}

// A queue may be as long as the options say, not counting the message on its way.
// A broadcast beyond that closes the client if it does not get on, with a reason
// that names the option; Send waits.
func TestQueueLimits(t *testing.T) {
	message := strings.Repeat("x", 98) // a frame of 100 bytes
	for _, test := range []struct {
		option  string
		options ws.Options
	}{
		{"Options.MaxQueuedBytes", ws.Options{MaxQueuedBytes: 300}},
		{"Options.MaxQueuedMessages", ws.Options{MaxQueuedMessages: 3}},
	} {
		start := func(t *testing.T, options ws.Options) (*server, *gate, *peer) {
			at, g := gated()
			s := serve(t, at, &recorder{}, options)
			p := s.dial(t)
			p.clock()
			p.expectEcho("hello")
			s.awaitSent(p, len("..hello")) // nothing waits
			g.mu.Lock()
			s.Broadcast("at the gate")
			s.awaitSent(p, len("..hello")+len("..at the gate"))
			return s, g, p
		}
		t.Run(test.option+" and broadcasts", func(t *testing.T) {
			s, g, p := start(t, test.options)
			defer g.mu.Unlock()
			for n := range 6 { // the sixth finds more than the limit
				if info, ok := s.Info(p.id()); !ok || !info.Closed.IsZero() {
					t.Fatalf("closed after %d messages: %+v", n, info)
				}
				s.Broadcast(message)
			}
			p.passUntilClosed(40)
			p.expectEnd(1008, test.option)
		})
		t.Run(test.option+" and multicasts", func(t *testing.T) {
			s, g, p := start(t, test.options)
			defer g.mu.Unlock()
			for range 6 {
				s.MulticastBinary([]byte(message), p.id())
			}
			p.passUntilClosed(40)
			p.expectEnd(1008, test.option)
		})
		t.Run(test.option+" and Send", func(t *testing.T) {
			s, g, p := start(t, test.options)
			sent := make(chan error, 10)
			go func() {
				for range cap(sent) {
					sent <- s.Send(message, p.id())
				}
			}()
			for range 5 { // the fifth is what is waited for
				if err := <-sent; err != nil {
					t.Error(err)
				}
			}
			select {
			case err := <-sent:
				t.Fatalf("the sixth was not waited for: %v", err)
			case <-time.After(20 * time.Millisecond):
			}
			g.mu.Unlock()
			p.expect(frame.Text, "at the gate")
			for range cap(sent) {
				p.expect(frame.Text, message)
			}
			for range cap(sent) - 5 {
				if err := <-sent; err != nil {
					t.Error(err)
				}
			}
			p.leave()
		})
		t.Run(test.option+" and WriteTimeout", func(t *testing.T) {
			s, g, p := start(t, test.options)
			defer g.mu.Unlock()
			defer p.flies()()
			var err error
			for n := 0; err == nil; n++ {
				if err = s.Send(message, p.id()); n < 5 && err != nil {
					t.Fatalf("message %d: %v", n, err)
				}
			}
			if !errors.Is(err, ws.ErrSlowClient) {
				t.Errorf("Send: %v, want %v", err, ws.ErrSlowClient)
			}
			p.expectEnd(1008, test.option)
			if err := s.Send(message, p.id()); !errors.Is(err, ws.ErrClosed) {
				t.Errorf("Send: %v, want %v", err, ws.ErrClosed)
			}
		})
		t.Run(test.option+" and Close", func(t *testing.T) {
			s, g, p := start(t, test.options)
			var sending sync.WaitGroup
			for range 3 {
				sending.Add(1)
				go func() {
					defer sending.Done()
					for s.Send(message, p.id()) == nil {
					}
				}()
			}
			if err := s.Close(p.id(), 4000, "enough"); err != nil {
				t.Error(err)
			}
			sending.Wait() // what they sent before is still on its way
			g.mu.Unlock()
			got, err := p.read()
			for err == nil && got.Opcode == frame.Text {
				got, err = p.read()
			}
			if err != nil || got.Opcode != frame.Close {
				t.Errorf("%s, %v instead of the close frame", brief(got.Opcode, got.payload), err)
			}
			p.write(closing(4000, ""))
			p.expectEOF()
		})
	}
}

// A message may be larger than all that may wait: who reads gets it, also in the
// middle of a turn.
func TestLargeBroadcast(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		large := strings.Repeat("x", 8<<20)
		received := make(chan bool)
		r.onData = func(id ws.ClientID, m *ws.Message) {
			r.endpoint.Broadcast(large)
			<-received
		}
		options := unlimited
		options.MaxQueuedBytes = 16 << 10
		s := serve(t, at, r, options)
		sender, other := s.dial(t), s.dial(t)
		defer close(received)
		sender.write(text("now"))
		other.expect(frame.Text, large)
		sender.expect(frame.Text, large)
	})
}

// Send waits for a client that reads slowly: it loses nothing, and little is queued.
func TestSendToSlowClient(t *testing.T) {
	const messages, size, most = 2000, 16 << 10, 64 << 10
	sockets(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(128 << 10)
		s := serve(t, at, &recorder{}, ws.Options{MaxQueuedBytes: most})
		p := s.dial(t)
		id := p.id()
		sent := make(chan error, 1)
		go func() {
			payload := make([]byte, size)
			var err error
			for n := 0; n < messages && err == nil; n++ {
				copy(payload, fmt.Sprintf("%08d", n))
				err = s.SendBinary(payload, id)
			}
			sent <- err
		}()
		for n := range messages {
			got, err := p.read()
			if err != nil || len(got.payload) != size || got.payload[:8] != fmt.Sprintf("%08d", n) {
				t.Fatalf("message %d: %s, %v", n, brief(got.Opcode, got.payload), err)
			}
			if queued := s.state().Queued; queued > most+2*size {
				t.Fatalf("message %d: %d bytes wait", n, queued)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		p.leave()
	})
}

// What a handler sent leaves while it goes on, also when the socket was full.
func TestHandlerThatWaitsForItsClient(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(128 << 10)
		received, all := context.WithCancel(t.Context())
		defer all()
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			text, _ := m.Text()
			for n := range 3 {
				r.endpoint.Send(fmt.Sprint(n, strings.Repeat(text, 1<<20)), id)
			}
			<-received.Done()
		}
		p := serve(t, at, r, ws.Options{MaxQueuedBytes: 8 << 20}).dial(t)
		p.write(text("x"))
		for n := range 3 {
			p.expect(frame.Text, fmt.Sprint(n, strings.Repeat("x", 1<<20)))
		}
		all()
		p.leave()
	})
}

// Of the pings of a client that does not read the latest waits to be answered
// (RFC 6455 §5.5.3): nothing grows, and in the end the client is given up.
func TestPingFlood(t *testing.T) {
	const growth = 8 << 20
	sockets(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(4096)
		options := attackOptions
		options.HeartbeatPeriod = -1
		s := serve(t, at, &recorder{}, options)
		witness := s.dial(t)
		grown := heapGrowth(func() {
			p := s.dial(t)
			defer p.flood(bytes.Repeat(ping(strings.Repeat("x", 125)), 100))()
			p.awaitBytesRead(2 * growth)
			passUntil(p.clock(), p.visit.closed)
			p.expectEnd(1008, "Options.WriteTimeout")
		})
		if grown > growth {
			t.Errorf("the heap grew by %d bytes", grown)
		}
		witness.expectEcho("hello")
	})
}

// awaitBytesRead waits until the server has read that much of what a client sends.
func (p *peer) awaitBytesRead(n uint64) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPeriod) {
		switch info, ok := p.server.Info(p.id()); {
		case !ok:
			p.t.Fatal("the client is gone")
		case info.BytesRead >= n:
			return
		case time.Now().After(deadline):
			p.t.Fatalf("the server read %d bytes, not %d", info.BytesRead, n)
		}
	}
}

// crowd is a handler for many clients.
type crowd struct {
	mu      sync.Mutex
	opened  chan ws.ClientID
	endings map[string]int // how often OnClose was called with what
}

func newCrowd(size int) *crowd {
	return &crowd{opened: make(chan ws.ClientID, size), endings: make(map[string]int)}
}

func (c *crowd) OnStart(*ws.Endpoint) error                               { return nil }
func (c *crowd) OnHandshake(*aerys.Request, *aerys.Response) (_ struct{}) { return }
func (c *crowd) OnOpen(id ws.ClientID, _ struct{})                        { c.opened <- id }
func (c *crowd) OnData(ws.ClientID, *ws.Message)                          {}
func (c *crowd) OnStop()                                                  {}
func (c *crowd) OnClose(_ ws.ClientID, code ws.Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endings[fmt.Sprint(code, " ", reason)]++
}

// ended returns how many clients ended with a reason that has this in it.
func (c *crowd) ended(reason string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ending, times := range c.endings {
		if strings.Contains(ending, reason) {
			n += times
		}
	}
	return n
}

// In a broadcast to clients of which 1,000 do not read, those that do get everything in
// order. The others are closed, and memory has a bound. (Over TCP it is the system that takes
// its time, for each of the small segments that a thousand full sockets hold.)
func TestStuckClients(t *testing.T) {
	const healthy = 4
	sockets(t, func(t *testing.T, at setting) {
		stuck, messages := 1000, 10_000
		if ws.Raced() {
			stuck, messages = 200, 2000
		}
		at.network, at.wrap = "unix", sendBuffers(4096)
		handler := newCrowd(stuck + healthy)
		s := serve(t, at, handler, ws.Options{MaxQueuedBytes: 64 << 10, HeartbeatPeriod: -1, WriteTimeout: 2 * time.Second, ClosePeriod: 10 * time.Millisecond})
		var readers []*peer
		var carrier *loop.Loop
		for n := range stuck + healthy {
			p := s.dial(t)
			carrier = ws.Loop(s.Endpoint, <-handler.opened) // of them all
			if n < healthy {
				readers = append(readers, p)
			}
		}
		grown := heapGrowth(func() { s.broadcastNumbers(t, messages, readers) })
		for deadline := time.Now().Add(patience); s.Len() > healthy && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
			carrier.Sweep(1)
		}
		n := handler.ended("1008 policy violation client does not read what is broadcast: more than Options.MaxQueuedBytes") +
			handler.ended("1008 policy violation client does not read: Options.WriteTimeout passed") // whichever a busy machine sees first
		if n != stuck || s.Len() != healthy {
			t.Errorf("%d of %d stuck clients were closed: %v; %d are left", n, stuck, handler.endings, s.Len())
		}
		if most := 2*stuck*(64<<10) + 48<<20; grown > int64(most) { // twice, as buffers are powers of two, and garbage
			t.Errorf("the heap grew by %d bytes, more than %d", grown, most)
		}
	})
}

// broadcastNumbers broadcasts the numbers up to n, as binary messages, and
// sees that the readers get all of them. They are given time to keep up.
func (s *server) broadcastNumbers(t *testing.T, n int, readers []*peer) {
	const ahead, size = 200, 100
	progress := make(chan struct{}, len(readers)*n/ahead)
	for _, p := range readers {
		go func() {
			wire := make([]byte, 2+size)
			for number := range n {
				if _, err := io.ReadFull(p.reader, wire); err != nil || string(wire[:10]) != fmt.Sprintf("\x82%c%08d", size, number) {
					t.Errorf("message %d: %q, %v", number, wire[:10], err)
					return
				}
				if (number+1)%ahead == 0 {
					progress <- struct{}{}
				}
			}
		}()
	}
	message := make([]byte, size)
	for number := range n {
		copy(message, fmt.Sprintf("%08d", number))
		s.BroadcastBinary(message)
		if (number+1)%ahead > 0 {
			continue
		}
		for range readers {
			select {
			case <-progress:
			case <-time.After(patience):
				t.Fatal("clients that read do not keep up")
			}
		}
	}
}
