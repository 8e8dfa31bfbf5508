package ws_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// Clients that are slow, handlers that are slow, and those who must not notice.

// untimed are options under which nothing but its socket tells that a client is
// there or gone.
var untimed = ws.Options{MaxFramesPerSecond: -1, MaxBytesPerMinute: -1, HeartbeatPeriod: -1, WriteTimeout: -1}

// narrow gives a server's sockets as small buffers as the system allows.
func narrow(l net.Listener) net.Listener { return narrowListener{l} }

type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if c, ok := nc.(*net.TCPConn); ok {
		c.SetWriteBuffer(1)
		c.SetReadBuffer(1)
	}
	return nc, err
}

// parcel is a message that can be checked: from whom it is, and its number.
func parcel(sender, number, size int) string {
	head := fmt.Sprintf("%d %d %d ", sender, number, size)
	return head + strings.Repeat(string(rune('a'+number%26)), max(0, size-len(head)))
}

// Whatever the buffers take at a time, everything arrives, each sender's
// messages in their order.
func TestNarrowSockets(t *testing.T) {
	t.Parallel()
	const senders = 6
	sizes := []int{1, 125, 126, 4 << 10, 16<<10 - 5, 16 << 10, 64 << 10, 128 << 10, 128<<10 + 1, 300 << 10, 4 << 20, 2}
	engines(t, func(t *testing.T, at setting) {
		at.wrap = narrow
		options := untimed
		options.MaxQueuedBytes = 100 << 10
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		narrowReads(p.nc)
		id := p.id()
		var group sync.WaitGroup
		for sender := range senders {
			group.Add(1)
			go func() {
				defer group.Done()
				for number, size := range sizes {
					if size == 4<<20 && sender > 0 {
						continue
					}
					if err := sendParcel(s, id, sender, parcel(sender, number, size)); err != nil {
						t.Errorf("sender %d, message %d: %v", sender, number, err)
					}
				}
			}()
		}
		var next [senders]int
		for range senders*len(sizes) - (senders - 1) {
			p.expectParcel(next[:])
			for i := range next {
				if next[i] == 10 && i > 0 {
					next[i]++ // the longest is the first sender's alone
				}
			}
		}
		group.Wait()
		p.leave()
	})
}

// sendParcel sends in a way that depends on the sender.
func sendParcel(s *server, id ws.ClientID, sender int, message string) error {
	switch sender % 3 {
	case 0:
		return s.SendBinary([]byte(message), id)
	case 1:
		return s.Send(message, id)
	}
	w, err := s.Writer(id, true)
	if err != nil {
		return err
	}
	w.Write([]byte(message))
	return w.Close()
}

// expectParcel reads one, fragmented perhaps, that is the next of its sender.
func (p *peer) expectParcel(next []int) (sender int) {
	p.t.Helper()
	got, err := p.message()
	if err != nil {
		p.t.Fatal(err)
	}
	var number, size int
	fmt.Sscanf(got.payload, "%d %d %d", &sender, &number, &size)
	if got.payload != parcel(sender, number, size) {
		p.t.Fatalf("damaged: %s", brief(got.Opcode, got.payload))
	}
	if number != next[sender] {
		p.t.Fatalf("message %d of sender %d came instead of %d", number, sender, next[sender])
	}
	next[sender]++
	return sender
}

// message reads frames until a message is whole. Control frames are passed over.
func (p *peer) message() (whole received, err error) {
	p.t.Helper()
	for !whole.Fin {
		got, err := p.read()
		switch {
		case err != nil:
			return whole, err
		case got.Opcode.Control():
			continue
		case (got.Opcode == frame.Continuation) != (whole.Opcode != 0):
			return whole, fmt.Errorf("%v inside a message of %v", got.Opcode, whole.Opcode)
		case got.Opcode != frame.Continuation:
			whole.Opcode, whole.Rsv = got.Opcode, got.Rsv
		}
		whole.Fin = got.Fin
		whole.payload += got.payload
	}
	return whole, nil
}

// OnOpen may send more than the socket takes, and may be read in the middle of
// what came with the handshake.
func TestMuchInOnOpen(t *testing.T) {
	t.Parallel()
	const messages = 40
	engines(t, func(t *testing.T, at setting) {
		at.wrap = narrow
		r := &recorder{}
		r.onOpen = func(id ws.ClientID) {
			for i := range messages {
				if err := r.endpoint.Send(parcel(0, i, 16<<10), id); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
		}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			body, err := readPieces(m, 100)
			r.endpoint.Send(fmt.Sprint(len(body), " bytes, ", err), id)
		}
		options := untimed
		options.MaxQueuedBytes, options.AutoFrameSize = 64<<10, 1000
		s := serve(t, at, r, options)
		p := s.connect(t)
		long := binary(filler(5000))
		p.write(join([]byte(p.handshake()), long[:2000]))
		p.expectSwitch()
		var next [1]int
		for range messages {
			p.expectParcel(next[:])
		}
		p.write(long[2000:])
		p.expect(frame.Text, "5000 bytes, <nil>")
		p.leave()
	})
}

// Hundreds of handlers that do not return, be it that they wait for more of their
// message, hold nobody up, even with one processor.
func TestManyBlockedHandlers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	engines(t, func(t *testing.T, at setting) {
		var blocked sync.WaitGroup
		released, release := context.WithCancel(context.Background())
		defer release()
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			if m.Binary() { // incomplete: this waits for the client
				blocked.Done()
			}
			body, _ := m.Text()
			if body == "block" {
				blocked.Done()
				<-released.Done()
			}
			r.endpoint.Send(fmt.Sprint(len(body)), id)
		}
		options := untimed
		options.AutoFrameSize = 100
		s := serve(t, at, r, options)
		long := binary(filler(300))
		peers := make([]*peer, 300)
		blocked.Add(len(peers))
		for i := range peers {
			peers[i] = s.dial(t)
			if i%4 == 0 {
				peers[i].write(long[:200])
			} else {
				peers[i].write(text("block"))
			}
		}
		blocked.Wait()
		other := s.dial(t)
		for range 100 {
			other.write(text("hello"))
			other.expect(frame.Text, "5")
		}
		s.Broadcast("for all")
		for _, p := range peers {
			p.expect(frame.Text, "for all")
		}
		release() // all at once: who is woken first is not for a test to say
		for i, p := range peers {
			if i%4 == 0 {
				p.write(long[200:])
				p.expect(frame.Text, "300")
			} else {
				p.expect(frame.Text, "5")
			}
		}
	})
}

// What a handler sent, to whomever, leaves within milliseconds though it does
// not return.
func TestNothingIsHeldBack(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		release := make(chan bool)
		var began atomic.Int64
		r := &recorder{onOpen: func(id ws.ClientID) {}}
		r.onOpen = func(id ws.ClientID) { r.endpoint.Subscribe(id, "topic") }
		send := map[string]func(ws.ClientID) error{
			"Send":      func(id ws.ClientID) error { return r.endpoint.Send("reply", id) },
			"Broadcast": func(id ws.ClientID) error { return r.endpoint.Broadcast("reply") },
			"Multicast": func(id ws.ClientID) error { return r.endpoint.Multicast("reply", id) },
			"Publish":   func(id ws.ClientID) error { return r.endpoint.Publish("topic", "reply") },
			"Writer": func(id ws.ClientID) error {
				w, err := r.endpoint.Writer(id, false)
				if err == nil {
					w.Write([]byte("reply"))
					err = w.Close()
				}
				return err
			},
		}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			how, _ := m.Text()
			began.Store(time.Now().UnixNano())
			if err := send[how](id); err != nil {
				t.Errorf("%s: %v", how, err)
			}
			<-release
		}
		p := serve(t, at, r, untimed).dial(t)
		for how := range send {
			best := patience
			for range 5 {
				p.write(text(how))
				p.expect(frame.Text, "reply")
				best = min(best, time.Duration(time.Now().UnixNano()-began.Load()))
				release <- true
			}
			if best > 50*time.Millisecond {
				t.Errorf("%s: a message left after %v at best", how, best)
			}
		}
		p.leave()
	})
}

// Clients whose pipes are never empty leave room for others, even with one processor.
func TestFullPipes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &echoApplication{}, untimed)
		for range 2 {
			defer s.dial(t).flood([]byte(strings.Repeat(string(pong("")), 50000)))()
		}
		p := s.dial(t)
		for range 3 {
			p.expectEcho("hello")
		}
		p.leave()
	})
}

// A handler that waits for a client that does not read, or for the rest of its
// message, is released when the client is gone, whoever ended it.
func TestHandlersAreReleased(t *testing.T) {
	waits := map[string]func(e *ws.Endpoint, id ws.ClientID, m *ws.Message) error{
		"Send": func(e *ws.Endpoint, id ws.ClientID, _ *ws.Message) (err error) {
			for err == nil {
				err = e.SendBinary(make([]byte, 32<<10), id)
			}
			return err
		},
		"Writer": func(e *ws.Endpoint, id ws.ClientID, _ *ws.Message) error {
			w, err := e.Writer(id, true)
			if err != nil {
				return err // the end came first
			}
			for err == nil {
				_, err = w.Write(make([]byte, 32<<10))
			}
			w.Close()
			return err
		},
		"Read": func(_ *ws.Endpoint, _ ws.ClientID, m *ws.Message) error {
			_, err := m.Bytes()
			return err
		},
	}
	ends := map[string]func(*peer){
		"a reset":        func(p *peer) { reset(p.nc) },
		"an end":         func(p *peer) { p.nc.Close() },
		"Endpoint.Close": func(p *peer) { p.server.Close(p.id(), ws.CodeNormal, "") },
		"broadcasts": func(p *peer) { // the first that finds too much waiting ends it
			p.clock() // as long as it is there
			for info, ok := p.server.Info(p.id()); ok && info.Closed.IsZero(); info, ok = p.server.Info(p.id()) {
				p.server.BroadcastBinary(make([]byte, 1<<20))
			}
			p.passUntilClosed(20)
		},
		"Gateway.Stop": func(p *peer) {
			defer p.flies()()
			p.server.stop(p.t)
		},
	}
	engines(t, func(t *testing.T, at setting) {
		at.wrap = narrow
		for wait, do := range waits {
			for end, happen := range ends {
				if wait == "Read" && end == "Endpoint.Close" {
					continue // it may still come
				}
				t.Run(wait+" and "+end, func(t *testing.T) {
					waiting, released := make(chan bool), make(chan error, 1)
					r := &recorder{}
					r.onData = func(id ws.ClientID, m *ws.Message) {
						close(waiting)
						released <- do(r.endpoint, id, m)
					}
					options := untimed
					options.MaxQueuedBytes, options.AutoFrameSize, options.ClosePeriod = 64<<10, 100, time.Second
					s := serve(t, at, r, options)
					p := s.dial(t)
					p.write(binary(filler(1000))[:500])
					<-waiting
					happen(p)
					select {
					case err := <-released:
						var closed *ws.CloseError
						if !errors.Is(err, ws.ErrClosed) && !errors.As(err, &closed) {
							t.Errorf("released with %v", err)
						}
					case <-time.After(patience):
						t.Fatal("the handler still waits")
					}
					p.nc.Close()
					p.awaitOnClose()
				})
			}
		}
	})
}
