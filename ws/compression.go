package ws

import "aerys/ws/internal/deflate"

// This file joins permessage-deflate (RFC 7692) with messages and frames.

// rsv1 marks a compressed message (RFC 7692 §6).
const rsv1 = 4

// deflated returns the compressed form of a message in a pooled buffer, or nil
// if it is better sent as it is.
func deflated[T string | []byte](payload T, o *Options) []byte {
	if len(payload) < o.CompressionThreshold {
		return nil
	}
	plain := append(getBuffer(len(payload)), payload...)
	out := deflate.Compress(getBuffer(len(payload)), plain, o.CompressionLevel)
	putBuffer(plain)
	if len(out) >= len(payload) {
		putBuffer(out)
		return nil
	}
	return out
}
