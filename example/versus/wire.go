package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

const (
	opContinuation = 0
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// The sample handshake of RFC 6455 §1.3. The size is there for the floor.
const handshakeAccept = ": s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

func handshakeRequest(addr, path string, size int) []byte {
	return fmt.Appendf(nil, "GET %s?size=%d HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, size, addr)
}

// appendHeader appends the header of a whole message but for a masking key;
// mask is 0x80 or 0.
func appendHeader(b []byte, op, mask byte, size int) []byte {
	b = append(b, 0x80|op)
	switch {
	case size > 0xffff:
		return binary.BigEndian.AppendUint64(append(b, mask|127), uint64(size))
	case size > 125:
		return binary.BigEndian.AppendUint16(append(b, mask|126), uint16(size))
	}
	return append(b, mask|byte(size))
}

const maskingKey = 0x5ad2_71c9

// clientFrame is a whole masked message.
func clientFrame(op byte, payload []byte) []byte {
	b := appendHeader(make([]byte, 0, len(payload)+14), op, 0x80, len(payload))
	b = binary.LittleEndian.AppendUint32(b, maskingKey)
	key := b[len(b)-4:]
	for i, c := range payload {
		b = append(b, c^key[i&3])
	}
	return b
}

// frame is one that a server sent.
type frame struct {
	final   bool
	op      byte
	payload []byte // nil: it has not come whole
}

// nextFrame takes a frame off b and returns the rest.
func nextFrame(b []byte) (f frame, rest []byte, err error) {
	if len(b) < 2 {
		return f, b, nil
	}
	n, size, least := 2, uint64(b[1]&127), uint64(0)
	switch {
	case size == 126 && len(b) < 4, size == 127 && len(b) < 10:
		return f, b, nil
	case size == 126:
		n, least, size = 4, 126, uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127:
		n, least, size = 10, 1<<16, binary.BigEndian.Uint64(b[2:])
	}
	f.final, f.op = b[0]&0x80 != 0, b[0]&15
	control := f.op >= opClose && f.op <= opPong && f.final && size <= 125
	switch {
	case b[0]&0x70 != 0 || b[1]&0x80 != 0 || size < least:
		return f, b, fmt.Errorf("reserved bits, a mask or a long length in %x", b[:n])
	case f.op != opContinuation && f.op != opBinary && !control:
		return f, b, fmt.Errorf("opcode or control frame against the rules: %x", b[:n])
	case uint64(len(b)-n) < size:
		return f, b, nil
	}
	end := n + int(size)
	f.payload = b[n:end]
	return f, b[end:], nil
}

// wire knows the one size of message that a case sends. Each message begins
// with a stamp of eight bytes that tells its sender and number.
type wire struct {
	blind   bool // the floor sends what it likes
	payload []byte
	frame   []byte // ready to send, but for its stamp
}

func newWire(size int, blind bool) *wire {
	w := &wire{blind: blind, payload: make([]byte, size)}
	rand.NewChaCha8([32]byte{}).Read(w.payload) // no period, so that a shift is noticed
	clear(w.payload[:8])
	w.frame = clientFrame(opBinary, w.payload)
	return w
}

func stamp(sender, number int) uint64 { return uint64(sender)<<32 | uint64(uint32(number)) }

// stamp writes a stamp into a frame.
func (w *wire) stamp(frame []byte, sender, number int) {
	binary.LittleEndian.PutUint64(frame[len(frame)-len(w.payload):], stamp(sender, number)^(maskingKey<<32|maskingKey))
}

// check compares a payload with what was sent.
func (w *wire) check(payload []byte, sender, number int) error {
	switch {
	case len(payload) != len(w.payload):
		return fmt.Errorf("message %d has %d bytes, not %d", number, len(payload), len(w.payload))
	case w.blind:
	case binary.LittleEndian.Uint64(payload) != stamp(sender, number):
		return fmt.Errorf("message %d from %d is stamped %x: lost, doubled, out of order or another's", number, sender, payload[:8])
	case !bytes.Equal(payload[8:], w.payload[8:]):
		return fmt.Errorf("message %d differs from what was sent", number)
	}
	return nil
}
