package ws_test

import (
	"fmt"

	"aerys/ws"
	"aerys/ws/frame"
)

// Control frames and fragmentation: RFC 6455 §5.4 and §5.5.

// controlRows are pings and pongs.
func controlRows() []row {
	rows := []row{
		answers("§5.5.2", "ping without a payload", ping(""), gotPong("")),
		answers("§5.5.2", "ping of text", ping("Hello, world!"), gotPong("Hello, world!")),
		answers("§5.5.2", "ping of bytes that are no text", ping("\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), gotPong("\x00\xff\xfe\xfd\xfc\xfb\x00\xff")),
		answers("§5.5.2", "ping of 124 bytes", ping(filler(124)), gotPong(filler(124))),
		answers("§5.5.2", "ping of 125 bytes", ping(filler(125)), gotPong(filler(125))),
		fails("§5.5", "ping of 126 bytes", ws.CodeProtocolError, ping(filler(126))),
		fails("§5.5", "ping of 126 bytes, of which only the header comes", ws.CodeProtocolError, ping(filler(126))[:8]),
		fails("§5.5", "ping of 65536 bytes", ws.CodeProtocolError, ping(filler(65536))),
		fails("§5.5", "pong of 126 bytes", ws.CodeProtocolError, pong(filler(126))),
		fails("§5.5", "close of 126 bytes", ws.CodeProtocolError, closing(ws.CodeNormal, filler(124))),
		fails("§5.5", "a good ping, then a long one", ws.CodeProtocolError, join(ping("a"), ping(filler(126))), gotPong("a")),
		fails("§5.5", "ping in two fragments", ws.CodeProtocolError, join(first(frame.Ping, "a"), last("b"))),
		fails("§5.5", "pong in two fragments", ws.CodeProtocolError, join(first(frame.Pong, "a"), last("b"))),
		fails("§5.5", "close in two fragments", ws.CodeProtocolError, join(first(frame.Close, "\x03"), last("\xE8"))),
		fails("§5.5", "empty ping as a fragment", ws.CodeProtocolError, first(frame.Ping, "")),
		answers("§5.5.3", "pong that nobody asked for", join(pong(""), ping("x")), gotPong("x")),
		answers("§5.5.3", "pong with a payload that nobody asked for", join(pong("unsolicited"), ping("x")), gotPong("x")),
		answers("§5.5.3", "pong of 125 bytes", join(pong(filler(125)), text("a")), gotText("a")),
		answers("§5.5.3", "pong of 8 bytes, as ours have", join(pong("\xff\xff\xff\xff\xff\xff\xff\xff"), text("a")), gotText("a")),
		answers("§5.5.2", "ping before and behind text", join(ping("a"), text("b"), ping("c")), gotPong("a"), gotText("b"), gotPong("c")),
		answers("§5.5.2", "ping behind a message of 100000 bytes", join(binary(filler(100000)), ping("p")), gotBinary(filler(100000)), gotPong("p")),
	}
	for _, n := range []int{10, 100} {
		r := answers("§5.5.2", fmt.Sprintf("%d pings in a row", n), nil)
		for i := range n {
			r.send, r.want = append(r.send, ping(filler(i))...), append(r.want, gotPong(filler(i)))
		}
		rows = append(rows, r)
	}
	return rows
}

// fragmentRows are messages of several frames.
func fragmentRows() []row {
	const t, b = frame.Text, frame.Binary
	rows := []row{
		answers("§5.4", "text in two fragments", join(first(t, "hello, "), last("world")), gotText("hello, world")),
		answers("§5.4", "binary in two fragments", join(first(b, "\x00\xff"), last("\xfe")), gotBinary("\x00\xff\xfe")),
		answers("§5.4", "text in three fragments", join(first(t, "a"), middle("b"), last("c")), gotText("abc")),
		answers("§5.4", "text in five fragments", join(first(t, "a"), middle("b"), middle("c"), middle("d"), last("e")), gotText("abcde")),
		answers("§5.4", "all fragments empty", join(first(t, ""), middle(""), last("")), gotText("")),
		answers("§5.4", "all fragments empty, binary", join(first(b, ""), middle(""), last("")), gotBinary("")),
		answers("§5.4", "two empty fragments", join(first(t, ""), last("")), gotText("")),
		answers("§5.4", "only the first has something", join(first(t, "a"), middle(""), last("")), gotText("a")),
		answers("§5.4", "only the middle has something", join(first(t, ""), middle("middle"), last("")), gotText("middle")),
		answers("§5.4", "only the last has something", join(first(t, ""), middle(""), last("a")), gotText("a")),
		answers("§5.4", "empty ones between", join(first(b, "a"), middle(""), middle("b"), middle(""), last("c")), gotBinary("abc")),
		answers("§5.4", "a message of fragments after another", join(first(t, "a"), last("b"), first(b, "c"), last("d")), gotText("ab"), gotBinary("cd")),
		answers("§5.4", "text after a message of fragments", join(first(t, "a"), last("b"), text("c")), gotText("ab"), gotText("c")),
		answers("§5.4", "fragments of 125, 126 and 65536 bytes", join(first(t, filler(125)), middle(filler(126)), last(filler(65536))), gotText(filler(125)+filler(126)+filler(65536))),
		answers("§5.4", "fragments of 65536, 126 and 125 bytes", join(first(b, filler(65536)), middle(filler(126)), last(filler(125))), gotBinary(filler(65536)+filler(126)+filler(125))),
		answers("§5.4", "a long one, then an empty last", join(first(t, filler(70000)), last("")), gotText(filler(70000))),

		answers("§5.4", "ping between two fragments", join(first(t, "a"), ping("p"), last("b")), gotPong("p"), gotText("ab")),
		answers("§5.4", "ping of 125 bytes between two fragments", join(first(t, "a"), ping(filler(125)), last("b")), gotPong(filler(125)), gotText("ab")),
		answers("§5.4", "pong between two fragments", join(first(t, "a"), pong("p"), last("b")), gotText("ab")),
		answers("§5.4", "pings between five fragments", join(first(t, "a"), middle("b"), ping("1"), middle("c"), middle("d"), ping("2"), last("e")), gotPong("1"), gotPong("2"), gotText("abcde")),
		answers("§5.4", "ten pings between two fragments", join(first(t, "a"), join(ping("0"), ping("1"), ping("2"), ping("3"), ping("4")), last("b")),
			gotPong("0"), gotPong("1"), gotPong("2"), gotPong("3"), gotPong("4"), gotText("ab")),
		answers("§5.4", "ping between empty fragments", join(first(t, ""), ping(""), last("")), gotPong(""), gotText("")),
		answers("§5.4", "ping inside a character", join(first(t, "\xce"), ping("p"), last("\xba")), gotPong("p"), gotText("κ")),
		answers("§5.4", "ping behind fragments of 70000 bytes", join(first(b, filler(70000)), ping("p"), last("x")), gotPong("p"), gotBinary(filler(70000)+"x")),

		fails("§5.4", "continuation of nothing", ws.CodeProtocolError, last("a")),
		fails("§5.4", "continuation of nothing, not the last", ws.CodeProtocolError, middle("a")),
		fails("§5.4", "empty continuation of nothing", ws.CodeProtocolError, last("")),
		fails("§5.4", "continuation of nothing after text", ws.CodeProtocolError, join(text("a"), last("b")), gotText("a")),
		fails("§5.4", "continuation of nothing, then text", ws.CodeProtocolError, join(middle("a"), text("b"))),
		fails("§5.4", "continuation after the last fragment", ws.CodeProtocolError, join(first(t, "a"), last("b"), last("c")), gotText("ab")),
		fails("§5.4", "continuation after the last, not the last", ws.CodeProtocolError, join(first(t, "a"), last("b"), middle("c"), text("d")), gotText("ab")),
		fails("§5.4", "continuation after a ping alone", ws.CodeProtocolError, join(ping("p"), last("a")), gotPong("p")),
		fails("§5.4", "text inside text", ws.CodeProtocolError, join(first(t, "a"), text("b"))),
		fails("§5.4", "binary inside text", ws.CodeProtocolError, join(first(t, "a"), binary("b"))),
		fails("§5.4", "text inside binary", ws.CodeProtocolError, join(first(b, "a"), text("b"))),
		fails("§5.4", "every fragment named text", ws.CodeProtocolError, join(first(t, "a"), first(t, "b"), text("c"))),
		fails("§5.4", "a second first fragment, empty", ws.CodeProtocolError, join(first(b, ""), first(b, ""))),
		fails("§5.4", "text inside text, after a ping", ws.CodeProtocolError, join(first(t, "a"), ping("p"), text("b")), gotPong("p")),
		fails("§5.4", "a message under way does not survive a fault", ws.CodeProtocolError, join(first(t, "a"), text("b"), last("c"))),
	}
	for _, n := range []int{10, 1000, 8000} {
		wire := first(b, "x")
		for i := range n - 2 {
			wire = append(wire, middle(filler(i%3))...)
		}
		whole := "x"
		for i := range n - 2 {
			whole += filler(i % 3)
		}
		rows = append(rows, answers("§5.4", fmt.Sprintf("%d fragments", n), append(wire, last("y")...), gotBinary(whole+"y")))
	}
	return rows
}

// largestMessage is what a message of TestConformance may have, at the most.
const largestMessage = 4 << 20

// sizeRows are long messages, whole and in fragments of many sizes.
func sizeRows() (rows []row) {
	large := filler(largestMessage)
	for _, n := range []int{256 << 10, 1 << 20, largestMessage} {
		rows = append(rows, answers("§5.2", fmt.Sprintf("binary of %d KiB", n>>10), binary(large[:n]), gotBinary(large[:n])))
	}
	rows = append(rows, answers("§5.2", "text of 2048 KiB", text(large[:2<<20]), gotText(large[:2<<20])))
	for _, size := range []int{1300, 16 << 10, 64<<10 - 9, 64 << 10, 256 << 10} {
		name := fmt.Sprintf("text of 1024 KiB in fragments of %d bytes", size)
		rows = append(rows, answers("§5.4", name, fragments(frame.Text, large[:1<<20], size), gotText(large[:1<<20])))
	}
	for _, size := range []int{1, 64, 256} {
		name := fmt.Sprintf("binary of %d bytes in fragments of %d", 4000*size, size)
		rows = append(rows, answers("§5.4", name, fragments(frame.Binary, large[:4000*size], size), gotBinary(large[:4000*size])))
	}
	return append(rows,
		answers("§5.4", "binary of 4096 KiB in fragments of 64 KiB", fragments(frame.Binary, large, 64<<10), gotBinary(large)),
		answers("§5.4", "text of 64 KiB in fragments of 1300 bytes", fragments(frame.Text, large[:64<<10], 1300), gotText(large[:64<<10])))
}

// fragments returns a message in frames of so many bytes.
func fragments(opcode frame.Opcode, s string, size int) (wire []byte) {
	for len(s) > size {
		wire = append(wire, first(opcode, s[:size])...)
		s, opcode = s[size:], frame.Continuation
	}
	return append(wire, masked(frame.Header{Fin: true, Opcode: opcode}, s)...)
}
