package ws_test

import (
	"fmt"
	"strconv"
	"sync"

	"aerys/ws"
	"aerys/ws/frame"
)

// The base framing protocol: RFC 6455 §5.1 to §5.3, and what is reserved.

// filler is n bytes of text, no two stretches of which are alike.
func filler(n int) string {
	fillings.Lock()
	defer fillings.Unlock()
	if n > len(fillings.longest) {
		p := make([]byte, 0, n+20)
		for i := int64(0); len(p) < n; i++ {
			p = append(strconv.AppendInt(p, i, 10), ',')
		}
		fillings.longest = string(p[:n])
	}
	return fillings.longest[:n]
}

// fillings keeps the longest so far, with which all shorter ones begin.
var fillings struct {
	sync.Mutex
	longest string
}

// lengthRows are messages of one frame at each edge of the three forms of the
// length, and of the buffers they are read into.
func lengthRows() (rows []row) {
	for _, n := range []int{
		0, 1, 2, 124, 125, 126, 127, 128, 129, 255, 256, 257, 1023, 1024, 4087, 4088, 4095, 4096, 4097,
		16383, 16384, 32759, 32760, 32767, 32768, 32769, 65526, 65527, 65528, 65534, 65535, 65536, 65537,
		131057, 131058, 131072, 200000,
	} {
		s := filler(n)
		rows = append(rows,
			answers("§5.2", fmt.Sprintf("text of %d bytes", n), text(s), gotText(s)),
			answers("§5.2", fmt.Sprintf("binary of %d bytes", n), binary(s), gotBinary(s)))
	}
	return rows
}

// headerRows are lengths that must not be, and reserved bits.
func headerRows() []row {
	rows := []row{
		fails("§5.2", "text, length 0 in 16 bits", ws.CodeProtocolError, length16(0x81, 0)),
		fails("§5.2", "text, length 1 in 16 bits", ws.CodeProtocolError, length16(0x81, 1)),
		fails("§5.2", "text, length 125 in 16 bits", ws.CodeProtocolError, length16(0x81, 125)),
		fails("§5.2", "binary, length 125 in 16 bits", ws.CodeProtocolError, length16(0x82, 125)),
		fails("§5.2", "ping, length 5 in 16 bits", ws.CodeProtocolError, length16(0x89, 5)),
		fails("§5.2", "text, length 0 in 64 bits", ws.CodeProtocolError, length64(0x81, 0)),
		fails("§5.2", "text, length 125 in 64 bits", ws.CodeProtocolError, length64(0x81, 125)),
		fails("§5.2", "text, length 126 in 64 bits", ws.CodeProtocolError, length64(0x81, 126)),
		fails("§5.2", "binary, length 65535 in 64 bits", ws.CodeProtocolError, length64(0x82, 65535)),
		fails("§5.2", "close, length 2 in 64 bits", ws.CodeProtocolError, length64(0x88, 2)),
		fails("§5.2", "length 2^63, the top bit", ws.CodeProtocolError, length64(0x82, 1<<63)),
		fails("§5.2", "length 2^63+1", ws.CodeProtocolError, length64(0x82, 1<<63+1)),
		fails("§5.2", "length 2^64-1", ws.CodeProtocolError, length64(0x82, 1<<64-1)),
		fails("§5.2", "continuation of length 2^64-1", ws.CodeProtocolError, join(first(frame.Binary, "x"), length64(0x80, 1<<64-1))),
		fails("§5.2", "the top bit, and nothing behind it", ws.CodeProtocolError, []byte{0x82, 0xFF, 0x80}),
		fails("§5.2", "text, then a length not minimal", ws.CodeProtocolError, join(text("a"), length16(0x81, 3)), gotText("a")),
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		bits := fmt.Sprintf("reserved bits %03b", rsv)
		reserved := func(opcode frame.Opcode, s string) []byte {
			return masked(frame.Header{Fin: true, Rsv: rsv, Opcode: opcode}, s)
		}
		rows = append(rows,
			fails("§5.2", bits+" on text", ws.CodeProtocolError, reserved(frame.Text, "hello")),
			fails("§5.2", bits+" on empty binary", ws.CodeProtocolError, reserved(frame.Binary, "")),
			fails("§5.2", bits+" on a ping after text", ws.CodeProtocolError, join(text("a"), reserved(frame.Ping, "x")), gotText("a")),
			fails("§5.2", bits+" on a continuation", ws.CodeProtocolError, join(first(frame.Text, "a"), reserved(frame.Continuation, "b"))),
			fails("§5.2", bits+" on a close", ws.CodeProtocolError, reserved(frame.Close, "\x03\xE8")))
	}
	return append(rows,
		fails("§5.2", "reserved bits on a pong", ws.CodeProtocolError, masked(frame.Header{Fin: true, Rsv: 2, Opcode: frame.Pong}, "")),
		fails("§5.2", "reserved bits on a first fragment", ws.CodeProtocolError, masked(frame.Header{Rsv: 4, Opcode: frame.Text}, "a")),
		fails("§5.2", "what follows a faulty frame is not answered", ws.CodeProtocolError,
			join(text("a"), masked(frame.Header{Fin: true, Rsv: 1, Opcode: frame.Text}, "b"), text("c"), ping("d")), gotText("a")))
}

// length16 and length64 are headers with a length in a form of our choice.
func length16(first byte, n uint16) []byte {
	return []byte{first, 0xFE, byte(n >> 8), byte(n), 1, 2, 3, 4}
}

func length64(first byte, n uint64) []byte {
	wire := []byte{first, 0xFF}
	for shift := 56; shift >= 0; shift -= 8 {
		wire = append(wire, byte(n>>shift))
	}
	return append(wire, 1, 2, 3, 4)
}

// maskRows are about the masking of frames.
func maskRows() (rows []row) {
	s := filler(67)
	for _, key := range [][4]byte{{0, 0, 0, 0}, {255, 255, 255, 255}, {1, 0, 0, 0}, {0, 0, 0, 1}, {1, 2, 3, 4}, {0x80, 0x40, 0x20, 0x10}} {
		for _, n := range []int{0, 1, 2, 3, 35, 66} {
			h := frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Key: key, Length: int64(len(s) - n)}
			rows = append(rows, answers("§5.3", fmt.Sprintf("key % x, %d bytes", key, h.Length), appendMasked(nil, h, s[n:]), gotText(s[n:])))
		}
	}
	unmasked := func(fin bool, opcode frame.Opcode, s string) []byte {
		return appendMasked(nil, frame.Header{Fin: fin, Opcode: opcode, Length: int64(len(s))}, s)
	}
	keyed := masked(frame.Header{Fin: true, Opcode: frame.Text, Key: [4]byte{9, 8, 7, 6}}, "another key")
	return append(rows,
		answers("§5.3", "another key for each frame", join(text("a key"), keyed, ping("p")), gotText("a key"), gotText("another key"), gotPong("p")),
		answers("§5.3", "another key for each fragment", join(first(frame.Text, "a"), masked(frame.Header{Fin: true, Key: [4]byte{9, 8, 7, 6}}, "bcdef")), gotText("abcdef")),
		fails("§5.1", "text not masked", ws.CodeProtocolError, unmasked(true, frame.Text, "hello")),
		fails("§5.1", "empty text not masked", ws.CodeProtocolError, unmasked(true, frame.Text, "")),
		fails("§5.1", "binary of 65536 bytes not masked", ws.CodeProtocolError, unmasked(true, frame.Binary, filler(65536))),
		fails("§5.1", "ping not masked", ws.CodeProtocolError, unmasked(true, frame.Ping, "p")),
		fails("§5.1", "empty ping not masked", ws.CodeProtocolError, unmasked(true, frame.Ping, "")),
		fails("§5.1", "pong not masked", ws.CodeProtocolError, unmasked(true, frame.Pong, "")),
		fails("§5.1", "close not masked", ws.CodeProtocolError, unmasked(true, frame.Close, "\x03\xE8")),
		fails("§5.1", "first fragment not masked", ws.CodeProtocolError, unmasked(false, frame.Text, "a")),
		fails("§5.1", "continuation not masked", ws.CodeProtocolError, join(first(frame.Text, "a"), unmasked(true, frame.Continuation, "b"))),
		fails("§5.1", "not masked after text that was", ws.CodeProtocolError, join(text("a"), unmasked(true, frame.Text, "b")), gotText("a")))
}

// opcodeRows are the reserved opcodes.
func opcodeRows() (rows []row) {
	for _, opcode := range []frame.Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		reserved := func(fin bool, s string) []byte { return masked(frame.Header{Fin: fin, Opcode: opcode}, s) }
		name := opcode.String()
		rows = append(rows,
			fails("§5.2", name+", empty", ws.CodeProtocolError, reserved(true, "")),
			fails("§5.2", name+" with a payload", ws.CodeProtocolError, reserved(true, "payload")),
			fails("§5.2", name+" as a fragment", ws.CodeProtocolError, reserved(false, "payload")),
			fails("§5.2", name+" between two messages", ws.CodeProtocolError, join(text("a"), reserved(true, "b"), text("c"), ping("")), gotText("a")),
			fails("§5.2", name+" inside a message", ws.CodeProtocolError, join(first(frame.Text, "a"), reserved(true, ""), last("b"))))
	}
	return rows
}

// batchRows are many frames in one write.
func batchRows() []row {
	var small, mixed []byte
	var smallWant, mixedWant []answer
	for i := range 1000 {
		s := filler(i % 130)
		small, smallWant = append(small, text(s)...), append(smallWant, gotText(s))
	}
	for i := range 40 {
		s, p := filler(i*311), fmt.Sprint(i)
		mixed = append(mixed, join(text(s), ping(p), binary(s), pong(p))...)
		mixedWant = append(mixedWant, gotText(s), gotPong(p), gotBinary(s))
	}
	long := filler(100000)
	return []row{
		answers("§5.4", "1000 messages in a row", small, smallWant...),
		answers("§5.4", "messages and pings of all lengths in a row", mixed, mixedWant...),
		answers("§5.4", "a short message behind a long one", join(text(long), text("a")), gotText(long), gotText("a")),
		answers("§5.4", "short ones between long ones", join(text("a"), binary(long), text("b"), text(long), ping("c"), text("d")),
			gotText("a"), gotBinary(long), gotText("b"), gotText(long), gotPong("c"), gotText("d")),
		answers("§5.4", "a long message of two fragments, one behind it", join(first(frame.Text, long), last(long), text("a")), gotText(long+long), gotText("a")),
	}
}
