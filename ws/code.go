package ws

import (
	"fmt"

	"aerys/ws/frame"
)

// ClientID names one connection of an Endpoint. An id is never used again by
// the same Endpoint (after four billion reuses of its slot it may be).
type ClientID uint64

// Code is the status code of a closing handshake (RFC 6455 §7.4).
type Code = frame.Code

// The status codes of RFC 6455 §7.4.1 and of IANA's registry. CodeNoStatus and
// CodeAbnormal are never on the wire: OnClose gets them for a close frame
// without a code, and for a connection that was lost.
const (
	CodeNormal             = frame.CodeNormal
	CodeGoingAway          = frame.CodeGoingAway
	CodeProtocolError      = frame.CodeProtocolError
	CodeUnsupportedData    = frame.CodeUnsupportedData
	CodeNoStatus           = frame.CodeNoStatus
	CodeAbnormal           = frame.CodeAbnormal
	CodeInvalidPayload     = frame.CodeInvalidPayload
	CodePolicyViolation    = frame.CodePolicyViolation
	CodeTooBig             = frame.CodeTooBig
	CodeMandatoryExtension = frame.CodeMandatoryExtension
	CodeInternalError      = frame.CodeInternalError
	CodeServiceRestart     = frame.CodeServiceRestart
	CodeTryAgainLater      = frame.CodeTryAgainLater
	CodeBadGateway         = frame.CodeBadGateway
	CodeTLSHandshake       = frame.CodeTLSHandshake
)

// CloseError is why nothing more can be read: the code and reason of whoever
// closed the connection first, CodeAbnormal if it was lost.
type CloseError struct {
	Code   Code
	Reason string
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("ws: closed with %v, reason %q", e.Code, e.Reason)
}
