package ws

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// What arrives may be anything, in pieces of any size:
//
//	go test -fuzz FuzzConn -fuzztime 10m ./ws
//
// The corpus of testdata/fuzz is what every run of the tests repeats.

// The bits of a fuzzing run's mode.
const (
	fuzzScript   = 1 << iota // the bytes are a script of frames
	fuzzDeflates             // messages may be compressed
	fuzzTakeover             // with reference to those before
	fuzzStreams              // OnData is called when 64 bytes of a message have come
	fuzzByRead               // the handler uses Read, and Bytes for the rest of every second message
	fuzzSkips                // the handler reads 10 bytes of a message
	fuzzPauses               // the client has to pause after every second frame
	fuzzTextOnly             // Options.TextOnly
)

// fuzzed is what became of the bytes that a client sent.
type fuzzed struct {
	messages string // read to their end
	replies  string
	code     Code
}

func (z fuzzed) String() string {
	return fmt.Sprintf("%v\n-- read:\n%s-- sent:\n%s", z.code, z.messages, z.replies)
}

// fuzzer feeds connections, one after another.
type fuzzer struct {
	testing.TB
	functions
	mode      byte
	endpoints map[byte]*Endpoint // by mode
	result    fuzzed
	closed    int
	peer      *takeoverPeer
}

// Enabled and the following make a fuzzer the log of its endpoints, in which
// nothing but panics is an error.
func (f *fuzzer) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (f *fuzzer) WithAttrs([]slog.Attr) slog.Handler               { return f }
func (f *fuzzer) WithGroup(string) slog.Handler                    { return f }
func (f *fuzzer) Handle(_ context.Context, r slog.Record) error {
	f.Error(r.Message)
	r.Attrs(func(a slog.Attr) bool { f.Log(a); return true })
	return nil
}

// endpoint returns the one for the mode.
func (f *fuzzer) endpoint() *Endpoint {
	if f.endpoints[f.mode] == nil {
		options := Options{
			MaxMessageSize: 64 << 10, MaxFrameSize: 40 << 10, MaxFramesPerMessage: 20, AutoFrameSize: -1,
			MaxBytesPerMinute: -1, MaxFramesPerSecond: -1, HeartbeatPeriod: -1, ClosePeriod: -1,
			TextOnly: f.mode&fuzzTextOnly != 0, Logger: slog.New(f),
		}
		switch {
		case f.mode&fuzzStreams != 0:
			options.AutoFrameSize = 64
		case f.mode&fuzzPauses != 0: // not where a handler would wait for a second
			options.MaxFramesPerSecond = 2
		}
		f.onData, f.onClose = f.read, f.close
		f.endpoints[f.mode] = newEndpoint(&f.functions, options)
	}
	return f.endpoints[f.mode]
}

// terms are what was negotiated. Without takeover what a handler does not read
// is not inflated, and so not examined, unless it was there as a whole.
func (f *fuzzer) terms() deflate.Terms {
	switch {
	case f.mode&fuzzDeflates == 0:
		return 0
	case f.mode&fuzzTakeover != 0, f.mode&fuzzSkips != 0 && f.mode&fuzzStreams != 0:
		terms, _, _ := deflate.Accept([]string{"permessage-deflate"}, true)
		return terms
	}
	return 15
}

// feed reads the pieces.
func (f *fuzzer) feed(pieces [][]byte) fuzzed {
	f.result, f.closed = fuzzed{}, 0
	came := 0
	p := openPipe(f.endpoint(), &pipe{pieces: pieces}, f.terms())
	p.watch = func(r *reader, n int) {
		if came += n; cap(r.in.gathered) > 64<<10+16*came {
			f.Errorf("a buffer of %d bytes for %d", cap(r.in.gathered), came)
		}
	}
	p.run()
	if f.closed != 1 || p.in != nil || p.out != nil {
		f.Errorf("OnClose was called %d times; left are %+v, %+v", f.closed, p.in, p.out)
	}
	var err error
	if f.result.replies, err = replies(p.written, f.terms().Enabled()); err != nil {
		f.Error(err)
	}
	return f.result
}

// expect returns what has to become of the bytes.
func (f *fuzzer) expect(wire []byte) fuzzed {
	o := &oracle{options: f.endpoint().options, deflate: f.terms(), skips: f.mode&fuzzSkips != 0}
	return o.read(wire)
}

func (f *fuzzer) close(_ ClientID, code Code, reason string) {
	f.closed++
	f.result.code = code
}

// read is OnData: a message that is read to its end is echoed.
func (f *fuzzer) read(id ClientID, m *Message) {
	var body []byte
	var err error
	switch {
	case f.mode&fuzzSkips != 0:
		m.Read(make([]byte, 10))
		return
	case f.mode&fuzzByRead != 0:
		body, err = f.readPieces(m)
	default:
		body, err = m.Bytes()
	}
	var closed *CloseError
	if err != nil {
		if !errors.As(err, &closed) {
			f.Errorf("reading ends with %v", err)
		}
		return
	}
	kind := frame.Text
	if m.Binary() {
		kind = frame.Binary
	}
	f.result.messages += fmt.Sprintf("%v %q\n", kind, body)
	f.endpoint().SendBinary(body, id)
}

// readPieces reads m in pieces, of which each is text as far as it goes.
func (f *fuzzer) readPieces(m *Message) (body []byte, err error) {
	var text frame.UTF8
	for p := make([]byte, 7); ; {
		n, err := m.Read(p)
		if body = append(body, p[:n]...); !m.Binary() && !text.Valid(p[:n]) {
			f.Errorf("a piece of text is not UTF-8: %q", body)
		}
		switch {
		case err == nil && len(body) > 14 && len(f.result.messages)%2 > 0:
			rest, err := m.Bytes()
			return append(body, rest...), err
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case n == 0:
			f.Error("Read returned nothing")
		}
	}
}

// clientFrame returns a frame as a client sends it. Its key is zero: what is
// changed in the payload arrives as it is.
func clientFrame(first byte, payload string) string {
	h := frame.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, Opcode: frame.Opcode(first & 15), Masked: true, Length: int64(len(payload))}
	return string(frame.AppendHeader(nil, h)) + payload
}

// takeoverPeer compresses with its earlier messages in its window.
type takeoverPeer struct {
	writer *flate.Writer
	out    bytes.Buffer
}

func newTakeoverPeer() *takeoverPeer {
	p := new(takeoverPeer)
	p.writer, _ = flate.NewWriter(&p.out, flate.BestSpeed)
	return p
}

func (p *takeoverPeer) compress(message []byte) []byte {
	p.out.Reset()
	p.writer.Write(message)
	p.writer.Flush()
	return bytes.Clone(bytes.TrimSuffix(p.out.Bytes(), []byte("\x00\x00\xff\xff")))
}

// script turns bytes into frames whose lengths fit: the first byte of a frame,
// the number of payload bytes, and these. From 240 on the number is of 2,600
// bytes that are all alike. With RSV1 they are compressed; where the message
// goes on, the other half of them is the next continuation's payload.
func (f *fuzzer) script(p []byte) (wire []byte) {
	f.peer.writer.Reset(&f.peer.out)
	var rest []byte
	for len(p) >= 2 {
		first, n := p[0], int(p[1])
		payload := p[2:][:min(n, len(p)-2)]
		if p = p[2+len(payload):]; n >= 240 && len(payload) > 0 {
			payload, p = bytes.Repeat(payload[:1], 2600*(n-239)), append(payload[1:], p...)
		}
		switch {
		case first&0x7f == 0x41, first&0x7f == 0x42:
			if f.terms().Takeover() {
				payload = f.peer.compress(payload)
			} else {
				payload = deflate.Compress(nil, payload, 1)
			}
			if first < 0x80 {
				payload, rest = payload[:len(payload)/2], payload[len(payload)/2:]
			}
		case first&0x7f == 0 && rest != nil:
			payload, rest = rest, nil
		}
		h := frame.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, Opcode: frame.Opcode(first & 15), Masked: true, Length: int64(len(payload))}
		h.Key = [4]byte{first, byte(n), 0x5a, byte(len(p))}
		wire = append(frame.AppendHeader(wire, h), payload...)
		frame.Mask(wire[len(wire)-len(payload):], h.Key, 0)
	}
	return append(wire, p...)
}

// cut cuts bytes into pieces of these sizes, over and over.
func cut(wire, sizes []byte) (pieces [][]byte) {
	for i := 0; len(wire) > 0; i++ {
		n := len(wire)
		if len(sizes) > 0 {
			n = min(n, 1+int(sizes[i%len(sizes)]))
		}
		pieces = append(pieces, append([]byte(nil), wire[:n]...))
		wire = wire[n:]
	}
	return pieces
}

// Whatever a client sends, and however it is cut: what the handler reads and
// the client is answered is what the standards say, and no more memory is taken
// than what came explains.
func FuzzConn(f *testing.F) {
	small := string(deflate.Compress(nil, []byte(strings.Repeat("text ", 50)), 1))
	long := make([]byte, 1000)
	for i := range long {
		long[i] = byte(i * i % 127)
	}
	long[500] = 0xff
	bad := string(deflate.Compress(nil, long, 1))
	cutShort := string(deflate.Compress(nil, append(long[:499:499], "\xe2\x82"...), 1))
	const hello, again, final = "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00"
	add := func(wire string, modes ...byte) {
		for i, mode := range modes {
			f.Add([]byte(wire), []byte{byte(7 * i), 0, 40}, mode)
		}
	}
	for _, wire := range []string{
		clientFrame(0x81, "hello") + clientFrame(0x82, "\x00\xff") + clientFrame(0x88, "\x03\xe8bye"),
		clientFrame(0x01, "h\xc3") + clientFrame(0x89, "ping") + clientFrame(0x00, "") + clientFrame(0x80, "\xa9llo"),
		clientFrame(0x82, strings.Repeat("x", 200)) + clientFrame(0x8a, "12345678") + clientFrame(0x81, ""),
		clientFrame(0x81, "\xff") + clientFrame(0x81, "more"),
		clientFrame(0x81, "a character's beginning \xe2\x82"),
		clientFrame(0x88, "\x03\xed") + clientFrame(0x88, "\x03"),
		strings.Repeat(clientFrame(0x89, "p"), 9) + strings.Repeat(clientFrame(0x00, ""), 2),
		clientFrame(0x01, "") + strings.Repeat(clientFrame(0x00, ""), 20),
		"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x81\x01\x02\x03\x04x", // RFC 6455 §5.7
		"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",              // RFC 6455 §5.2: the top bit is 0
		"\x02\x81\x00\x00\x00\x00x\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
	} {
		add(wire, 0, fuzzStreams|fuzzByRead, fuzzSkips, fuzzPauses|fuzzTextOnly)
	}
	for _, wire := range []string{
		clientFrame(0xc1, small) + clientFrame(0xc1, small) + clientFrame(0x81, "plain"),
		clientFrame(0x41, small[:5]) + clientFrame(0x89, "") + clientFrame(0x00, small[5:9]) + clientFrame(0x80, small[9:]),
		clientFrame(0xc1, bad), clientFrame(0xc1, cutShort),
		clientFrame(0xc1, hello) + clientFrame(0xc1, again) + clientFrame(0xc2, final+again),
	} {
		add(wire, fuzzDeflates, fuzzDeflates|fuzzTakeover, fuzzDeflates|fuzzStreams|fuzzByRead, fuzzDeflates|fuzzStreams|fuzzSkips)
	}
	for _, frames := range []string{
		"\x81\xf8x\x89\x01p\x81\xffy",           // large frames; the second is too large
		"\x02\xf9a\x00\xf9b\x89\x00\x80\x03end", // a large message
		"\x01\xfaa\x80\xfab",                    // one that is too large
		"\x41\x40" + strings.Repeat("compressed text ", 4) + "\x89\x00\x80\x00\xc2\xf0z\x88\x02\x03\xe8",
		"\xc1\xffa\xc1\xffa",
		strings.Repeat("\x81\x20read by Read, or the rest by Bytes", 3),
	} {
		add(frames, fuzzScript, fuzzScript|fuzzDeflates|fuzzTakeover, fuzzScript|fuzzDeflates|fuzzStreams)
	}
	fuzzer := &fuzzer{endpoints: make(map[byte]*Endpoint), peer: newTakeoverPeer()}
	f.Fuzz(func(t *testing.T, wire, sizes []byte, mode byte) {
		fuzzer.TB, fuzzer.mode = t, mode
		if mode&fuzzScript != 0 {
			wire = fuzzer.script(wire)
		}
		want := fuzzer.expect(wire)
		for _, sizes := range [][]byte{nil, sizes} {
			if got := fuzzer.feed(cut(wire, sizes)); got != want {
				t.Errorf("pieces %v of % x\ngot %v\nwant %v", sizes, wire, got, want)
			}
		}
	})
}
