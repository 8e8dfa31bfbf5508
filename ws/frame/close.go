package frame

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// Code is the status code of a closing (RFC 6455 §7.4). Applications may use 4000–4999
// for themselves; 3000–3999 are registered with IANA.
type Code uint16

// The status codes of RFC 6455 §7.4.1, and those added to IANA's registry since.
const (
	CodeNormal             Code = 1000 // the purpose is fulfilled
	CodeGoingAway          Code = 1001 // the server stops, or the user left the page
	CodeProtocolError      Code = 1002 // the peer broke the protocol
	CodeUnsupportedData    Code = 1003 // a kind of message that is not accepted, such as binary
	CodeNoStatus           Code = 1005 // never sent: the close frame had no code
	CodeAbnormal           Code = 1006 // never sent: the connection was lost without a close frame
	CodeInvalidPayload     Code = 1007 // the data is not of its type, such as text that is not UTF-8
	CodePolicyViolation    Code = 1008 // a message, or behaviour, against the endpoint's policy
	CodeTooBig             Code = 1009 // a message larger than the endpoint accepts
	CodeMandatoryExtension Code = 1010 // sent by a client: the server lacks an extension
	CodeInternalError      Code = 1011 // the server met an unexpected condition
	CodeServiceRestart     Code = 1012 // the server restarts: come back in a while
	CodeTryAgainLater      Code = 1013 // the server is overloaded
	CodeBadGateway         Code = 1014 // a server further on gave an invalid answer
	CodeTLSHandshake       Code = 1015 // never sent: the TLS handshake failed
)

var codeNames = [...]string{
	CodeNormal - 1000:             "normal closure",
	CodeGoingAway - 1000:          "going away",
	CodeProtocolError - 1000:      "protocol error",
	CodeUnsupportedData - 1000:    "unsupported data",
	CodeNoStatus - 1000:           "no status",
	CodeAbnormal - 1000:           "abnormal closure",
	CodeInvalidPayload - 1000:     "invalid payload",
	CodePolicyViolation - 1000:    "policy violation",
	CodeTooBig - 1000:             "message too big",
	CodeMandatoryExtension - 1000: "mandatory extension",
	CodeInternalError - 1000:      "internal error",
	CodeServiceRestart - 1000:     "service restart",
	CodeTryAgainLater - 1000:      "try again later",
	CodeBadGateway - 1000:         "bad gateway",
	CodeTLSHandshake - 1000:       "TLS handshake",
}

// String returns the number and the name of c, such as "1001 going away", or the number alone.
func (c Code) String() string {
	number := strconv.Itoa(int(c))
	if i := int(c) - 1000; i >= 0 && i < len(codeNames) && codeNames[i] != "" {
		return number + " " + codeNames[i]
	}
	return number
}

// Sendable reports whether c may stand in a close frame: 1000–1003, 1007–1014 and
// 3000–4999. 1004–1006 and 1015 are forbidden, 1016–2999 belong to the protocol's future
// (RFC 6455 §7.4).
func (c Code) Sendable() bool {
	return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999
}

var (
	errCloseOneByte = &ProtocolError{CodeProtocolError, "a close payload of one byte: a status code takes two (RFC 6455 §5.5.1)"}
	errCloseCode    = &ProtocolError{CodeProtocolError, "a status code that must not be sent (RFC 6455 §7.4)"}
	errCloseReason  = &ProtocolError{CodeInvalidPayload, "a close reason that is not UTF-8 (RFC 6455 §8.1)"}
)

// AppendClose appends the payload of a close frame, which is always a valid one of at most
// [MaxControlPayload] bytes (RFC 6455 §5.5.1): a code that is not [Code.Sendable], such as
// CodeNoStatus, leaves it empty; a reason longer than 123 bytes is cut between two characters,
// and bytes that are not UTF-8 become U+FFFD.
func AppendClose(dst []byte, code Code, reason string) []byte {
	if !code.Sendable() {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	room := MaxControlPayload - 2
	for _, r := range reason {
		if room -= utf8.RuneLen(r); room < 0 {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// ParseClose reads the payload of a close frame (RFC 6455 §5.5.1). An empty one is
// [CodeNoStatus]. The error is a [*ProtocolError]: CodeProtocolError for a single byte or
// a code that must not be sent, CodeInvalidPayload for a reason that is not UTF-8.
func ParseClose(payload []byte) (code Code, reason string, err error) {
	switch len(payload) {
	case 0:
		return CodeNoStatus, "", nil
	case 1:
		return 0, "", errCloseOneByte
	}
	code = Code(binary.BigEndian.Uint16(payload))
	if !code.Sendable() {
		return 0, "", errCloseCode
	}
	if !utf8.Valid(payload[2:]) {
		return 0, "", errCloseReason
	}
	return code, string(payload[2:]), nil
}
