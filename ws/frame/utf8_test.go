package frame_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"aerys/ws/frame"
)

// valid is what the validator says of a text that comes in pieces.
func valid(pieces ...[]byte) bool {
	var text frame.UTF8
	ok := true
	for _, piece := range pieces {
		ok = text.Valid(piece)
	}
	return ok && text.Complete()
}

func TestUTF8EveryCharacter(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if p := utf8.AppendRune(nil, r); !valid(p) {
			t.Errorf("%U: % x is refused", r, p)
		}
	}
}

// continuable reports whether some text begins with p. No character needs more than three
// further bytes, and these four are enough to satisfy every rule of RFC 3629 §4.
func continuable(p []byte, more int) bool {
	if utf8.Valid(p) {
		return true
	}
	for _, b := range []byte{0x80, 0x90, 0xA0, 0xBF} {
		if more > 0 && continuable(append(p[:len(p):len(p)], b), more-1) {
			return true
		}
	}
	return false
}

// §8.1, at once: every sequence of the bytes at which the grammar of RFC 3629 §4
// changes its mind. A byte after which there is no valid text is refused itself, not the next one.
func TestUTF8EverySequence(t *testing.T) {
	edges := []byte("\x00\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xFF")
	var walk func(before frame.UTF8, p []byte)
	walk = func(before frame.UTF8, p []byte) {
		for _, b := range edges {
			text, p := before, append(p[:len(p):len(p)], b)
			want := continuable(p, 3)
			if got := text.Valid(p[len(p)-1:]); got != want {
				t.Errorf("% x: %v, want %v", p, got, want)
			}
			if text.Complete() != utf8.Valid(p) {
				t.Errorf("% x: complete %v, want %v", p, text.Complete(), utf8.Valid(p))
			}
			if want && len(p) < 5 {
				walk(text, p)
			}
		}
	}
	walk(frame.UTF8{}, nil)
}

// Texts longer than a block, cut in two anywhere, with a wrong byte anywhere.
func TestUTF8EverySplit(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("ASCII only. ", 16),
		strings.Repeat("Größe: naïve façade, 12 €. ", 7),
		strings.Repeat("千里之行，始於足下。", 6),
		strings.Repeat("😀 ", 40),
		strings.Repeat("a", 63) + "é" + strings.Repeat("b", 100) + "\U0010FFFF",
		"",
	} {
		for cut := range len(text) + 1 {
			head, tail := []byte(text[:cut]), []byte(text[cut:])
			if !valid(head, tail) || !valid(head, nil, tail) {
				t.Fatalf("cut at %d: refused: %q", cut, text)
			}
			if valid(head) != utf8.Valid(head) || valid(tail) != utf8.Valid(tail) {
				t.Fatalf("cut at %d: a part alone is not judged as by utf8.Valid: %q", cut, text)
			}
			for _, wrong := range []string{"\xFF", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"} {
				if valid([]byte(text[:cut] + wrong + text[cut:])) {
					t.Fatalf("% x at %d is accepted: %q", wrong, cut, text)
				}
			}
		}
	}
}

// ASCII is skipped in blocks, but not inside a character that it cannot complete.
func TestUTF8BrokenBeforeASCII(t *testing.T) {
	for n := range 200 {
		ascii := []byte(strings.Repeat("a", n))
		for _, broken := range []string{"\xC3", "\xE2\x82", "\xF0\x9F\x98"} {
			for _, pieces := range [][][]byte{{[]byte(broken), ascii}, {append([]byte(broken), ascii...)}} {
				var text frame.UTF8
				ok := true
				for _, piece := range pieces {
					ok = text.Valid(piece)
				}
				if ok != (n == 0) || text.Complete() {
					t.Errorf("% x and %d bytes of ASCII in %d pieces: %v", broken, n, len(pieces), ok)
				}
			}
		}
	}
}

func TestUTF8StaysInvalid(t *testing.T) {
	var text frame.UTF8
	if text.Valid([]byte("\xFF")) {
		t.Error("accepted")
	}
	for _, piece := range []string{"", "a", strings.Repeat("ASCII", 100), "é"} {
		if text.Valid([]byte(piece)) || text.Complete() {
			t.Errorf("valid again after %q", piece)
		}
	}
	if text = (frame.UTF8{}); !text.Valid([]byte("anew")) || !text.Complete() {
		t.Error("not valid anew")
	}
}

func FuzzUTF8(f *testing.F) {
	for _, text := range []string{
		"", "ASCII", "Größe: 12 €", "千里之行", "😀", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\xF0\x8F", "\xFF",
		strings.Repeat("a", 63) + "é", strings.Repeat("a", 130) + "\xE0\x9F\x80",
	} {
		f.Add([]byte(text), uint16(len(text)/2))
	}
	f.Fuzz(func(t *testing.T, p []byte, cut uint16) {
		n := min(int(cut), len(p))
		want := utf8.Valid(p)
		if valid(p) != want || valid(p[:n], p[n:]) != want {
			t.Errorf("% x, cut at %d: %v and %v, want %v", p, n, valid(p), valid(p[:n], p[n:]), want)
		}
		// Byte by byte: the first refused is the first after which no text is possible.
		var text frame.UTF8
		for i := range p {
			tail := bytes.Clone(p[max(0, i-3) : i+1])
			for len(tail) > 1 && !utf8.RuneStart(tail[0]) {
				tail = tail[1:]
			}
			if got := text.Valid(p[i : i+1]); got != continuable(tail, 3) {
				t.Errorf("% x: byte %d: %v", p, i, got)
			} else if !got {
				return
			}
		}
	})
}
