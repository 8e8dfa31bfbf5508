package frame

import (
	"encoding/binary"
	"strconv"
)

// Opcode says what a frame carries (RFC 6455 §5.2). The values left out, 3–7
// and 11–15, are reserved and refused by [Check].
type Opcode byte

const (
	Continuation Opcode = 0  // a further fragment of the open message
	Text         Opcode = 1  // a message of UTF-8 text, or its first fragment
	Binary       Opcode = 2  // a message of bytes, or its first fragment
	Close        Opcode = 8  // the closing handshake (§5.5.1), see [ParseClose]
	Ping         Opcode = 9  // to be answered by a Pong of the same payload (§5.5.2)
	Pong         Opcode = 10 // the answer to a Ping (§5.5.3)
)

// Control reports whether o is a control opcode, a reserved one included: such
// frames may stand between the fragments of a message (RFC 6455 §5.5).
func (o Opcode) Control() bool { return o&8 != 0 }

// String returns the name that RFC 6455 §11.8 gives to o, such as "ping".
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved opcode " + strconv.Itoa(int(o))
}

// Sizes fixed by the protocol, in bytes.
const (
	MaxHeaderSize     = 14  // two bytes, a 64-bit length and a masking key (RFC 6455 §5.2)
	MaxControlPayload = 125 // of a close, ping or pong frame (RFC 6455 §5.5)
)

// Header is what stands in front of a frame's payload (RFC 6455 §5.2).
type Header struct {
	Fin    bool    // the last frame of its message, perhaps the only one
	Rsv    byte    // the reserved bits: RSV1 is 4, RSV2 is 2, RSV3 is 1
	Opcode Opcode  // what the payload is
	Masked bool    // the payload is masked with Key (§5.3)
	Key    [4]byte // the masking key, all zero unless Masked
	Length int64   // bytes of payload, 0 to 2^63-1
}

var (
	errLengthNotMinimal = &ProtocolError{CodeProtocolError, "the payload length must be sent in its shortest form (RFC 6455 §5.2)"}
	errLengthTopBit     = &ProtocolError{CodeProtocolError, "the top bit of a 64-bit payload length must be 0 (RFC 6455 §5.2)"}
)

// ParseHeader reads the header at the start of p and returns it with its size, n
// bytes, behind which the payload begins. As long as p holds too little of the header
// it returns n = 0 and no error: call again with more. [MaxHeaderSize] bytes are always enough.
//
// The error is a [*ProtocolError]: a length that is not in its shortest form, or has its
// top bit set. It comes with the first byte that proves it. All other rules need
// to know the connection and are [Check]'s.
func ParseHeader(p []byte) (h Header, n int, err error) {
	if len(p) < 2 {
		return Header{}, 0, nil
	}
	length, n := int64(p[1]&0x7F), 2
	if length > MaxControlPayload {
		if length, n, err = parseLength(p); n == 0 {
			return Header{}, 0, err
		}
	}
	h.Fin = p[0]&0x80 != 0
	h.Rsv = p[0] >> 4 & 7
	h.Opcode = Opcode(p[0] & 15)
	h.Length = length
	if p[1]&0x80 != 0 {
		if len(p) < n+4 {
			return Header{}, 0, nil
		}
		h.Masked = true
		h.Key = [4]byte(p[n:])
		n += 4
	}
	return h, n, nil
}

// parseLength reads the 16 or 64 bits of length that follow the first two bytes.
func parseLength(p []byte) (length int64, n int, err error) {
	if p[1]&0x7F == 126 {
		if len(p) < 4 {
			return 0, 0, nil
		}
		length := binary.BigEndian.Uint16(p[2:])
		if length < 126 {
			return 0, 0, errLengthNotMinimal
		}
		return int64(length), 4, nil
	}
	// The bytes that are there may prove a fault before all eight have come.
	if len(p) > 2 && p[2]&0x80 != 0 {
		return 0, 0, errLengthTopBit
	}
	if len(p) >= 8 && [6]byte(p[2:]) == [6]byte{} {
		return 0, 0, errLengthNotMinimal
	}
	if len(p) < 10 {
		return 0, 0, nil
	}
	return int64(binary.BigEndian.Uint64(p[2:])), 10, nil
}

// AppendHeader appends h, at most [MaxHeaderSize] bytes, and returns the extended
// slice. The length takes its shortest form; Key is written only if h.Masked, and the
// payload is left to the caller to mask. It panics if h.Length is negative.
func AppendHeader(dst []byte, h Header) []byte {
	first := h.Rsv<<4 | byte(h.Opcode)
	if h.Fin {
		first |= 0x80
	}
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length < 0:
		panic("frame: AppendHeader: negative Length")
	case h.Length <= 125:
		dst = append(dst, first, mask|byte(h.Length))
	case h.Length <= 0xFFFF:
		dst = append(dst, first, mask|126, byte(h.Length>>8), byte(h.Length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, mask|127), uint64(h.Length))
	}
	if h.Masked {
		dst = append(dst, h.Key[:]...)
	}
	return dst
}
