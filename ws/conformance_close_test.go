package ws_test

import (
	"fmt"
	"strings"

	"aerys/ws"
	"aerys/ws/frame"
)

// The closing handshake begun by the client: RFC 6455 §5.5.1 and §7.

// closeRows are close frames, good and bad, and what is around them.
func closeRows() []row {
	rows := append(closeCodeRows(), closeReasonRows()...)
	long := filler(100000)
	bye := closing(ws.CodeNormal, "bye")
	return append(rows,
		closes("§5.5.1", "without a payload", ws.CodeNoStatus, "", closingPayload("")),
		closes("§5.5.1", "with a code alone", ws.CodeNormal, "", closing(ws.CodeNormal, "")),
		closes("§5.5.1", "behind text", ws.CodeNormal, "bye", join(text("a"), bye), gotText("a")),
		closes("§5.5.1", "behind a long message", ws.CodeNormal, "bye", join(text(long), bye), gotText(long)),
		closes("§5.5.1", "behind a ping", ws.CodeNormal, "bye", join(ping("p"), bye), gotPong("p")),
		closes("§5.5.1", "behind many messages", ws.CodeNormal, "bye", join(text("a"), binary("b"), ping("p"), text("c"), bye), gotText("a"), gotBinary("b"), gotPong("p"), gotText("c")),
		closes("§5.5.1", "a second close", ws.CodeNormal, "bye", join(bye, closing(ws.CodeGoingAway, "again"))),
		closes("§5.5.1", "ping behind a close", ws.CodeNormal, "bye", join(bye, ping("p"))),
		closes("§5.5.1", "text behind a close", ws.CodeNormal, "bye", join(bye, text("a"))),
		closes("§5.5.1", "a long message behind a close", ws.CodeNormal, "bye", join(bye, binary(long), text("a"))),
		closes("§5.5.1", "a faulty frame behind a close", ws.CodeNormal, "bye", join(bye, masked(frame.Header{Fin: true, Rsv: 7, Opcode: 15}, ""))),
		closes("§5.5.1", "half a frame behind a close", ws.CodeNormal, "bye", join(bye, text(long)[:1000])),
		closes("§5.5.1", "invalid text behind a close", ws.CodeNormal, "bye", join(bye, text("\xff"))),
		closes("§5.5.1", "inside a message of fragments", ws.CodeNormal, "bye", join(first(frame.Text, "a"), bye)),
		closes("§5.5.1", "inside a message of fragments, which goes on", ws.CodeNormal, "bye", join(first(frame.Text, "a"), bye, last("b"))),
		closes("§5.5.1", "inside a character", ws.CodeNormal, "bye", join(first(frame.Text, "\xce"), bye)),
		closes("§5.5.1", "a message of fragments, then inside another", ws.CodeNormal, "bye", join(first(frame.Text, "a"), last("b"), first(frame.Binary, "c"), bye), gotText("ab")),
		closes("§5.5.1", "with a mask of its own", ws.CodeNormal, "bye", masked(frame.Header{Fin: true, Opcode: frame.Close, Key: [4]byte{1, 1, 1, 1}}, "\x03\xe8bye")),
		fails("§5.5.1", "with a payload of one byte", ws.CodeProtocolError, closingPayload("\x03")),
		fails("§5.5.1", "with a payload of one byte, behind text", ws.CodeProtocolError, join(text("a"), closingPayload("a")), gotText("a")),
		fails("§5.5.1", "with a payload of one byte, then a good close", ws.CodeProtocolError, join(closingPayload("\x03"), bye)),
		fails("§5.1", "close behind a fault", ws.CodeProtocolError, join(appendMasked(nil, frame.Header{Fin: true, Opcode: frame.Text}, ""), bye)))
}

// closeCodeRows are the classes of RFC 6455 §7.4, each at its edges.
func closeCodeRows() (rows []row) {
	for _, code := range []ws.Code{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000, 4001, 4999} {
		rows = append(rows,
			closes("§7.4", fmt.Sprintf("code %d", uint16(code)), code, "", closing(code, "")),
			closes("§7.4", fmt.Sprintf("code %d and a reason", uint16(code)), code, "the reason", closing(code, "the reason")))
	}
	for _, code := range []ws.Code{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535} {
		rows = append(rows,
			fails("§7.4", fmt.Sprintf("code %d", uint16(code)), ws.CodeProtocolError, closing(code, "")),
			fails("§7.4", fmt.Sprintf("code %d and a reason", uint16(code)), ws.CodeProtocolError, closing(code, "the reason")))
	}
	return rows
}

// closeReasonRows are reasons: UTF-8 of at most 123 bytes.
func closeReasonRows() []row {
	reason := func(name, s string) row {
		return closes("§5.5.1", name, ws.CodeGoingAway, s, closing(ws.CodeGoingAway, s))
	}
	rows := []row{
		reason("a reason of one byte", "x"),
		reason("a reason of 122 bytes", filler(122)),
		reason("a reason of 123 bytes", filler(123)),
		reason("a reason of 123 bytes of Greek", strings.Repeat("κ", 61)+"x"),
		fails("§5.5", "a reason of 124 bytes", ws.CodeProtocolError, closing(ws.CodeGoingAway, filler(124))),
		fails("§8.1", "a reason of Greek cut inside a character", ws.CodeInvalidPayload, closing(ws.CodeNormal, strings.Repeat("κ", 61)+"\xce")),
		fails("§8.1", "an invalid reason behind text", ws.CodeInvalidPayload, join(text("a"), closing(ws.CodeNormal, "\xff")), gotText("a")),
	}
	for _, v := range validTexts {
		rows = append(rows, reason("a reason: "+v.name, v.text))
	}
	for _, v := range invalidTexts {
		if len(v.text) <= 123 {
			rows = append(rows, fails("§8.1", "a reason: "+v.name, ws.CodeInvalidPayload, closing(ws.CodeNormal, v.text)))
		}
	}
	for _, v := range unfinishedTexts {
		rows = append(rows, fails("§8.1", "a reason: "+v.name+" at the end", ws.CodeInvalidPayload, closing(ws.CodeNormal, v.text)))
	}
	return rows
}
