package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// compressing asks for permessage-deflate.
const compressing = "Sec-WebSocket-Extensions: permessage-deflate"

// bomb returns compressed zeros of about size bytes, and how many they are inflated.
func bomb(size int) (compressed string, inflated int) {
	const zeros = 128 << 10
	part := newDeflateWriter(flate.BestCompression).message(strings.Repeat("\x00", zeros)) + "\x00\x00\xff\xff" // RFC 7692 §7.2.1
	n := size / len(part)
	return strings.Repeat(part, n-1) + part[:len(part)-4], n * zeros
}

// heapGrowth runs do and returns by how many bytes the heap grew meanwhile, at
// the highest, without its garbage, however busy the machine is.
func heapGrowth(do func()) int64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	before, peak := stats.HeapAlloc, stats.HeapAlloc
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := false; !end; {
			select {
			case <-tick.C:
			case <-done:
				end = true
			}
			runtime.GC()
			runtime.ReadMemStats(&stats)
			peak = max(peak, stats.HeapAlloc)
		}
	}()
	func() {
		defer close(done)
		do()
	}()
	<-watched
	return int64(peak - before)
}

// anyCode is a code that expectEnd does not check.
const anyCode ws.Code = 0

// expectEnd waits for OnClose, and checks its code and that its reason has this
// in it.
func (p *peer) expectEnd(code ws.Code, reason string) {
	p.t.Helper()
	for timeout := time.After(patience); ; {
		select {
		case call := <-p.visit.calls:
			if !strings.HasPrefix(call, "OnClose") {
				continue
			}
			if code != anyCode && !strings.HasPrefix(call, fmt.Sprintf("OnClose %d", code)) || !strings.Contains(call, reason) {
				p.t.Fatalf("%s, want code %d, reason %q", call, code, reason)
			}
			return
		case <-timeout:
			p.t.Fatal("OnClose was not called")
		}
	}
}

// expectFailure sees the server close with this code and a reason that has this
// in it, and leaves.
func (p *peer) expectFailure(code ws.Code, reason string) {
	p.t.Helper()
	if got := p.expectClose(code); !strings.Contains(got, reason) {
		p.t.Fatalf("closed with %q, want %q in it", got, reason)
	}
	p.expectEOF()
	p.nc.Close()
	p.expectEnd(code, reason)
}

// expectEcho uses a connection.
func (p *peer) expectEcho(message string) {
	p.t.Helper()
	p.write(text(message))
	p.expect(frame.Text, message)
}

// flood writes wire over and over until the connection is gone or stop is called.
func (p *peer) flood(wire []byte) (stop func()) {
	var group sync.WaitGroup
	group.Add(1)
	go func() {
		defer group.Done()
		for {
			if _, err := p.nc.Write(wire); err != nil {
				return
			}
		}
	}()
	return func() {
		p.nc.Close()
		group.Wait()
	}
}

// attackOptions are those that the attacks below are measured against.
var attackOptions = ws.Options{
	MaxFramesPerSecond: -1, MaxBytesPerMinute: -1,
	MaxMessageSize: 1 << 20, MaxFrameSize: 1 << 20, Compression: true, CompressionTakeover: true,
}

// What a client must not send ends that client, with a code and a reason that tell why,
// takes next to no memory and is not noticed by others.
func TestAttacks(t *testing.T) {
	const key = "\x37\xfa\x21\x3d"
	many := func(wire []byte, n int) []byte { return bytes.Repeat(wire, n) }
	for _, test := range []struct {
		name   string
		wire   []byte
		flood  []byte // follows without end
		code   ws.Code
		reason string
	}{
		{name: "the top bit of a length", wire: []byte("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01" + key), code: 1002, reason: "§5.2"},
		{name: "all bits of a length", wire: []byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" + key), code: 1002, reason: "§5.2"},
		{name: "the longest length", wire: []byte("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + key), code: 1009, reason: "Options.MaxFrameSize"},
		{name: "the longest length after a byte", wire: join(first(frame.Binary, "x"), []byte("\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff"+key)), code: 1009, reason: "Options.MaxFrameSize"},
		{name: "131,000 continuations of a byte", wire: join(first(frame.Binary, "x"), many(middle("x"), 131000)), code: 1008, reason: "Options.MaxFramesPerMessage"},
		{name: "endless empty continuations", wire: first(frame.Text, ""), flood: many(middle(""), 1000), code: 1008, reason: "Options.MaxFramesPerMessage"},
		{name: "endless continuations", wire: first(frame.Binary, "x"), flood: middle(strings.Repeat("x", 60000)), code: 1009, reason: "Options.MaxMessageSize"},
		{name: "a frame that does not end", wire: masked(frame.Header{Opcode: frame.Binary}, strings.Repeat("x", 1<<20)), flood: middle("x"), code: 1009, reason: "Options.MaxMessageSize"},
		{name: "messages without end after a failure", wire: []byte("\x83\x80" + key), flood: text("x"), code: 1002, reason: "§5.2"},
	} {
		engines(t, func(t *testing.T, at setting) {
			t.Run(test.name, func(t *testing.T) {
				s := serve(t, at, &recorder{}, attackOptions)
				witness := s.dial(t)
				grown := heapGrowth(func() {
					p := s.dial(t)
					p.write(test.wire)
					if test.flood != nil {
						defer p.flood(test.flood)()
					}
					p.expectFailure(test.code, test.reason)
				})
				if grown > 16<<20 {
					t.Errorf("the heap grew by %d bytes", grown)
				}
				witness.expectEcho("hello")
			})
		})
	}
}

// Compressed messages that would inflate to a GiB end at the limit, wherever they
// meet it, and take no memory beyond it (CVE-2026-39804).
func TestDecompressionBomb(t *testing.T) {
	large, inflated := bomb(6 << 20)
	if inflated < 1<<30 {
		t.Fatalf("the bomb inflates to %d bytes only", inflated)
	}
	small, _ := bomb(30 << 10)
	handlers := map[string]func(ws.ClientID, *ws.Message){
		"whole":     func(_ ws.ClientID, m *ws.Message) { m.Bytes() },
		"in pieces": func(_ ws.ClientID, m *ws.Message) { m.Read(make([]byte, 100)); m.Text() },
		"not read":  func(ws.ClientID, *ws.Message) {},
	}
	for _, test := range []struct {
		name string
		wire []byte
		read string
	}{
		{"in a frame", masked(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Binary}, large), "whole"},
		{"in pieces", masked(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Binary}, large), "in pieces"},
		{"not read", masked(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Binary}, large), "not read"},
		{"of one read", masked(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text}, small), "whole"},
		{"in fragments", join(masked(frame.Header{Rsv: 4, Opcode: frame.Binary}, large[:70000]), middle(large[70000:1<<20]), last(large[1<<20:])), "whole"},
	} {
		t.Run(test.name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				options := attackOptions
				options.MaxMessageSize, options.MaxFrameSize = 8<<20, 8<<20
				s := serve(t, at, &recorder{onData: handlers[test.read]}, options)
				p := s.dial(t, compressing)
				grown := heapGrowth(func() {
					p.write(test.wire)
					p.expectFailure(1009, "Options.MaxMessageSize")
				})
				if grown > 64<<20 {
					t.Errorf("the heap grew by %d MiB", grown>>20)
				}
			})
		})
	}
}

// A pong that nobody asked for means nothing (RFC 6455 §5.5.3).
func TestUnaskedPongs(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		p := serve(t, at, &recorder{}, unlimited).dial(t)
		for _, payload := range []string{"", "hello", "12345678", "\xff\xff\xff\xff\xff\xff\xff\xff", strings.Repeat("x", 125)} {
			p.write(join(pong(payload), first(frame.Text, "he"), pong(payload), last("llo")))
			p.expect(frame.Text, "hello")
		}
		p.leave()
	})
}

// What comes in the same packet as the handshake is not lost.
func TestEarlyFrames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long", 50000)
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		for _, test := range []struct {
			name        string
			early, rest []byte
			want        []string
		}{
			{"a message", text("a"), nil, []string{"a"}},
			{"some messages", join(text("a"), text(""), text("b")), nil, []string{"a", "", "b"}},
			{"a message begun", text("hello")[:3], text("hello")[3:], []string{"hello"}},
			{"a fragment", first(frame.Text, "he"), last("llo"), []string{"hello"}},
			{"a long message", text(long), text("a"), []string{long, "a"}},
		} {
			t.Run(test.name, func(t *testing.T) {
				p := s.connect(t)
				p.write(append([]byte(p.handshake()), test.early...))
				p.expectSwitch()
				p.write(test.rest)
				for _, message := range test.want {
					p.expect(frame.Text, message)
				}
				p.leave()
			})
		}
		t.Run("a close frame", func(t *testing.T) {
			p := s.connect(t)
			p.write(append([]byte(p.handshake()), closing(4000, "no")...))
			p.expectSwitch()
			p.expectClose(4000)
			p.expectEOF()
			p.nc.Close()
			p.expectCalls("OnOpen", "OnClose 4000 no")
		})
		t.Run("nonsense", func(t *testing.T) {
			p := s.connect(t)
			p.write([]byte(p.handshake() + "GET / HTTP/1.1\r\n\r\n"))
			p.expectSwitch()
			p.expectFailure(1002, "RFC 6455")
		})
	})
}

// A client that is lost is 1006 (RFC 6455 §7.1.5), wherever in a frame it is.
func TestLostClients(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		witness := s.dial(t)
		long := binary(strings.Repeat("x", 100000))
		for name, wire := range map[string][]byte{
			"before a frame": nil, "in a header": text("hello")[:1], "in a key": text("hello")[:4], "in a payload": text("hello")[:9],
			"in a long payload": long[:90000], "between fragments": first(frame.Text, "he"), "in a ping": ping("hello")[:8],
		} {
			for _, end := range []string{"FIN", "RST"} {
				t.Run(end+" "+name, func(t *testing.T) {
					p := s.dial(t)
					p.write(wire)
					p.awaitRead()
					if end == "RST" {
						reset(p.nc)
					}
					p.nc.Close()
					p.expectEnd(1006, "connection lost")
					witness.expectEcho("hello")
				})
			}
		}
	})
}

// Whatever bytes come, the client is gone and nobody else notices.
func TestRandomBytes(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, attackOptions)
		witness := s.dial(t)
		for seed := range uint64(100) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				wire := make([]byte, random.IntN(4000))
				for i := range wire {
					wire[i] = byte(random.Uint32())
				}
				if len(wire) > 1 { // get past the first two bytes more often than not
					wire[0], wire[1] = wire[0]&0x8f, wire[1]|0x80
				}
				p := s.dial(t, compressing)
				p.write(wire)
				p.endSending()
				for _, err := p.read(); err == nil; {
					_, err = p.read()
				}
				p.nc.Close()
				p.expectEnd(anyCode, "")
			})
		}
		witness.expectEcho("hello")
	})
}
