package ws

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"aerys/ws/frame"
)

// tap is a connection whose socket takes what a test lets it take.
type tap struct {
	pipe
	room   int    // bytes that the socket takes
	ending string // what OnClose was told
}

func (p *tap) TryWrite(b []byte) (int, error) {
	n := min(len(b), p.room)
	p.room -= n
	p.written = append(p.written, b[:n]...)
	return n, nil
}

func (p *tap) TryWriteParts(header, payload []byte) (int, error) {
	return p.TryWrite(append(header[:len(header):len(header)], payload...))
}

// takes lets the socket take n bytes more.
func (p *tap) takes(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room += n
	p.flushNow()
}

// openTap makes a client of an endpoint with these options. No time passes for
// it but with seconds.
func openTap(options Options) (*Endpoint, *tap) {
	p := new(tap)
	e := newEndpoint(&functions{onClose: func(_ ClientID, code Code, reason string) { p.ending = fmt.Sprint(int(code), " ", reason) }}, options)
	p.room = 1 << 20
	openPipe(e, &p.pipe, 0)
	p.transport, p.room = p, 0
	return e, p
}

// frames returns what was sent, as "opcode payload", long ones without their end.
func (p *tap) frames(t *testing.T) (all []string) {
	t.Helper()
	for rest := p.written; len(rest) > 0; {
		h, n, err := frame.ParseHeader(rest)
		if err != nil || n == 0 || len(rest) < n+int(h.Length) {
			t.Fatalf("behind %q: half a frame, % x", all, rest[:min(20, len(rest))])
		}
		payload := rest[n : n+int(h.Length)]
		all = append(all, fmt.Sprintf("%v %s", h.Opcode, payload[:min(len(payload), 10)]))
		rest = rest[n+int(h.Length):]
	}
	return all
}

// A ping overtakes what waits behind the frame on its way, wherever the socket
// stopped, and of a client's pings only the latest is answered then (RFC 6455 §5.4,
// §5.5.3).
func TestControlFramesOvertake(t *testing.T) {
	long := func(n int, size int) []byte { return append([]byte(fmt.Sprintf("%09d ", n)), make([]byte, size)...) }
	for _, test := range []struct {
		name string
		send func(*Endpoint, ClientID)
	}{
		{"large messages", func(e *Endpoint, id ClientID) {
			for n := range 4 {
				e.SendBinary(long(n, 600<<10), id)
			}
		}},
		{"small messages", func(e *Endpoint, id ClientID) {
			for n := range 3000 {
				e.SendBinary(long(n, 390), id)
			}
		}},
		{"large broadcasts", func(e *Endpoint, _ ClientID) {
			for n := range 4 {
				e.BroadcastBinary(long(n, 600<<10))
			}
		}},
		{"small broadcasts", func(e *Endpoint, _ ClientID) {
			for n := range 3000 {
				e.BroadcastBinary(long(n, 390))
			}
		}},
		{"fragments", func(e *Endpoint, id ClientID) {
			w, _ := e.Writer(id, true)
			for n := range 1200 {
				w.Write(long(n, 990))
			}
			w.Close()
		}},
	} {
		for _, taken := range []int{0, 1, 9, 10, 11, 80_000} {
			t.Run(fmt.Sprint(test.name, " of which ", taken, " bytes are taken"), func(t *testing.T) {
				e, p := openTap(Options{MaxQueuedBytes: -1, MaxQueuedMessages: -1, AutoFrameSize: 1000, HeartbeatPeriod: -1})
				test.send(e, p.id)
				awaitDelivery(t, e)
				p.takes(taken)
				sent := 0
				for rest := p.written; len(rest) > 0; sent++ { // frames of which the beginning is sent
					h, n, _ := frame.ParseHeader(append(rest[:len(rest):len(rest)], make([]byte, 14)...))
					rest = rest[min(len(rest), n+int(h.Length)):]
				}
				for _, payload := range []string{"first", "second", "latest"} {
					p.pong([]byte(payload))
				}
				p.mu.Lock()
				p.sendControl(frame.Ping, []byte("ping"))
				p.mu.Unlock()
				p.takes(1 << 30)
				all := p.frames(t)
				var pings, pongs []int
				data := 0
				for i, f := range all {
					switch {
					case f == frame.Ping.String()+" ping":
						pings = append(pings, i)
					case f == frame.Pong.String()+" latest":
						pongs = append(pongs, i)
					case f != fmt.Sprintf("%v %09d ", frame.Binary, data) && f != fmt.Sprintf("%v %09d ", frame.Continuation, data):
						t.Fatalf("frame %d is %s, data frame %d", i, f, data)
					default:
						data++
					}
				}
				if len(pings) != 1 || len(pongs) != 1 || pings[0] > sent+1 || pongs[0] > sent+2 {
					t.Errorf("behind %d frames: pings at %d, pongs at %d", sent, pings, pongs)
				}
				if info, _ := e.Info(p.id); info.FramesSent != uint64(len(all)) || info.BytesSent != uint64(len(p.written)) {
					t.Errorf("counted %d frames of %d, %d bytes of %d", info.FramesSent, len(all), info.BytesSent, len(p.written))
				}
			})
		}
	}
}

// Whatever is sent in whatever way, and taken in whatever pieces, the client gets
// whole frames, the data in order.
func TestOutboxAtRandom(t *testing.T) {
	seeds := uint64(300)
	if Raced() {
		seeds = 100
	}
	for seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 7))
		e, p := openTap(Options{MaxQueuedBytes: -1, MaxQueuedMessages: -1, HeartbeatPeriod: -1})
		payload := make([]byte, 200<<10)
		want := 0
		for range 40 {
			size := []int{10, 100, 600, 20 << 10, 150 << 10}[random.IntN(5)]
			copy(payload, fmt.Sprintf("%09d ", want))
			switch random.IntN(6) {
			case 0:
				e.SendBinary(payload[:size], p.id)
				want++
			case 1:
				e.Send(string(payload[:size]), p.id)
				want++
			case 2:
				e.BroadcastBinary(payload[:size])
				awaitDelivery(t, e)
				want++
			case 3:
				p.pong(payload[:random.IntN(126)])
			case 4:
				p.mu.Lock()
				p.sendControl(frame.Ping, nil)
				p.mu.Unlock()
			case 5:
				p.takes(random.IntN(60 << 10))
			}
		}
		p.takes(1 << 30)
		data := 0
		for _, f := range p.frames(t) {
			if opcode, number, _ := bytes.Cut([]byte(f), []byte(" ")); string(opcode) == frame.Binary.String() || string(opcode) == frame.Text.String() {
				if string(number) != fmt.Sprintf("%09d ", data) {
					t.Fatalf("seed %d: message %d is %q", seed, data, f)
				}
				data++
			}
		}
		if data != want || p.out != nil {
			t.Errorf("seed %d: %d messages of %d came", seed, data, want)
		}
		p.end()
	}
}

// What many slow clients wait for is in memory once, be it broadcast in small
// messages or large ones, to all or to all but some.
func TestBroadcastsAreShared(t *testing.T) {
	for name, send := range map[string]func(*Endpoint, ClientID){
		"small":      func(e *Endpoint, _ ClientID) { e.BroadcastBinary(make([]byte, 50)) },
		"with a gap": func(e *Endpoint, except ClientID) { e.BroadcastBinary(make([]byte, 50), except) },
		"large":      func(e *Endpoint, _ ClientID) { e.BroadcastBinary(make([]byte, 5000)) },
	} {
		t.Run(name, func(t *testing.T) {
			e, p := openTap(Options{HeartbeatPeriod: -1, MaxQueuedBytes: -1})
			for range 3000 {
				send(e, p.id+100)
			}
			awaitDelivery(t, e)
			own := 0
			for _, s := range p.out.segments {
				if s.own {
					own += cap(s.bytes)
				}
			}
			// A delivery that is quick begins many pieces: none is for a few little frames.
			if most := min(3000, p.out.size/512); own > 2*bufferSize || len(p.out.segments) > most {
				t.Errorf("%d bytes wait, %d of them for nobody else, in %d pieces", p.out.size, own, len(p.out.segments))
			}
			p.end()
		})
	}
}
