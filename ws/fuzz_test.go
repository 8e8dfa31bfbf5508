package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"aerys/ws/frame"
)

// What arrives may be anything, in pieces of any size:
//
//	go test -fuzz FuzzConn -fuzztime 10m ./ws
//
// The corpus of testdata/fuzz is what every run of the tests repeats.

// The bits of a fuzzing run's mode.
const (
	fuzzStreams  = 1 << iota // OnData is called when 64 bytes of a message have come
	fuzzTextOnly             // Options.TextOnly
	fuzzDeflates             // messages may be compressed
	fuzzTakeover             // with reference to those before
	fuzzPauses               // the client has to pause after every second frame
	fuzzByRead               // the handler uses Read, not Bytes
	fuzzSkips                // the handler reads 10 bytes of a message
)

// fuzzed is what became of the bytes that a client sent.
type fuzzed struct {
	messages string // read to their end
	sent     string
	code     Code
	reason   string
}

func (z fuzzed) String() string {
	return fmt.Sprintf("%v %q, read: %q, sent: %q", z.code, z.reason, z.messages, z.sent)
}

// fuzzer feeds connections, one after another.
type fuzzer struct {
	testing.TB
	functions
	mode      byte
	endpoints map[byte]*Endpoint // by mode
	result    fuzzed
	closed    int
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
			MaxMessageSize: 64 << 10, MaxFrameSize: 40 << 10, MaxFramesPerMessage: 20,
			MaxBytesPerMinute: -1, MaxFramesPerSecond: -1, HeartbeatPeriod: -1, ClosePeriod: -1,
			TextOnly: f.mode&fuzzTextOnly != 0, Logger: slog.New(f),
		}
		switch {
		case f.mode&fuzzStreams != 0:
			options.AutoFrameSize = 64
		case f.mode&fuzzPauses != 0: // not where a handler would wait for a second
			options.MaxFramesPerSecond, options.AutoFrameSize = 2, -1
		}
		f.onData, f.onClose = f.read, f.close
		f.endpoints[f.mode] = newEndpoint(&f.functions, options)
	}
	return f.endpoints[f.mode]
}

// feed reads the pieces.
func (f *fuzzer) feed(mode byte, pieces [][]byte) fuzzed {
	f.mode, f.result, f.closed = mode, fuzzed{}, 0
	deflate := deflateParams(0)
	if mode&fuzzDeflates != 0 {
		deflate = 15
		if mode&fuzzTakeover != 0 {
			deflate |= deflateTakeover
		}
	}
	came := 0
	p := openPipe(f.endpoint(), &pipe{pieces: pieces}, deflate)
	p.watch = func(t *turn, n int) {
		if came += n; cap(t.in.gathered) > 64<<10+16*came {
			f.Errorf("a buffer of %d bytes for %d", cap(t.in.gathered), came)
		}
	}
	p.run()
	if f.closed != 1 || p.in != nil || p.out != nil {
		f.Errorf("OnClose was called %d times; left are %+v, %+v", f.closed, p.in, p.out)
	}
	f.result.sent = string(p.written)
	f.checkSent(p.written, deflate.enabled())
	return f.result
}

func (f *fuzzer) close(_ ClientID, code Code, reason string) {
	f.closed++
	f.result.code, f.result.reason = code, reason
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
	switch {
	case err != nil && !errors.As(err, &closed):
		f.Errorf("reading ends with %v", err)
	case err != nil:
		return
	case !m.Binary() && !utf8.Valid(body):
		f.Errorf("text is not UTF-8: %q", body)
	case len(body) > 64<<10:
		f.Errorf("a message of %d bytes", len(body))
	}
	kind := "\ntext: "
	if m.Binary() {
		kind = "\nbinary: "
	}
	f.result.messages += kind + string(body)
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
		case err == io.EOF:
			return body, nil
		case err != nil:
			return nil, err
		case n == 0:
			f.Error("Read returned nothing")
		}
	}
}

// checkSent sees that a client would accept what was sent.
func (f *fuzzer) checkSent(wire []byte, compression bool) {
	for closed := false; len(wire) > 0; {
		h, n, err := frame.ParseHeader(wire)
		if err == nil {
			err = frame.Check(h, frame.State{Compression: compression})
		}
		if err != nil || n == 0 || closed || int64(len(wire)-n) < h.Length {
			f.Fatalf("this must not be sent: % x (%v)", wire, err)
		}
		closed = h.Opcode == frame.Close
		wire = wire[n+int(h.Length):]
	}
}

// clientFrame returns a frame as a client sends it. Its key is zero: what is
// changed in the payload arrives as it is.
func clientFrame(first byte, payload string) string {
	h := frame.Header{Fin: first&0x80 != 0, Rsv: first >> 4 & 7, Opcode: frame.Opcode(first & 15), Masked: true, Length: int64(len(payload))}
	return string(frame.AppendHeader(nil, h)) + payload
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

// Bytes never make a connection panic, deliver text that is none or take much
// memory; and however they are cut the outcome is the same.
func FuzzConn(f *testing.F) {
	small := string(compress(nil, []byte(strings.Repeat("text ", 50)), 1))
	long := make([]byte, 1000)
	for i := range long {
		long[i] = byte(i * i % 127)
	}
	long[500] = 0xff
	bad := string(compress(nil, long, 1))
	seeds := []string{
		clientFrame(0x81, "hello") + clientFrame(0x82, "\x00\xff") + clientFrame(0x88, "\x03\xe8bye"),
		clientFrame(0x01, "h\xc3") + clientFrame(0x89, "ping") + clientFrame(0x00, "") + clientFrame(0x80, "\xa9llo"),
		clientFrame(0x82, strings.Repeat("x", 200)) + clientFrame(0x8a, "12345678") + clientFrame(0x81, ""),
		clientFrame(0x81, strings.Repeat("é", 40000)),
		clientFrame(0x02, strings.Repeat("y", 30000)) + clientFrame(0x00, strings.Repeat("z", 30000)) + clientFrame(0x80, "end"),
		clientFrame(0xc1, small) + clientFrame(0xc1, small) + clientFrame(0x81, "plain"),
		clientFrame(0x41, small[:5]) + clientFrame(0x89, "") + clientFrame(0x00, small[5:9]) + clientFrame(0x80, small[9:]),
		clientFrame(0x81, "\xff") + clientFrame(0x81, "more"),
		clientFrame(0xc1, bad),
		clientFrame(0x81, "a character's beginning \xe2\x82"),
		clientFrame(0x88, "\x03\xed") + clientFrame(0x88, "\x03"),
		strings.Repeat(clientFrame(0x89, "p"), 9) + strings.Repeat(clientFrame(0x00, ""), 2),
		"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x81\x01\x02\x03\x04x", // RFC 6455 §5.7
		"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00",              // RFC 6455 §5.2: the top bit is 0
		"\x02\x81\x00\x00\x00\x00x\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
	}
	for i, seed := range seeds {
		for _, mode := range []byte{0, fuzzStreams, fuzzDeflates, fuzzDeflates | fuzzTakeover | fuzzStreams, fuzzPauses, fuzzByRead | fuzzStreams | fuzzDeflates, fuzzSkips} {
			f.Add([]byte(seed), []byte{byte(3 * i), 0, 40}, mode)
		}
	}
	fuzzer := &fuzzer{endpoints: make(map[byte]*Endpoint)}
	f.Fuzz(func(t *testing.T, wire, sizes []byte, mode byte) {
		fuzzer.TB = t
		whole := fuzzer.feed(mode, cut(wire, nil))
		pieces := fuzzer.feed(mode, cut(wire, sizes))
		if pieces != whole {
			t.Errorf("whole: %v\nin pieces: %v", whole, pieces)
		}
	})
}
