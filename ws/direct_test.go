package ws

import (
	"bytes"
	"testing"

	"aerys/ws/frame"
)

// A large message that is sent back leaves from where it lies, its header before
// it. What the handler still has of it stays as it was.
func TestReplyInPlace(t *testing.T) {
	const size = 40_000
	for _, test := range []struct {
		name  string
		reply func(message []byte) [][]byte
		takes int // bytes, at most, the first write
	}{
		{"all of it", func(m []byte) [][]byte { return [][]byte{m} }, 0},
		{"its beginning", func(m []byte) [][]byte { return [][]byte{m[:directSize]} }, 0},
		{"twice", func(m []byte) [][]byte { return [][]byte{m, m} }, 0},
		{"its end", func(m []byte) [][]byte { return [][]byte{m[1:]} }, 0},
		{"a copy", func(m []byte) [][]byte { return [][]byte{bytes.Clone(m)} }, 0},
		{"more than the buffer", func(m []byte) [][]byte { return [][]byte{make([]byte, 2*largeBufferSize)} }, 0},
		{"as far as there is room", func(m []byte) [][]byte { return [][]byte{m} }, size / 2},
		{"not even its header", func(m []byte) [][]byte { return [][]byte{m} }, 3},
		{"its end, then all of it", func(m []byte) [][]byte { return [][]byte{m[1:], m} }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			var e *Endpoint
			var want []byte
			message := bytes.Repeat([]byte("0123456789"), size/10)
			e = newEndpoint(&functions{
				onData: func(id ClientID, m *Message) {
					p, _ := m.Bytes()
					if len(p) < size {
						return // it made the buffer grow
					}
					for _, reply := range test.reply(p) {
						want = append(frame.AppendHeader(want, frame.Header{Fin: true, Opcode: frame.Binary, Length: int64(len(reply))}), reply...)
						e.SendBinary(reply, id)
						if !bytes.Equal(p, message) {
							t.Errorf("%d bytes were sent, and the message changed", len(reply))
						}
					}
				},
				onClose: func(ClientID, Code, string) {},
			}, Options{})
			p := openPipe(e, &pipe{pieces: [][]byte{binaryFrame(message[:bufferSize]), binaryFrame(message)}}, 0)
			p.takes = test.takes
			p.run()
			if got := p.written[:min(len(want), len(p.written))]; !bytes.Equal(got, want) {
				t.Errorf("%d bytes of other frames were sent", len(got))
			}
			if replies := len(test.reply(message)); p.apart != replies {
				t.Errorf("%d replies of %d were not copied together", p.apart, replies)
			}
		})
	}
}

// binaryFrame is a message as a client sends it.
func binaryFrame(payload []byte) []byte {
	h := frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	wire := append(frame.AppendHeader(nil, h), payload...)
	frame.Mask(wire[len(wire)-len(payload):], h.Key, 0)
	return wire
}
