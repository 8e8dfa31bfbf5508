package frame_test

import (
	"fmt"

	"aerys/ws/frame"
)

// A masked text frame, as a browser sends it.
func Example() {
	received := []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")

	h, n, err := frame.ParseHeader(received)
	if err != nil || n == 0 {
		return // fail the connection, or read more
	}
	if err := frame.Check(h, frame.State{FromClient: true}); err != nil {
		return // fail the connection
	}
	payload := received[n:][:h.Length]
	frame.Mask(payload, h.Key, 0)
	var text frame.UTF8
	fmt.Println(h.Opcode, h.Fin, string(payload), text.Valid(payload) && text.Complete())
	// Output: text true Hello true
}

func ExampleParseHeader() {
	received := []byte("\x82\x7E\x01\x00...")
	for size := range len(received) {
		if h, n, err := frame.ParseHeader(received[:size]); n > 0 && err == nil {
			fmt.Println(n, "bytes of header,", h.Length, "bytes of", h.Opcode)
			break
		}
		fmt.Println(size, "bytes are too few")
	}
	_, _, err := frame.ParseHeader([]byte("\x82\x7E\x00\x05Hello"))
	fmt.Println(err)
	// Output:
	// 0 bytes are too few
	// 1 bytes are too few
	// 2 bytes are too few
	// 3 bytes are too few
	// 4 bytes of header, 256 bytes of binary
	// websocket: the payload length must be sent in its shortest form (RFC 6455 §5.2), close code 1002 protocol error
}

func ExampleAppendHeader() {
	out := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Text, Length: 5})
	fmt.Printf("%q\n", append(out, "Hello"...))
	// Output: "\x81\x05Hello"
}

func ExampleCheck() {
	unmasked := frame.Header{Fin: true, Opcode: frame.Text}
	err := frame.Check(unmasked, frame.State{FromClient: true})
	if e, ok := err.(*frame.ProtocolError); ok {
		payload := frame.AppendClose(nil, e.Code, e.Reason)
		fmt.Printf("%q\n", payload)
	}
	// Output: "\x03\xeaa client must mask every frame, empty ones too (RFC 6455 §5.1)"
}

// A payload that arrives in two pieces is unmasked as it comes.
func ExampleMask() {
	key := [4]byte{'k', 'e', 'y', '!'}
	first, second := []byte("#\x00\x15"), []byte("M\x04")
	frame.Mask(first, key, 0)
	frame.Mask(second, key, len(first))
	fmt.Printf("%s%s\n", first, second)
	// Output: Hello
}

func ExampleParseClose() {
	code, reason, err := frame.ParseClose([]byte("\x03\xe9see you"))
	fmt.Println(code, reason, err)
	code, reason, err = frame.ParseClose(nil)
	fmt.Println(code, reason, err)
	_, _, err = frame.ParseClose([]byte("\x03\xee"))
	fmt.Println(err)
	// Output:
	// 1001 going away see you <nil>
	// 1005 no status  <nil>
	// websocket: a status code that must not be sent (RFC 6455 §7.4), close code 1002 protocol error
}

// The euro sign, cut by a border between two fragments.
func ExampleUTF8() {
	var text frame.UTF8
	fmt.Println(text.Valid([]byte("12 \xe2\x82")), text.Complete())
	fmt.Println(text.Valid([]byte("\xac")), text.Complete())
	fmt.Println(text.Valid([]byte("\xff")), text.Complete())
	// Output:
	// true false
	// true true
	// false false
}

// Control frames are never longer than 125 bytes, and may stand between the
// frames of a message.
func ExampleOpcode() {
	for _, opcode := range []frame.Opcode{frame.Continuation, frame.Text, frame.Binary, frame.Close, frame.Ping, frame.Pong} {
		fmt.Println(opcode, opcode.Control())
	}
	fmt.Println(frame.MaxHeaderSize, frame.MaxControlPayload)
	// Output:
	// continuation false
	// text false
	// binary false
	// close true
	// ping true
	// pong true
	// 14 125
}

// Some codes are only ever told by one's own side.
func ExampleCode_Sendable() {
	for _, code := range []frame.Code{
		frame.CodeNormal, frame.CodeGoingAway, frame.CodeProtocolError, frame.CodeUnsupportedData, frame.CodeNoStatus,
		frame.CodeAbnormal, frame.CodeInvalidPayload, frame.CodePolicyViolation, frame.CodeTooBig, frame.CodeMandatoryExtension,
		frame.CodeInternalError, frame.CodeServiceRestart, frame.CodeTryAgainLater, frame.CodeBadGateway, frame.CodeTLSHandshake,
	} {
		if !code.Sendable() {
			fmt.Println(code)
		}
	}
	// Output:
	// 1005 no status
	// 1006 abnormal closure
	// 1015 TLS handshake
}
