package frame_test

import (
	"testing"

	"aerys/ws/frame"
)

var (
	fromClient           = frame.State{FromClient: true}
	fromServer           = frame.State{}
	insideMessage        = frame.State{FromClient: true, Fragmented: true}
	compressed           = frame.State{FromClient: true, Compression: true}
	insideMessageDeflate = frame.State{FromClient: true, Fragmented: true, Compression: true}
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		header  frame.Header
		state   frame.State
		section string // of the rule that is broken, "" for none
	}{
		{"text", frame.Header{Fin: true, Opcode: frame.Text, Masked: true}, fromClient, ""},
		{"binary", frame.Header{Fin: true, Opcode: frame.Binary, Masked: true}, fromClient, ""},
		{"the largest", frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: 1<<63 - 1}, fromClient, ""},
		{"text from a server", frame.Header{Fin: true, Opcode: frame.Text}, fromServer, ""},

		{"unmasked from a client", frame.Header{Fin: true, Opcode: frame.Text, Length: 1}, fromClient, "RFC 6455 §5.1"},
		{"unmasked and empty from a client", frame.Header{Fin: true, Opcode: frame.Ping}, fromClient, "RFC 6455 §5.1"},
		{"masked from a server", frame.Header{Fin: true, Opcode: frame.Text, Masked: true}, fromServer, "RFC 6455 §5.1"},

		{"opcode 3", frame.Header{Fin: true, Opcode: 3, Masked: true}, fromClient, "RFC 6455 §5.2"},
		{"opcode 7", frame.Header{Fin: true, Opcode: 7, Masked: true}, fromClient, "RFC 6455 §5.2"},
		{"opcode 11", frame.Header{Fin: true, Opcode: 11, Masked: true}, fromClient, "RFC 6455 §5.2"},
		{"opcode 15", frame.Header{Fin: true, Opcode: 15, Masked: true}, fromClient, "RFC 6455 §5.2"},

		{"RSV1, nothing negotiated", frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text, Masked: true}, fromClient, "RFC 6455 §5.2"},
		{"RSV2", frame.Header{Fin: true, Rsv: 2, Opcode: frame.Text, Masked: true}, compressed, "RFC 6455 §5.2"},
		{"RSV3", frame.Header{Fin: true, Rsv: 1, Opcode: frame.Text, Masked: true}, compressed, "RFC 6455 §5.2"},
		{"RSV1 and RSV3", frame.Header{Fin: true, Rsv: 5, Opcode: frame.Text, Masked: true}, compressed, "RFC 6455 §5.2"},
		{"compressed", frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text, Masked: true}, compressed, ""},
		{"compressed, first fragment", frame.Header{Rsv: 4, Opcode: frame.Binary, Masked: true}, compressed, ""},
		{"not compressed", frame.Header{Fin: true, Opcode: frame.Text, Masked: true}, compressed, ""},
		{"compressed, second fragment", frame.Header{Fin: true, Masked: true}, insideMessageDeflate, ""},
		{"RSV1 on the second fragment", frame.Header{Fin: true, Rsv: 4, Masked: true}, insideMessageDeflate, "RFC 7692 §6.1"},
		{"RSV1 on a ping", frame.Header{Fin: true, Rsv: 4, Opcode: frame.Ping, Masked: true}, compressed, "RFC 7692 §6.1"},

		{"first fragment", frame.Header{Opcode: frame.Text, Masked: true}, fromClient, ""},
		{"fragment between", frame.Header{Masked: true}, insideMessage, ""},
		{"last fragment", frame.Header{Fin: true, Masked: true}, insideMessage, ""},
		{"control between fragments", frame.Header{Fin: true, Opcode: frame.Ping, Masked: true}, insideMessage, ""},
		{"continuation of nothing", frame.Header{Fin: true, Masked: true}, fromClient, "RFC 6455 §5.4"},
		{"text inside a message", frame.Header{Fin: true, Opcode: frame.Text, Masked: true}, insideMessage, "RFC 6455 §5.4"},
		{"binary inside a message", frame.Header{Opcode: frame.Binary, Masked: true}, insideMessage, "RFC 6455 §5.4"},

		{"ping of 125 bytes", frame.Header{Fin: true, Opcode: frame.Ping, Masked: true, Length: 125}, fromClient, ""},
		{"ping of 126 bytes", frame.Header{Fin: true, Opcode: frame.Ping, Masked: true, Length: 126}, fromClient, "RFC 6455 §5.5"},
		{"pong of 2^63-1 bytes", frame.Header{Fin: true, Opcode: frame.Pong, Masked: true, Length: 1<<63 - 1}, fromClient, "RFC 6455 §5.5"},
		{"fragmented close", frame.Header{Opcode: frame.Close, Masked: true}, fromClient, "RFC 6455 §5.5"},
		{"fragmented ping inside a message", frame.Header{Opcode: frame.Ping, Masked: true}, insideMessage, "RFC 6455 §5.5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := frame.Check(test.header, test.state)
			if test.section != "" {
				wantError(t, err, frame.CodeProtocolError, test.section)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// Every header in every state, against the rules said the other way round: what is allowed.
func TestCheckEverything(t *testing.T) {
	for bits := range 1 << 13 {
		bit := func(i int) bool { return bits>>i&1 != 0 }
		h := frame.Header{Fin: bit(0), Masked: bit(1), Rsv: byte(bits >> 2 & 7), Opcode: frame.Opcode(bits >> 5 & 15), Length: 125}
		s := frame.State{FromClient: bit(9), Fragmented: bit(10), Compression: bit(11)}
		if bit(12) {
			h.Length++
		}
		var allowed bool
		switch h.Opcode {
		case frame.Text, frame.Binary:
			allowed = !s.Fragmented && (h.Rsv == 0 || h.Rsv == 4 && s.Compression)
		case frame.Continuation:
			allowed = s.Fragmented && h.Rsv == 0
		case frame.Close, frame.Ping, frame.Pong:
			allowed = h.Fin && h.Length <= 125 && h.Rsv == 0
		}
		allowed = allowed && h.Masked == s.FromClient
		if err := frame.Check(h, s); (err == nil) != allowed {
			t.Errorf("%+v in %+v: %v", h, s, err)
		}
	}
}

func TestProtocolErrorText(t *testing.T) {
	err := frame.Check(frame.Header{Fin: true, Masked: true}, fromClient)
	const want = "websocket: a continuation frame without a message to continue (RFC 6455 §5.4), close code 1002 protocol error"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What runs for each frame allocates nothing, errors included.
func TestNoAllocation(t *testing.T) {
	wire := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Length: 32})
	dst := make([]byte, 0, frame.MaxHeaderSize)
	payload := []byte("Größe: naïve façade, 12 €, in two pieces")
	allocated := testing.AllocsPerRun(100, func() {
		h, _, _ := frame.ParseHeader(wire)
		_ = frame.Check(h, fromClient)
		_ = frame.Check(h, fromServer)
		_, _, _ = frame.ParseHeader([]byte{0x82, 0x7F, 0x80})
		_, _, _ = frame.ParseClose([]byte{0})
		_ = frame.AppendHeader(dst, h)
		var text frame.UTF8
		_ = text.Valid(payload[:3]) && text.Valid(payload[3:]) && text.Complete()
		frame.Mask(payload, h.Key, 0)
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
