package ws_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// What is easily done wrong where a socket's edges are waited for and its
// descriptor is used without package net. Each test fails, or does not end,
// when the engine forgets the rule that it is named for.

// segment sends bytes and whatever end does in one TCP segment, which the server
// sees as one edge.
func (p *peer) segment(wire []byte, end func(*net.TCPConn) error) {
	p.t.Helper()
	c := p.nc.(*net.TCPConn)
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) })
		p.write(wire)
		err = end(c)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// The end of a stream is seen however it comes: behind data in the same segment,
// in the middle of a frame, while the handler is busy or reads a message.
func TestEndOfStream(t *testing.T) {
	t.Parallel()
	ends := []struct {
		name string
		end  func(*net.TCPConn) error
	}{
		{"half-closed", (*net.TCPConn).CloseWrite},
		{"closed", (*net.TCPConn).Close},
		{"reset", func(c *net.TCPConn) error { return reset(c) }},
	}
	rows := []struct {
		name  string
		first []byte // read by the server before the rest is sent
		rest  []byte // sent with the end
		block bool   // the handler does not return before that
	}{
		{name: "idle"},
		{name: "behind a message", rest: text("hello")},
		{name: "in a header", rest: text("hello")[:3]},
		{name: "in a frame", first: text("hello")[:8], rest: text("hello")[8:10]},
		{name: "behind the last byte of a frame", first: text("hello")[:8], rest: text("hello")[8:]},
		{name: "while the handler blocks", first: text("block"), block: true},
		{name: "behind data while the handler blocks", first: text("block"), rest: join(text("a"), text("b")), block: true},
		{name: "in a message that is being read", first: binary(filler(3000))[:2000]},
		{name: "behind some of a message that is being read", first: binary(filler(3000))[:2000], rest: binary(filler(3000))[2000:2500]},
		{name: "behind a message that is being read", first: binary(filler(3000))[:2000], rest: binary(filler(3000))[2000:]},
		{name: "behind two messages of which one is being read", first: binary(filler(3000))[:2000], rest: join(binary(filler(3000))[2000:], text("a"))},
	}
	sockets(t, func(t *testing.T, at setting) {
		blocked, release := make(chan bool), make(chan bool)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			if s, _ := m.Text(); s == "block" {
				blocked <- true
				<-release
			}
		}
		options := untimed
		options.AutoFrameSize = 1000
		s := serve(t, at, r, options)
		for _, row := range rows {
			for _, end := range ends {
				t.Run(row.name+"/"+end.name, func(t *testing.T) {
					p := s.dial(t)
					p.write(row.first)
					if row.block {
						<-blocked
					} else {
						p.awaitRead()
					}
					p.segment(row.rest, end.end)
					if row.block {
						release <- true
					}
					if end.name == "half-closed" {
						p.expectEOF()
					}
					p.awaitOnClose()
				})
			}
		}
	})
}

// What came before a connection is waited for needs no edge of its own.
func TestBytesBeforeTheWait(t *testing.T) {
	t.Parallel()
	sockets(t, func(t *testing.T, at setting) {
		open := make(chan bool)
		r := &recorder{onOpen: func(ws.ClientID) { <-open }}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			<-open
			body, _ := m.Text()
			r.endpoint.Send(body, id)
		}
		s := serve(t, at, r, untimed)
		p := s.dial(t)
		for i := range 20 { // the first comes during OnOpen, the others during OnData
			message := fmt.Sprint("message ", i)
			p.write(text(message))
			open <- true
			if i > 0 {
				p.expect(frame.Text, fmt.Sprint("message ", i-1))
			}
		}
		open <- true
		p.expect(frame.Text, "message 19")
		p.leave()
	})
}

// A client that the server gives up while its handler runs keeps its descriptor
// until the handler returns: those who come meanwhile are not confused with it.
func TestOneOwnerCloses(t *testing.T) {
	sockets(t, func(t *testing.T, at setting) {
		blocked, release := make(chan bool), make(chan bool)
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			body, _ := m.Text()
			if body == "block" {
				blocked <- true
				<-release
			}
			r.endpoint.Send(body, id)
		}
		options := untimed
		options.MaxQueuedBytes = 1
		s := serve(t, at, r, options)
		p := s.dial(t)
		p.write(text("block"))
		<-blocked
		for _, ok := s.closed(p.id()); ok; _, ok = s.closed(p.id()) {
			s.MulticastBinary(make([]byte, 1<<20), p.id())
		}
		var others []*peer
		for range 8 {
			others = append(others, s.dial(t))
		}
		p.write(text("more"))
		release <- true
		p.passUntilClosed(10)
		p.expectEnd(ws.CodePolicyViolation, "Options.MaxQueuedBytes")
		for _, p := range others {
			p.expectEcho("hello")
			p.leave()
		}
	})
}

// closed reports whether a client is being closed, or gone.
func (s *server) closed(id ws.ClientID) (info ws.Info, open bool) {
	info, ok := s.Info(id)
	return info, ok && info.Closed.IsZero()
}

// Descriptors are used again at once, and places in the table soon; ids are not.
func TestIdsAreNotUsedAgain(t *testing.T) {
	t.Parallel()
	sockets(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, untimed)
		places := make(map[uint32]ws.ClientID)
		p := s.dial(t)
		for places[uint32(p.id())] == 0 {
			places[uint32(p.id())] = p.id()
			p.leave()
			p = s.dial(t)
		}
		old := places[uint32(p.id())]
		if p.id() == old {
			t.Fatalf("id %#x was used before", old)
		}
		if err := s.Send("for another", old); err != ws.ErrClosed {
			t.Errorf("Send to a client that is gone: %v", err)
		}
		if err := s.Close(old, ws.CodeNormal, ""); err != ws.ErrClosed {
			t.Errorf("Close of a client that is gone: %v", err)
		}
		if _, ok := s.Info(old); ok {
			t.Error("Info of a client that is gone")
		}
		s.Multicast("for another", old)
		p.expectEcho("hello")
		p.leave()
	})
}

// No edge is missed: many sockets, bursts of any size at any time, comings and goings.
func TestBursts(t *testing.T) {
	t.Parallel()
	const clients, rounds, hands = 200, 25, 4
	sockets(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, untimed)
		var group sync.WaitGroup
		for hand := range uint64(hands) {
			seed := uint64(time.Now().UnixNano())
			group.Add(1)
			go func() {
				defer group.Done()
				random := rand.New(rand.NewPCG(seed, hand))
				peers := make([]*peer, clients/hands)
				for round := range rounds {
					if !burst(s, t, peers, random) {
						t.Errorf("in round %d, seed %d, %d", round, seed, hand)
						return
					}
				}
			}()
		}
		group.Wait()
	})
}

// Nor is one missed that comes when nobody waits for it and nothing follows it.
func TestLastEdge(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4)) // some processor always waits for events
	sockets(t, func(t *testing.T, at setting) {
		p := serve(t, at, &echoApplication{}, untimed).dial(t)
		for i := range 2000 {
			for range 1 + i%4 {
				p.write(text("x"))
			}
			for range 1 + i%4 {
				p.expect(frame.Text, "x")
			}
		}
		p.leave()
	})
}

// burst has some of the peers send bursts of messages, then reads what all are owed.
func burst(s *server, t *testing.T, peers []*peer, random *rand.Rand) bool {
	owed := make([]int, len(peers))
	for range random.IntN(len(peers)) {
		i := random.IntN(len(peers))
		if peers[i] == nil {
			peers[i] = s.dial(t)
		}
		for n := 1 << random.IntN(5); n > 0; n-- {
			peers[i].write(text("burst"))
			owed[i]++
		}
	}
	for i, p := range peers {
		for range owed[i] {
			if got, err := p.read(); err != nil || got.payload != "burst" {
				t.Errorf("%v %q instead of an echo", err, got.payload)
				return false
			}
		}
		if p != nil && random.IntN(20) == 0 {
			p.nc.Close()
			peers[i] = nil
		}
	}
	return true
}

// A system call that waited would hold a processor: clients that do not read,
// and there may be more of them than processors, keep nobody from being served.
func TestSystemCallsDoNotWait(t *testing.T) {
	t.Parallel()
	sockets(t, func(t *testing.T, at setting) {
		at.wrap = sendBuffers(4096)
		options := untimed
		options.MaxQueuedBytes = -1
		s := serve(t, at, &recorder{}, options)
		for range 4 * runtime.GOMAXPROCS(0) {
			p := s.dial(t)
			s.SendBinary(make([]byte, 8<<20), p.id())
		}
		p := s.dial(t)
		for range 100 {
			p.expectEcho("hello")
		}
		p.leave()
	})
}
