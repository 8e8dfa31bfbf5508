package ws

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// oracle is the reading of RFC 6455 and RFC 7692 once more: slowly, from bytes
// that are all there, and with nothing of ours but the codes.
type oracle struct {
	options *Options
	deflate deflate.Terms
	skips   bool // the handler does not read messages to their end
	fuzzed       // what is expected

	// Of the message under way:
	opcode     frame.Opcode
	compressed bool
	frames     int
	announced  int64 // by the headers so far
	payload    []byte
	window     []byte // the end of the messages before
}

// read returns what has to become of the bytes.
func (o *oracle) read(wire []byte) fuzzed {
	for o.code == 0 {
		if wire = o.frame(wire); wire == nil {
			o.end(CodeAbnormal)
		}
	}
	return o.fuzzed
}

func (o *oracle) end(code Code) {
	if o.code == 0 {
		o.code = code
	}
}

// fail closes the client for what it did.
func (o *oracle) fail(code Code) {
	o.end(code)
	o.replies += fmt.Sprintf("close %d\n", code)
}

// frame reads one frame, or what there is of it: then nothing is left, nil.
func (o *oracle) frame(wire []byte) (rest []byte) {
	h, n, ok := o.header(wire)
	if !ok {
		o.fail(CodeProtocolError)
	}
	if !ok || n == 0 {
		return nil
	}
	whole := int64(len(wire)-n) >= h.Length
	payload := bytes.Clone(wire[n:])
	if whole {
		payload = payload[:h.Length]
	}
	for i := range payload {
		payload[i] ^= h.Key[i%4]
	}
	switch {
	case h.Opcode < 8:
		o.data(h, payload)
	case whole:
		o.control(h, payload)
	}
	if !whole {
		return nil
	}
	return wire[n+len(payload):]
}

// header reads a header; its size is 0 if it is not whole, and ok false if
// there can be no such header now.
func (o *oracle) header(p []byte) (h frame.Header, n int, ok bool) {
	if len(p) < 2 {
		return h, 0, true
	}
	h.Length, n = int64(p[1]&0x7f), 2
	switch {
	case h.Length == 126 && len(p) < 4:
		return h, 0, true
	case h.Length == 126:
		h.Length, n = int64(binary.BigEndian.Uint16(p[2:])), 4
		ok = h.Length > 125
	case h.Length == 127 && len(p) < 10: // a fault may show early
		return h, 0, !(len(p) > 2 && p[2] > 0x7f || len(p) >= 8 && bytes.Equal(p[2:8], make([]byte, 6)))
	case h.Length == 127:
		h.Length, n = int64(binary.BigEndian.Uint64(p[2:])), 10
		ok = h.Length > 0xffff
	default:
		ok = true
	}
	if !ok {
		return h, n, false
	}
	if masked := p[1] > 0x7f; masked {
		if len(p) < n+4 {
			return h, 0, true
		}
		h.Masked, h.Key = true, [4]byte(p[n:])
		n += 4
	}
	h.Fin, h.Rsv, h.Opcode = p[0] > 0x7f, p[0]>>4&7, frame.Opcode(p[0]&15)
	return h, n, o.allowed(h)
}

// allowed are RFC 6455 §5.1, §5.2, §5.4, §5.5, and RFC 7692 §6.
func (o *oracle) allowed(h frame.Header) bool {
	switch h.Opcode {
	case 8, 9, 10:
		return h.Masked && h.Rsv == 0 && h.Fin && h.Length < 126
	case 0:
		return h.Masked && h.Rsv == 0 && o.opcode != 0
	case 1, 2:
		return h.Masked && (h.Rsv == 0 || h.Rsv == 4 && o.deflate != 0) && o.opcode == 0
	}
	return false
}

func (o *oracle) control(h frame.Header, payload []byte) {
	switch {
	case h.Opcode == frame.Ping:
		o.replies += fmt.Sprintf("pong %q\n", payload)
	case h.Opcode == frame.Pong:
	case len(payload) == 0:
		o.end(CodeNoStatus)
		o.replies += fmt.Sprintf("close %d\n", CodeNoStatus)
	case len(payload) == 1:
		o.fail(CodeProtocolError)
	default:
		code := Code(binary.BigEndian.Uint16(payload))
		switch {
		case code < 1000, 1003 < code && code < 1007, 1014 < code && code < 3000, code > 4999:
			code = CodeProtocolError
		case !utf8.Valid(payload[2:]):
			code = CodeInvalidPayload
		}
		o.fail(code)
	}
}

// data takes a data frame, or what there is of it.
func (o *oracle) data(h frame.Header, payload []byte) {
	if h.Opcode != 0 {
		o.opcode, o.compressed = h.Opcode, h.Rsv != 0
	}
	o.frames++
	switch {
	case h.Length > o.options.MaxFrameSize, h.Length > o.options.MaxMessageSize-o.announced:
		o.fail(CodeTooBig)
		return
	case o.frames > o.options.MaxFramesPerMessage:
		o.fail(CodePolicyViolation)
		return
	case h.Opcode == frame.Binary && o.options.TextOnly:
		o.fail(CodeUnsupportedData)
		return
	}
	o.announced += h.Length
	o.payload = append(o.payload, payload...)
	whole := h.Fin && int64(len(payload)) == h.Length
	body, code := o.payload, Code(0)
	switch {
	case o.compressed && (whole || len(o.payload) >= o.options.AutoFrameSize):
		body, code = o.inflate(whole)
	case !o.compressed && o.opcode == frame.Text && !isText(o.payload, whole):
		code = CodeInvalidPayload
	}
	switch {
	case code != 0:
		o.fail(code)
	case whole:
		o.deliver(body)
	}
}

// deliver is what the handler does with a message: see fuzzer.read.
func (o *oracle) deliver(body []byte) {
	if !o.skips {
		o.messages += fmt.Sprintf("%v %q\n", o.opcode, body)
		o.replies += fmt.Sprintf("binary %q\n", body)
	}
	o.opcode, o.frames, o.announced, o.payload = 0, 0, 0, nil
}

// isText reports whether p is UTF-8, or may still become so.
func isText(p []byte, whole bool) bool {
	for len(p) > 0 {
		r, size := utf8.DecodeRune(p)
		if r == utf8.RuneError && size == 1 {
			return !whole && !utf8.FullRune(p)
		}
		p = p[size:]
	}
	return true
}

// inflateEnd is what completes a payload: what the sender cut off (RFC 7692
// §7.2.1), and an empty last block.
const inflateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate inflates the payload as far as it is there, and returns the code to
// close with if it is damaged or too much.
func (o *oracle) inflate(whole bool) (body []byte, code Code) {
	wire := o.payload
	if whole {
		wire = append(bytes.Clone(wire), inflateEnd...)
	}
	source := &hungry{Reader: bytes.NewReader(wire)}
	for dict := o.window; source.Len() > 0 && !(whole && source.Len() == len(inflateEnd)); dict = nil {
		stream := flate.NewReaderDict(source, dict)
		for err := error(nil); err == nil; {
			var n int
			p := make([]byte, 1000)
			n, err = stream.Read(p)
			if source.starved && !whole {
				return nil, 0 // the rest is not known yet
			}
			body = append(body, p[:n]...)
			switch {
			case int64(len(body)) > o.options.MaxMessageSize:
				return nil, CodeTooBig
			case o.opcode == frame.Text && o.streams() && !isText(body, false), err != nil && err != io.EOF:
				return nil, CodeInvalidPayload
			}
		}
	}
	if o.opcode == frame.Text && !isText(body, whole) {
		return nil, CodeInvalidPayload
	}
	if o.deflate.Takeover() && whole {
		o.window = append(o.window, body...)
		o.window = o.window[max(0, len(o.window)-32<<10):]
	}
	return body, 0
}

func (o *oracle) streams() bool { return o.options.AutoFrameSize < 1<<20 }

// hungry is a reader that knows whether it was asked for more than it had.
type hungry struct {
	*bytes.Reader
	starved bool
}

func (h *hungry) ReadByte() (byte, error) {
	b, err := h.Reader.ReadByte()
	h.starved = h.starved || err != nil
	return b, err
}

func (h *hungry) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.starved = h.starved || err != nil
	return n, err
}

// replies tells what a client is sent, and sees that it would accept it.
func replies(wire []byte, compression bool) (told string, err error) {
	for closed := false; len(wire) > 0; {
		h, n, err := frame.ParseHeader(wire)
		if err == nil {
			err = frame.Check(h, frame.State{Compression: compression})
		}
		if err != nil || n == 0 || closed || int64(len(wire)-n) < h.Length {
			return told, errors.Join(err, fmt.Errorf("this must not be sent: % x", wire))
		}
		payload := wire[n:][:h.Length]
		wire = wire[n+len(payload):]
		switch {
		case h.Opcode == frame.Close:
			closed = true
			code, _, err := frame.ParseClose(payload)
			if err != nil {
				return told, err
			}
			told += fmt.Sprintf("close %d\n", code)
			continue
		case h.Rsv != 0:
			if payload, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte(inflateEnd))))); err != nil {
				return told, err
			}
		}
		told += fmt.Sprintf("%v %q\n", h.Opcode, payload)
	}
	return told, nil
}
