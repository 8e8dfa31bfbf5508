package frame_test

import (
	"bytes"
	"math"
	"testing"

	"aerys/ws/frame"
)

// naive is RFC 6455 §5.3 as it is written there.
func naive(p []byte, key [4]byte, offset int) []byte {
	masked := bytes.Clone(p)
	for i := range masked {
		masked[i] ^= key[(i+offset)%4]
	}
	return masked
}

// pattern is n bytes, no two neighbours alike.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + 3)
	}
	return p
}

// Every length about the block sizes, at every alignment in memory and every place in
// the payload. The bytes on both sides stay as they are.
func TestMask(t *testing.T) {
	key := [4]byte{0x37, 0xFA, 0x21, 0x3D}
	for length := range 200 {
		for alignment := range 9 {
			for offset := range 5 {
				buffer := pattern(alignment + length + 9)
				want := bytes.Clone(buffer)
				copy(want[alignment:], naive(buffer[alignment:alignment+length], key, offset))
				frame.Mask(buffer[alignment:alignment+length], key, offset)
				if !bytes.Equal(buffer, want) {
					t.Fatalf("length %d, alignment %d, offset %d: % x, want % x", length, alignment, offset, buffer, want)
				}
			}
		}
	}
}

// A payload that is masked in two pieces, cut anywhere, and unmasked in one.
func TestMaskPieces(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	for cut := range 301 {
		p := pattern(300)
		frame.Mask(p[:cut], key, 0)
		frame.Mask(p[cut:], key, cut)
		if !bytes.Equal(p, naive(pattern(300), key, 0)) {
			t.Fatalf("cut at %d: % x", cut, p)
		}
		frame.Mask(p, key, 0)
		if !bytes.Equal(p, pattern(300)) {
			t.Fatalf("cut at %d: not its own inverse", cut)
		}
	}
}

// Only offset modulo 4 counts, also when a counter has overflowed.
func TestMaskOffset(t *testing.T) {
	for offset, same := range map[int]int{4: 0, 1<<20 + 3: 3, math.MaxInt: 3, math.MinInt: 0, math.MinInt + 1: 1, -1: 3} {
		p := pattern(20)
		frame.Mask(p, [4]byte{1, 2, 3, 4}, offset)
		if want := naive(pattern(20), [4]byte{1, 2, 3, 4}, same); !bytes.Equal(p, want) {
			t.Errorf("offset %d: % x, want % x", offset, p, want)
		}
	}
}
