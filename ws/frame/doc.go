// Package frame is the framing of the WebSocket protocol (RFC 6455 §5) as pure
// functions: bytes go in and values come out. It knows no socket and keeps no
// connection, so each rule of the protocol can be read, tested and fuzzed by itself.
//
// One frame is received in four steps:
//
//	h, n, err := frame.ParseHeader(p)        // n == 0: read more bytes first
//	err = frame.Check(h, state)              // is it allowed here and now?
//	frame.Mask(payload, h.Key, 0)            // h.Masked: unmask where it lies
//	ok := text.Valid(payload)                // a [UTF8], for text messages only
//
// and sent in one or two:
//
//	dst = frame.AppendHeader(dst, frame.Header{Fin: true, Opcode: frame.Text, Length: int64(len(payload))})
//	dst = append(dst, payload...)
//
// How large a frame or message may be is the caller's decision: [ParseHeader]
// reports every length that the protocol allows, up to 2^63-1, and nothing here
// allocates by it. Every error is a [*ProtocolError], which holds the status code and the
// reason to close the connection with.
//
// All functions are safe for concurrent use on different memory. A UTF8 belongs
// to one message at a time.
package frame
