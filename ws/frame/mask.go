package frame

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks p in place, or unmasks it: the operation is its own inverse (RFC 6455 §5.3).
// p begins offset bytes into the payload, so that a payload may be masked piece by
// piece as it arrives. Only offset modulo 4 counts; a counter that overflows does no harm.
func Mask(p []byte, key [4]byte, offset int) {
	le := binary.LittleEndian
	half := bits.RotateLeft32(le.Uint32(key[:]), -8*(offset&3))
	word := uint64(half)<<32 | uint64(half)
	// A block of fixed size needs no bounds checks. A helper for the lines below would
	// cost a fifth of the speed: inlining leaves a no-op instruction for each call.
	for len(p) >= 64 {
		b := (*[64]byte)(p)
		le.PutUint64(b[0:], le.Uint64(b[0:])^word)
		le.PutUint64(b[8:], le.Uint64(b[8:])^word)
		le.PutUint64(b[16:], le.Uint64(b[16:])^word)
		le.PutUint64(b[24:], le.Uint64(b[24:])^word)
		le.PutUint64(b[32:], le.Uint64(b[32:])^word)
		le.PutUint64(b[40:], le.Uint64(b[40:])^word)
		le.PutUint64(b[48:], le.Uint64(b[48:])^word)
		le.PutUint64(b[56:], le.Uint64(b[56:])^word)
		p = p[64:]
	}
	for len(p) >= 8 {
		le.PutUint64(p, le.Uint64(p)^word)
		p = p[8:]
	}
	if len(p) >= 4 {
		le.PutUint32(p, le.Uint32(p)^half)
		p = p[4:]
	}
	for i := range p {
		p[i] ^= byte(half >> (8 * i))
	}
}
