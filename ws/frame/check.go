package frame

// ProtocolError is a fault of the peer, for which the connection has to be failed
// (RFC 6455 §7.1.7): send Code and Reason with [AppendClose], then close.
// The values returned by this package are shared; do not modify them.
type ProtocolError struct {
	Code   Code   // the status code to close with
	Reason string // the rule that was broken and its section; fits in a close frame
}

// Error returns the reason and the status code.
func (e *ProtocolError) Error() string {
	return "websocket: " + e.Reason + ", close code " + e.Code.String()
}

// State is what a connection knows when a frame arrives. After a data frame
// passed [Check], the caller sets Fragmented to !h.Fin.
type State struct {
	FromClient  bool // the frames come from a client, hence masked (RFC 6455 §5.1)
	Fragmented  bool // a message has begun and its last frame has not come yet (RFC 6455 §5.4)
	Compression bool // permessage-deflate was negotiated: RSV1 has a meaning (RFC 7692 §6)
}

var (
	errReservedOpcode    = &ProtocolError{CodeProtocolError, "opcodes 3 to 7 and 11 to 15 are reserved (RFC 6455 §5.2)"}
	errReservedBits      = &ProtocolError{CodeProtocolError, "reserved bits must be 0 unless an extension defines them (RFC 6455 §5.2)"}
	errCompressedBit     = &ProtocolError{CodeProtocolError, "RSV1 is only for the first frame of a data message (RFC 7692 §6.1)"}
	errNotMasked         = &ProtocolError{CodeProtocolError, "a client must mask every frame, empty ones too (RFC 6455 §5.1)"}
	errMasked            = &ProtocolError{CodeProtocolError, "a server must not mask a frame (RFC 6455 §5.1)"}
	errControlFragmented = &ProtocolError{CodeProtocolError, "a control frame must not be fragmented (RFC 6455 §5.5)"}
	errControlTooLong    = &ProtocolError{CodeProtocolError, "a control frame carries at most 125 bytes (RFC 6455 §5.5)"}
	errNothingToContinue = &ProtocolError{CodeProtocolError, "a continuation frame without a message to continue (RFC 6455 §5.4)"}
	errMessageNotEnded   = &ProtocolError{CodeProtocolError, "a new message before the last one ended (RFC 6455 §5.4)"}
)

// Check reports whether a frame with header h may arrive in state s: nil, or a
// [*ProtocolError] naming the first rule that it breaks. It allocates nothing.
func Check(h Header, s State) error {
	switch {
	// §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
	case h.Opcode&7 > 2:
		return errReservedOpcode

	// §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
	case h.Rsv != 0 && (h.Rsv != 4 || !s.Compression):
		return errReservedBits

	// RFC 7692 §6.1: not on "control frames and non-first fragments of a data message".
	case h.Rsv != 0 && h.Opcode != Text && h.Opcode != Binary:
		return errCompressedBit

	// §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
	case s.FromClient && !h.Masked:
		return errNotMasked

	// §5.1: "A client MUST close a connection if it detects a masked frame."
	case !s.FromClient && h.Masked:
		return errMasked

	// §5.5: "All control frames [...] MUST NOT be fragmented."
	case h.Opcode.Control() && !h.Fin:
		return errControlFragmented

	// §5.5: "All control frames MUST have a payload length of 125 bytes or less".
	case h.Opcode.Control() && h.Length > MaxControlPayload:
		return errControlTooLong

	// §5.4: a message begins with a frame whose opcode is not 0.
	case h.Opcode == Continuation && !s.Fragmented:
		return errNothingToContinue

	// §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
	case (h.Opcode == Text || h.Opcode == Binary) && s.Fragmented:
		return errMessageNotEnded
	}
	return nil
}
