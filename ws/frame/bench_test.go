package frame_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"aerys/ws/frame"
)

var sizes = []int{16, 128, 1 << 10, 64 << 10}

func BenchmarkHeader(b *testing.B) {
	p := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Key: [4]byte{1, 2, 3, 4}, Length: 32})
	state := frame.State{FromClient: true}
	b.ReportAllocs()
	for b.Loop() {
		h, n, err := frame.ParseHeader(p)
		if n != len(p) || err != nil || frame.Check(h, state) != nil {
			b.Fatal(h, n, err)
		}
	}
}

func BenchmarkAppendHeader(b *testing.B) {
	dst := make([]byte, 0, frame.MaxHeaderSize)
	b.ReportAllocs()
	for b.Loop() {
		frame.AppendHeader(dst, frame.Header{Fin: true, Opcode: frame.Text, Length: 32})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range sizes {
		p := make([]byte, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				frame.Mask(p, [4]byte{1, 2, 3, 4}, 0)
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for _, text := range []struct{ name, piece string }{
		{"ASCII", "Plain old text. "},
		{"mixed", "Größe: naïve façade, 12 €, "},
		{"Chinese", "千里之行，始於足下。"},
	} {
		for _, size := range sizes {
			p := cut(strings.Repeat(text.piece, size/len(text.piece)+1), size)
			b.Run(fmt.Sprintf("%s/%d", text.name, size), func(b *testing.B) {
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					var u frame.UTF8
					if !u.Valid(p) || !u.Complete() {
						b.Fatal("invalid")
					}
				}
			})
			b.Run(fmt.Sprintf("%s/%d/utf8.Valid", text.name, size), func(b *testing.B) {
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					if !utf8.Valid(p) {
						b.Fatal("invalid")
					}
				}
			})
		}
	}
}

// cut returns at most size bytes of s, whole characters only.
func cut(s string, size int) []byte {
	for !utf8.RuneStart(s[size]) {
		size--
	}
	return []byte(s[:size])
}
