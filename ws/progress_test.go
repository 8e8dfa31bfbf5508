package ws_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// A client that makes progress is never closed, however slow it is and whatever
// waits for it: over every transport, with limits that are low.

// links are the ways in which what is sent may wait.
var links = append(waitings[:len(waitings):len(waitings)],
	setting{name: "TLS", engine: ws.EngineAuto, network: "tcp", tls: true},
	setting{name: "opaque TLS", engine: ws.EngineAuto, network: "tcp", tls: true, opaque: true},
	setting{name: "TLS under aerys.Server", engine: ws.EngineAuto, network: "tcp", tls: true, host: true},
	setting{name: "epoll on a Unix socket", engine: ws.EngineEpoll, network: "unix"},
)

// overLinks runs a test over each of them.
func overLinks(t *testing.T, test func(*testing.T, setting)) {
	for _, at := range links {
		t.Run(at.name, func(t *testing.T) { test(t, at) })
	}
}

// paced reads step by step, with a pause before each.
type paced struct {
	net.Conn
	pause func()
	left  int // of this step
}

const step = 64 << 10

func (p *paced) Read(b []byte) (int, error) {
	if p.left == 0 {
		p.pause()
		p.left = step
	}
	n, err := p.Conn.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

// slowly makes a peer read slowly from now on, a step each second, with a socket
// that has no room for much more.
func (p *peer) slowly() {
	p.t.Helper()
	p.nc.SetDeadline(time.Now().Add(3 * patience)) // a busy machine is slower yet
	nc := p.nc
	if c, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = c.NetConn()
	}
	if err := nc.(interface{ SetReadBuffer(int) error }).SetReadBuffer(step); err != nil {
		p.t.Fatal(err)
	}
	p.clock() // as long as it is there
	p.reader.Reset(&paced{Conn: p.nc, pause: func() { p.pass(1) }})
}

// answering reads a frame, and answers the pings before it.
func (p *peer) answering() (got received, err error) {
	p.t.Helper()
	for got, err = p.read(); err == nil && got.Opcode == frame.Ping; got, err = p.read() {
		p.write(pong(got.payload))
	}
	return got, err
}

// low are limits that whoever is slow would exceed.
var low = ws.Options{
	HeartbeatPeriod: time.Second, QueuedPingLimit: 3, WriteTimeout: 4 * time.Second, ClosePeriod: 3 * time.Second,
	MaxFramesPerSecond: -1, MaxBytesPerMinute: -1, MaxMessageSize: -1, MaxFrameSize: -1,
}

// A ping behind a message larger than MaxQueuedBytes, to be sent back: the whole of
// it comes, then the pong, though the client begins to read when all has been sent.
func TestPingBehindLargeMessage(t *testing.T) {
	wires := map[string][]byte{}
	for _, size := range []int{1200 << 10, 8 << 20} {
		wires[filler(size)] = join(binary(filler(size)), ping("ping"))
	}
	overLinks(t, func(t *testing.T, at setting) {
		for message, wire := range wires {
			options := unlimited
			options.MaxMessageSize, options.MaxFrameSize = -1, -1
			p := serve(t, at, &recorder{}, options).dial(t)
			p.write(wire)
			p.awaitRead()
			p.expect(frame.Binary, message)
			p.expect(frame.Pong, "ping")
			p.leave()
		}
	})
}

// A broadcast behind a large one, behind a large message or behind several large
// ones closes nobody who reads.
func TestBroadcastBehindLargeOne(t *testing.T) {
	clients := 8
	if ws.Raced() {
		clients = 3
	}
	large := make([]byte, 8<<20)
	for _, at := range []setting{links[0], links[1], links[3]} {
		s := serve(t, at, &recorder{}, ws.Options{})
		peers := make([]*peer, clients)
		for i := range peers {
			peers[i] = s.dial(t)
			s.Subscribe(peers[i].id(), "topic")
		}
		for _, test := range []struct {
			name string
			send func()
			want []int // the sizes of the messages
		}{
			{"a small one behind 2 MiB", func() {
				s.BroadcastBinary(large[:2<<20])
				s.Broadcast("tick")
			}, []int{2 << 20, 4}},
			{"a small one behind 8 MiB", func() {
				s.BroadcastBinary(large)
				s.Broadcast("tick")
			}, []int{8 << 20, 4}},
			{"a small one behind a message", func() {
				for _, p := range peers {
					s.SendBinary(large[:3<<20], p.id())
				}
				s.Broadcast("tick")
			}, []int{3 << 20, 4}},
			{"several large ones", func() {
				for range 4 {
					s.PublishBinary("topic", large[:3<<20])
				}
			}, []int{3 << 20, 3 << 20, 3 << 20, 3 << 20}},
			{"many small ones", func() {
				for range 5000 {
					s.BroadcastBinary(large[:300])
				}
			}, slices.Repeat([]int{300}, 5000)},
		} {
			t.Run(at.name+"/"+test.name, func(t *testing.T) {
				var group sync.WaitGroup
				for _, p := range peers {
					p.nc.SetDeadline(time.Now().Add(patience))
					group.Add(1)
					go func() {
						defer group.Done()
						for n, size := range test.want {
							if got, err := p.answering(); err != nil || len(got.payload) != size {
								t.Errorf("message %d: %s, %v", n, brief(got.Opcode, got.payload), err)
								return
							}
						}
					}()
				}
				test.send()
				group.Wait()
			})
		}
		if state := s.state(); state.Slow > 0 || state.Active != clients {
			t.Errorf("%s: %d clients are left, %d were slow", at.name, state.Active, state.Slow)
		}
		for _, p := range peers {
			p.nc.Close()
		}
	}
}

// A client that reads slowly gets two large messages, which takes longer than all
// that bounds its time. It sends nothing until then.
func testSlowReader(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, low)
	p := s.dial(t)
	id := p.id()
	p.slowly()
	sent := make(chan error, 1)
	go func() {
		for range 2 {
			if err := s.SendBinary(make([]byte, 4<<20), id); err != nil {
				sent <- err
				return
			}
		}
		sent <- s.Send("behind", id)
	}()
	for _, want := range []int{4 << 20, 4 << 20, len("behind")} {
		got, err := p.answering()
		if err != nil || len(got.payload) != want {
			p.nc.Close()
			p.expectCalls("OnOpen", fmt.Sprintf("%s, %v instead of %d bytes", brief(got.Opcode, got.payload), err, want))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// What was sent before Close or Stop arrives, and so does the close frame: their
// clocks begin when all has left.
func closeBehindLargeMessage(end func(*server, *peer), code ws.Code, reason string) func(*testing.T, setting) {
	return func(t *testing.T, at setting) {
		at.wrap = sendBuffers(128 << 10)
		s := serve(t, at, &recorder{}, low)
		p := s.dial(t)
		p.slowly()
		if err := s.SendBinary(make([]byte, 5<<20), p.id()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			end(s, p)
		}()
		if got, err := p.answering(); err != nil || len(got.payload) != 5<<20 {
			t.Fatalf("%s, %v", brief(got.Opcode, got.payload), err)
		}
		if got, err := p.answering(); err != nil || got.Opcode != frame.Close || got.payload[2:] != reason {
			t.Fatalf("%s, %v", brief(got.Opcode, got.payload), err)
		}
		p.write(closing(code, ""))
		p.expectEOF()
		p.passUntilClosed(10)
		p.expectEnd(code, reason)
		<-ended
	}
}

// If the client does not read, OnClose does not say that it was closed as it should.
func closeInVain(end func(*server, *peer)) func(*testing.T, setting) {
	return func(t *testing.T, at setting) {
		options := low
		options.HeartbeatPeriod = -1
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		if err := s.SendBinary(make([]byte, 16<<20), p.id()); err != nil {
			t.Fatal(err)
		}
		p.clock() // as long as it is there
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			end(s, p)
		}()
		p.passUntilClosed(20)
		p.expectEnd(1006, "before all was sent")
		<-ended
	}
}

// Nor if all that it does not read has left, but no further than to the kernel.
func testCloseInKernel(t *testing.T, at setting) {
	options := low
	options.HeartbeatPeriod = -1
	s := serve(t, at, &recorder{}, options)
	p := s.dial(t)
	id := p.id()
	for range 20 { // in the kernel's queue there is room for more
		if err := s.SendBinary(make([]byte, 32<<10), id); err != nil {
			t.Fatal(err)
		}
	}
	p.clock()
	s.Close(id, ws.CodeNormal, "bye")
	p.passUntilClosed(20)
	p.expectEnd(1006, "before all was sent")
}

// Who sends behind a Writer waits as long as something of that leaves.
func testSendBehindWriter(t *testing.T, at setting) {
	options := low
	options.AutoFrameSize, options.HeartbeatPeriod = 1, -1
	s := serve(t, at, &recorder{}, options)
	p := s.dial(t)
	w, err := s.Writer(p.id(), true)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() { sent <- s.Send("behind", p.id()) }()
	for range 20 { // far longer than WriteTimeout
		p.pass(3)
		w.Write([]byte("ab"))
	}
	w.Close()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	for want := range 2 {
		if got, err := p.message(); err != nil || len(got.payload) != []int{40, len("behind")}[want] {
			t.Fatalf("%s, %v", brief(got.Opcode, got.payload), err)
		}
	}
}

func closeNormally(s *server, p *peer) { s.Close(p.id(), ws.CodeNormal, "bye") }

func stop(s *server, _ *peer) { s.gateway.Stop(context.Background()) }

func stopAtOnce(s *server, _ *peer) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.gateway.Stop(ctx)
}

func TestProgress(t *testing.T) {
	for name, test := range map[string]func(*testing.T, setting){
		"Send behind a Writer":         testSendBehindWriter,
		"a slow reader":                testSlowReader,
		"Close behind a large message": closeBehindLargeMessage(closeNormally, 1000, "bye"),
		"Stop behind a large message":  closeBehindLargeMessage(stop, 1001, "server stops"),
		"Close in vain":                closeInVain(closeNormally),
		"Close in vain, in the kernel": testCloseInKernel,
		"Close, and the client goes":   closeInVain(func(s *server, p *peer) { closeNormally(s, p); p.nc.Close() }),
		"Stop in vain":                 closeInVain(stop),
		"Stop that has no time":        closeInVain(stopAtOnce),
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range []setting{links[0], links[1], links[3], links[5]} {
				t.Run(at.name, func(t *testing.T) { test(t, at) })
			}
		})
	}
}

// Clients that are closed for not reading are logged once a second at most,
// with their number, whatever carries them.
func TestSlowClientsAreLogged(t *testing.T) {
	const clients = 8
	var log buffer
	options := low
	options.MaxQueuedBytes, options.HeartbeatPeriod = 64<<10, -1
	options.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := serve(t, links[0], &recorder{}, options)
	peers := make([]*peer, clients)
	for i := range peers {
		peers[i] = s.dial(t)
		peers[i].id()
	}
	peers[0].clock()
	for range 50 {
		s.BroadcastBinary(make([]byte, 256<<10))
	}
	peers[0].passUntilClosed(20)
	for _, p := range peers {
		p.expectEnd(1008, "Options.MaxQueuedBytes")
	}
	sum, lines := 0, strings.Split(strings.TrimSpace(log.await(t, "clients")), "\n")
	for deadline := time.Now().Add(patience); sum < clients && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		sum = 0
		lines = strings.Split(strings.TrimSpace(log.String()), "\n")
		for _, line := range lines {
			var n int
			_, count, _ := strings.Cut(line, " clients=")
			fmt.Sscan(count, &n)
			sum += n
			if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "Options.MaxQueuedBytes") {
				t.Fatalf("logged: %s", line)
			}
		}
	}
	if sum != clients || len(lines) > 5 {
		t.Errorf("%d clients in %d lines", sum, len(lines))
	}
}

// buffer is a log that can be looked at while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// await waits until it has this in it.
func (b *buffer) await(t *testing.T, what string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(b.String(), what); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("logged %q, not %q", b.String(), what)
		}
	}
	return b.String()
}

// A client that takes next to nothing of what is broadcast fast is closed, and
// memory has a bound until then.
func TestBroadcastsFasterThanClients(t *testing.T) {
	for _, at := range []setting{links[0], links[1], links[3]} {
		t.Run(at.name, func(t *testing.T) {
			s := serve(t, at, &recorder{}, ws.Options{HeartbeatPeriod: -1, ClosePeriod: time.Second})
			peers := make([]*peer, 10)
			for i := range peers {
				peers[i] = s.dial(t)
				peers[i].clock() // as long as it is there
				go io.Copy(io.Discard, &paced{Conn: peers[i].nc, pause: func() { time.Sleep(50 * time.Millisecond) }})
			}
			message := make([]byte, 256<<10)
			grown := heapGrowth(func() {
				for deadline := time.Now().Add(patience); s.state().Slow < uint64(len(peers)) && time.Now().Before(deadline); {
					s.BroadcastBinary(message)
				}
			})
			for _, p := range peers {
				p.passUntilClosed(20)
				p.expectEnd(1008, "Options.MaxQueuedBytes")
			}
			if grown > 128<<20 {
				t.Errorf("the heap grew by %d bytes", grown)
			}
		})
	}
}
