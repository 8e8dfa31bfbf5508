package frame

import "encoding/binary"

// UTF8 validates text that arrives in pieces, such as the fragments of a
// message, whose borders may fall inside a character (RFC 6455 §8.1). The zero value
// stands before the first byte; assign UTF8{} to begin anew. It keeps one byte.
type UTF8 struct{ state uint8 }

// Valid takes the next piece of the text and reports whether all that came so far can still be
// the beginning of valid UTF-8 (RFC 3629 §4). Once false, it stays false: the
// connection is to be failed with [CodeInvalidPayload] at once, wherever the text ends.
func (u *UTF8) Valid(p []byte) bool {
	state := uint64(u.state)
	le := binary.LittleEndian
	for len(p) >= 64 {
		b := (*[64]byte)(p)
		all := le.Uint64(b[0:]) | le.Uint64(b[8:]) | le.Uint64(b[16:]) | le.Uint64(b[24:]) |
			le.Uint64(b[32:]) | le.Uint64(b[40:]) | le.Uint64(b[48:]) | le.Uint64(b[56:])
		if state != boundary || all&notASCII != 0 {
			state = step(state, b[:])
		}
		p = p[64:]
	}
	state = step(state, p)
	u.state = uint8(state)
	return state != invalid
}

// Complete reports whether the text may end here: every character of it is complete.
// At the end of a text message false means [CodeInvalidPayload].
func (u *UTF8) Complete() bool { return u.state == boundary }

// notASCII are the bits that eight bytes of ASCII have not.
const notASCII = 0x8080808080808080

// step takes the automaton from state through p. Only the lowest six bits of a
// state count while it runs; the rest is what the shift brought along.
func step(state uint64, p []byte) uint64 {
	t := &transitions
	for len(p) >= 8 {
		if state&63 != boundary || binary.LittleEndian.Uint64(p)&notASCII != 0 {
			b := (*[8]byte)(p)
			state = t[b[0]] >> (state & 63)
			state = t[b[1]] >> (state & 63)
			state = t[b[2]] >> (state & 63)
			state = t[b[3]] >> (state & 63)
			state = t[b[4]] >> (state & 63)
			state = t[b[5]] >> (state & 63)
			state = t[b[6]] >> (state & 63)
			state = t[b[7]] >> (state & 63)
		}
		p = p[8:]
	}
	for _, b := range p {
		state = t[b] >> (state & 63)
	}
	return state & 63
}

// The states of the automaton: what may follow. Each is the place, in bits, that
// its successor has in a row of transitions, so that one shift takes one step.
const (
	boundary = 6 * iota // a character begins
	invalid             // nothing: there is no way back
	tail1               // one more byte 80–BF
	tail2               // two of them
	tail3               // three of them
	afterE0             // A0–BF, or the character had a shorter form; then tail1
	afterED             // 80–9F, or it were a surrogate; then tail1
	afterF0             // 90–BF, or it had a shorter form; then tail2
	afterF4             // 80–8F, or it were beyond U+10FFFF; then tail2
	states   = iota
)

// transitions has a row for each byte: the next state for every state.
var transitions = buildTransitions()

// buildTransitions turns the grammar of RFC 3629 §4 into rows. What it does not name is invalid.
func buildTransitions() (rows [256]uint64) {
	for b := range rows {
		for from := range states {
			rows[b] |= invalid << (6 * from)
		}
	}
	for _, rule := range [...]struct{ from, low, high, to uint64 }{
		{boundary, 0x00, 0x7F, boundary},
		{boundary, 0xC2, 0xDF, tail1},
		{boundary, 0xE0, 0xE0, afterE0},
		{boundary, 0xE1, 0xEC, tail2},
		{boundary, 0xED, 0xED, afterED},
		{boundary, 0xEE, 0xEF, tail2},
		{boundary, 0xF0, 0xF0, afterF0},
		{boundary, 0xF1, 0xF3, tail3},
		{boundary, 0xF4, 0xF4, afterF4},
		{tail1, 0x80, 0xBF, boundary},
		{tail2, 0x80, 0xBF, tail1},
		{tail3, 0x80, 0xBF, tail2},
		{afterE0, 0xA0, 0xBF, tail1},
		{afterED, 0x80, 0x9F, tail1},
		{afterF0, 0x90, 0xBF, tail2},
		{afterF4, 0x80, 0x8F, tail2},
	} {
		for b := rule.low; b <= rule.high; b++ {
			rows[b] ^= (invalid ^ rule.to) << rule.from
		}
	}
	return rows
}
