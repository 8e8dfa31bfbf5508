package ws_test

import (
	"fmt"
	"strings"

	"aerys/ws"
	"aerys/ws/frame"
)

// Text is UTF-8: RFC 6455 §5.6 and §8.1, with RFC 3629 and Unicode's table 3-7.

// validTexts are the edges of what UTF-8 can say.
var validTexts = []struct{ name, text string }{
	{"Greek", "κόσμε"},
	{"German, Greek and a C1 control", "Hello-µ@ßöäüàá-UTF-8!!\u0080"},
	{"the first of one byte", "\x00"},
	{"the last of one byte", "\x7f"},
	{"the first of two bytes", "\u0080"},
	{"the last of two bytes", "\u07ff"},
	{"the first of three bytes", "\u0800"},
	{"the last below the surrogates", "\ud7ff"},
	{"the first above the surrogates", "\ue000"},
	{"the replacement character", "\ufffd"},
	{"noncharacter U+FFFE", "\ufffe"},
	{"noncharacter U+FFFF", "\uffff"},
	{"noncharacters U+FDD0 and U+FDEF", "\ufdd0\ufdef"},
	{"a byte order mark", "\ufeffa"},
	{"the first of four bytes", "\U00010000"},
	{"noncharacters U+1FFFE and U+1FFFF", "\U0001fffe\U0001ffff"},
	{"noncharacter U+FFFFE", "\U000ffffe"},
	{"the last of planes that start with F3", "\U000fffff"},
	{"the first of plane 16", "\U00100000"},
	{"the last of all", "\U0010ffff"},
	{"emoji with joiners", "👩\u200d👩\u200d👧"},
	{"every length in turn", "aßな😀zäし🎉"},
}

// textRows are valid, however they are cut.
func textRows() (rows []row) {
	for _, v := range validTexts {
		rows = append(rows, answers("§5.6", v.name, text(v.text), gotText(v.text)))
		for i := 1; i < len(v.text); i++ {
			name := fmt.Sprintf("%s, in fragments cut at byte %d", v.name, i)
			wire := join(first(frame.Text, v.text[:i]), last(v.text[i:]))
			rows = append(rows, answers("§5.6", name, wire, gotText(v.text)))
		}
		rows = append(rows, answers("§5.6", v.name+", in fragments of a byte", fragments(frame.Text, v.text, 1), gotText(v.text)))
	}
	long := strings.Repeat("κόσμε😀", 5000)
	for shift := range 4 { // so that blocks of any size are cut inside characters
		s := strings.Repeat("x", shift) + long
		rows = append(rows, answers("§5.6", fmt.Sprintf("85000 bytes, moved by %d", shift), text(s), gotText(s)))
	}
	return append(rows,
		answers("§5.6", "binary need not be UTF-8", binary("\xff\xfe\xc0\x80"), gotBinary("\xff\xfe\xc0\x80")),
		answers("§5.6", "binary fragments need not be UTF-8", join(first(frame.Binary, "a\xc3"), last("\xff")), gotBinary("a\xc3\xff")),
		answers("§5.6", "fragments of 1300 bytes", fragments(frame.Text, long, 1300), gotText(long)))
}

// invalidTexts are not UTF-8, and it is their last byte that proves it.
var invalidTexts = []struct{ name, text string }{
	{"a continuation byte first, 80", "\x80"},
	{"a continuation byte first, BF", "\xbf"},
	{"two continuation bytes", "ok\x80"},
	{"one continuation byte too many", "ß\x80"},
	{"one too many behind three bytes", "な\xbf"},
	{"one too many behind four bytes", "😀\xbf"},
	{"byte C0, overlong", "\xc0"},
	{"byte C1, overlong", "\xc1"},
	{"byte F5, above U+10FFFF", "\xf5"},
	{"byte F7", "\xf7"},
	{"byte F8, of five bytes", "\xf8"},
	{"byte FB", "\xfb"},
	{"byte FC, of six bytes", "\xfc"},
	{"byte FD", "\xfd"},
	{"byte FE", "\xfe"},
	{"byte FF", "\xff"},
	{"FE behind ASCII", "plain text, then \xfe"},
	{"two bytes cut short by a space", "\xc2 "},
	{"two bytes cut short by 7F", "\xdf\x7f"},
	{"two bytes, the second C0", "\xc2\xc0"},
	{"two bytes, the second a start", "\xce\xce"},
	{"three bytes cut short after one", "\xe1 "},
	{"three bytes cut short after two", "\xe1\x80 "},
	{"three bytes, the third a start", "\xe1\x80\xe1"},
	{"three bytes overlong, E0 80", "\xe0\x80"},
	{"three bytes overlong, E0 9F", "\xe0\x9f"},
	{"the first surrogate, U+D800", "\xed\xa0"},
	{"a high surrogate, U+DB7F", "\xed\xad"},
	{"a low surrogate, U+DC00", "\xed\xb0"},
	{"the last surrogate, U+DFFF", "\xed\xbf"},
	{"a surrogate behind good text", "κόσμε\xed\xa0"},
	{"four bytes overlong, F0 80", "\xf0\x80"},
	{"four bytes overlong, F0 8F", "\xf0\x8f"},
	{"above U+10FFFF, F4 90", "\xf4\x90"},
	{"above U+10FFFF, F4 BF", "κόσμε\xf4\xbf"},
	{"four bytes cut short after one", "\xf1\x7f"},
	{"four bytes cut short after two", "\xf1\x80a"},
	{"four bytes cut short after three", "\xf1\x80\x80a"},
	{"four bytes, the fourth a start", "\xf1\x80\x80\xf1"},
	{"two starts of four bytes", "\xf0\xf0"},
	{"behind 40000 good bytes", strings.Repeat("κόσμε", 4000) + "\xff"},
	{"behind 65000 good bytes", strings.Repeat("κόσμε", 6500) + "\xce\x00"},
}

// unfinishedTexts end inside a character.
var unfinishedTexts = []struct{ name, text string }{
	{"C2 alone", "\xc2"},
	{"DF alone", "a\xdf"},
	{"E0 alone", "\xe0"},
	{"E0 A0", "\xe0\xa0"},
	{"EF BF", "κόσμε\xef\xbf"},
	{"F0 alone", "\xf0"},
	{"F0 90", "\xf0\x90"},
	{"F0 90 80", "\xf0\x90\x80"},
	{"F4 8F BF", "a\xf4\x8f\xbf"},
}

// invalidTextRows fail, and at once: an invalid byte is enough, the frame that
// it is in need not be complete.
func invalidTextRows() (rows []row) {
	invalid := func(name string, wire []byte, want ...answer) {
		rows = append(rows, fails("§8.1", name, ws.CodeInvalidPayload, wire, want...))
	}
	for _, v := range invalidTexts {
		end := len(v.text) - 1
		invalid(v.name+", whole", text(v.text))
		invalid(v.name+", the frame goes on", text(v.text + "more")[:len(text(v.text+"more"))-4])
		invalid(v.name+", a last fragment of its own", join(first(frame.Text, v.text[:end]), ping("p"), last(v.text[end:])), gotPong("p"))
		invalid(v.name+", the message goes on", join(first(frame.Text, ""), middle(v.text[:end]), ping("p"), middle(v.text[end:])), gotPong("p"))
	}
	for _, v := range unfinishedTexts {
		invalid(v.name+" at the end", text(v.text))
		invalid(v.name+" at the end, behind another message", join(text("a"), text(v.text)), gotText("a"))
		invalid(v.name+" at the end of a last fragment", join(first(frame.Text, "a"), last(v.text)))
		invalid(v.name+" and an empty last fragment", join(first(frame.Text, v.text), ping("p"), last("")), gotPong("p"))
		invalid(v.name+" is not continued by another message", join(first(frame.Text, v.text), last(""), last("\x80")))
	}
	good := "κόσμε😀"
	for i := range len(good) {
		name := fmt.Sprintf("the first %d bytes of Greek and an emoji", i)
		if cut := good[:i]; strings.ToValidUTF8(cut, "") == cut {
			rows = append(rows, answers("§5.6", name, text(cut), gotText(cut)))
		} else {
			invalid(name, text(cut))
		}
	}
	return rows
}
