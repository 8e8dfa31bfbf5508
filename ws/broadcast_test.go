package ws_test

import (
	"strings"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// A broadcast reaches those who inflate compressed, if that is worth it, those whose window
// is too small and those who do not inflate as it is (RFC 7692 §6, §7.1.2).
func TestBroadcastCompressed(t *testing.T) {
	t.Parallel()
	long, short, random := filler(5000), "short", make([]byte, 5000)
	for i := range random {
		random[i] = byte(i * i * i >> 7)
	}
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		send := func() {
			r.endpoint.Broadcast(long)
			r.endpoint.Broadcast(short)
			r.endpoint.BroadcastText([]byte(long))
			r.endpoint.BroadcastBinary(random)
		}
		r.onData = func(ws.ClientID, *ws.Message) { send() } // in a batch
		options := unlimited
		options.Compression = true
		s := serve(t, at, r, options)
		peers := map[string]*peer{
			"plain":           s.dial(t),
			"inflates":        s.dial(t, compressing),
			"inflates little": s.dial(t, compressing+"; server_max_window_bits=9"),
		}
		for _, p := range peers {
			p.id()
		}
		peers["plain"].write(text("now"))
		for range 2 {
			for name, p := range peers {
				p.expectCompressed(frame.Text, long, name == "inflates")
				p.expectCompressed(frame.Text, short, false)
				p.expectCompressed(frame.Text, long, name == "inflates")
				p.expectCompressed(frame.Binary, string(random), false)
			}
			send()
		}
	})
}

// expectCompressed reads a frame and inflates it, if it has to be compressed.
func (p *peer) expectCompressed(opcode frame.Opcode, payload string, compressed bool) {
	p.t.Helper()
	if !compressed {
		p.expect(opcode, payload)
		return
	}
	got, err := p.read()
	if err != nil || got.Opcode != opcode || got.Rsv != 4 || len(got.payload) >= len(payload) {
		p.t.Fatalf("%+v, %v instead of a compressed %v", got.Header, err, opcode)
	}
	if message := inflated(p.t, got.payload); message != payload {
		p.t.Fatalf("%s instead of %s", brief(opcode, message), brief(opcode, payload))
	}
}

// A message that is excepted for some is whole for the others, also in a batch.
func TestBroadcastExcept(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 200)
	for _, field := range []string{"X-Extension: none", compressing} {
		engines(t, func(t *testing.T, at setting) {
			var a, b *peer
			r := &recorder{}
			r.onData = func(ws.ClientID, *ws.Message) {
				r.endpoint.Broadcast("1")
				r.endpoint.Broadcast(long, a.visit.id)
				r.endpoint.Broadcast("3", b.visit.id)
				r.endpoint.Broadcast("4", a.visit.id, b.visit.id)
				r.endpoint.Broadcast("5", 1<<40)
			}
			options := unlimited
			options.Compression = true
			s := serve(t, at, r, options)
			a, b = s.dial(t, field), s.dial(t)
			a.id()
			b.id()
			b.write(text("now"))
			for _, want := range []string{"1", "3", "5"} {
				a.expect(frame.Text, want)
			}
			for _, want := range []string{"1", long, "5"} {
				b.expect(frame.Text, want)
			}
		})
	}
}
