package ws_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// permessage-deflate: RFC 7692 as a table, beside that of RFC 6455.

const (
	rsv1  = 4
	offer = "Sec-WebSocket-Extensions: permessage-deflate"
)

// deflateWriter compresses as a client: §7.2.1.
type deflateWriter struct {
	out    bytes.Buffer
	writer *flate.Writer
}

func newDeflateWriter(level int) *deflateWriter {
	w := new(deflateWriter)
	w.writer, _ = flate.NewWriter(&w.out, level)
	return w
}

// message compresses one message. The next one refers to it.
func (w *deflateWriter) message(s string) string {
	w.out.Reset()
	io.WriteString(w.writer, s)
	w.writer.Flush()
	return strings.TrimSuffix(w.out.String(), "\x00\x00\xff\xff")
}

func deflate(s string) string { return newDeflateWriter(flate.BestSpeed).message(s) }

// inflated is what a message says that was compressed on its own: §7.2.2.
func inflated(t testing.TB, payload string) string {
	t.Helper()
	p, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	if err != nil {
		t.Errorf("inflating: %v", err)
	}
	return string(p)
}

// compressed marks a message of one frame, or the first of several.
func compressed(fin bool, opcode frame.Opcode, payload string) []byte {
	return masked(frame.Header{Fin: fin, Rsv: rsv1, Opcode: opcode}, payload)
}

// compressedFragments are a compressed message in frames of so many bytes.
func compressedFragments(opcode frame.Opcode, payload string, size int) []byte {
	if len(payload) <= size {
		return compressed(true, opcode, payload)
	}
	return join(compressed(false, opcode, payload[:size]), fragments(frame.Continuation, payload[size:], size))
}

// deflateRows are messages as compressors may make them.
func deflateRows() (rows []row) {
	for _, n := range []int{0, 1, 2, 125, 126, 127, 1000, 16384, 32768, 65535, 65536, 65537, 200000} {
		s := filler(n)
		rows = append(rows,
			answers("§7.2.2", fmt.Sprintf("text of %d bytes", n), compressed(true, frame.Text, deflate(s)), gotText(s)),
			answers("§7.2.2", fmt.Sprintf("binary of %d bytes", n), compressed(true, frame.Binary, deflate(s)), gotBinary(s)))
	}
	s := strings.Repeat("κόσμε😀", 100) + filler(1000)
	for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
		z := newDeflateWriter(level).message(s)
		rows = append(rows, answers("§7.2.2", fmt.Sprintf("level %d", level), compressed(true, frame.Text, z), gotText(s)))
		for _, size := range []int{1, 7, 100} {
			name := fmt.Sprintf("level %d, in fragments of %d bytes", level, size)
			rows = append(rows, answers("§6.1", name, compressedFragments(frame.Text, z, size), gotText(s)))
		}
	}
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for i := range len(hello) + 1 {
		wire := join(compressed(false, frame.Text, hello[:i]), ping("p"), last(hello[i:]))
		rows = append(rows, answers("§7.2.3.1", fmt.Sprintf("the example cut at byte %d, a ping between", i), wire, gotPong("p"), gotText("Hello")))
	}
	one := func(payload string) []byte { return compressed(true, frame.Text, payload) }
	return append(rows,
		answers("§7.2.3.1", "the example", one(hello), gotText("Hello")),
		answers("§7.2.3.3", "a block without compression", one("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), gotText("Hello")),
		answers("§7.2.3.4", "a final block", one("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), gotText("Hello")),
		answers("§7.2.3.4", "a message behind a final block", join(one("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), one(hello)), gotText("Hello"), gotText("Hello")),
		answers("§7.2.3.5", "two blocks", one("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), gotText("Hello")),
		answers("§7.2.3.6", "an empty message", one("\x00"), gotText("")),
		answers("§6", "messages that are not compressed between some that are", join(text("a"), one(hello), binary("b"), one(hello), text("")),
			gotText("a"), gotText("Hello"), gotBinary("b"), gotText("Hello"), gotText("")),
		answers("§6.1", "fragments that are not compressed", join(first(frame.Text, "a"), last("b")), gotText("ab")),
		answers("§6.1", "empty fragments", join(compressed(false, frame.Text, ""), middle(hello), middle(""), last("")), gotText("Hello")),
		answers("§6", "a message not for text", compressed(true, frame.Binary, deflate("\xff\xfe")), gotBinary("\xff\xfe")),
		answers("§6", "inflated to 1000 times its size", one(deflate(strings.Repeat("a", 1<<20))), gotText(strings.Repeat("a", 1<<20))))
}

// deflateFaultRows are what breaks RFC 7692.
func deflateFaultRows() []row {
	one := func(payload string) []byte { return compressed(true, frame.Text, payload) }
	hello, greek := deflate("Hello"), deflate("κόσμε")
	invalid := "κόσμε" + strings.Repeat("x", 3000) + "\xff"
	return []row{
		fails("§6.1", "marked continuation", ws.CodeProtocolError, join(compressed(false, frame.Text, hello[:3]), compressed(true, frame.Continuation, hello[3:]))),
		fails("§6.1", "marked continuation of what is not compressed", ws.CodeProtocolError, join(first(frame.Text, "a"), compressed(true, frame.Continuation, "b"))),
		fails("§6.1", "marked ping", ws.CodeProtocolError, compressed(true, frame.Ping, "")),
		fails("§6.1", "marked pong", ws.CodeProtocolError, compressed(true, frame.Pong, "")),
		fails("§6.1", "marked close", ws.CodeProtocolError, compressed(true, frame.Close, "\x03\xe8")),
		fails("§5.2", "another reserved bit", ws.CodeProtocolError, masked(frame.Header{Fin: true, Rsv: rsv1 | 2, Opcode: frame.Text}, hello)),
		fails("§5.2", "only another reserved bit", ws.CodeProtocolError, masked(frame.Header{Fin: true, Rsv: 1, Opcode: frame.Text}, "a")),
		fails("§7.2.2", "a block of a reserved type", ws.CodeInvalidPayload, one("\x06\x00")),
		fails("§7.2.2", "a stored block of the wrong length", ws.CodeInvalidPayload, one("\x00\x05\x00\xfa\xfeHello\x00")),
		fails("§7.2.2", "a distance to before the message", ws.CodeInvalidPayload, join(one("\xf2\x48\xcd\xc9\xc9\x07\x00"), one("\xf2\x00\x11\x00\x00")), gotText("Hello")),
		fails("§7.2.2", "cut short", ws.CodeInvalidPayload, one(deflate(filler(1000))[:200])),
		fails("§7.2.2", "damaged, in fragments", ws.CodeInvalidPayload, join(compressed(false, frame.Binary, "\x06"), last("\x00"))),
		fails("§8.1", "invalid text", ws.CodeInvalidPayload, one(deflate(invalid))),
		fails("§8.1", "invalid text in fragments", ws.CodeInvalidPayload, compressedFragments(frame.Text, deflate(invalid), 5)),
		fails("§8.1", "text cut inside a character", ws.CodeInvalidPayload, one(deflate("a\xce"))),
		fails("§8.1", "invalid text behind good", ws.CodeInvalidPayload, join(one(greek), one(deflate("\xff"))), gotText("κόσμε")),
		fails("Options.MaxMessageSize", "inflated to more than a message may be", ws.CodeTooBig, one(deflate(strings.Repeat("a", 1<<20+1)))),
		fails("Options.MaxMessageSize", "inflated to 8 MiB", ws.CodeTooBig, one(deflate(strings.Repeat("a", 8<<20)))),
		fails("§7.2.3.4", "streams of nothing", ws.CodePolicyViolation, one(strings.Repeat("\x03\x00", 1<<14))),
		fails("§7.2.3.4", "streams of nothing, in fragments", ws.CodePolicyViolation, compressedFragments(frame.Text, strings.Repeat("\x03\x00", 1<<14), 1000)),
		closes("§6", "close behind a compressed message", ws.CodeNormal, "bye", join(one(hello), closing(ws.CodeNormal, "bye")), gotText("Hello")),
		closes("§6", "close inside a compressed message", ws.CodeNormal, "bye", join(compressed(false, frame.Text, hello[:3]), closing(ws.CodeNormal, "bye"))),
	}
}

func deflateOptions() ws.Options {
	options := unlimited
	options.MaxMessageSize, options.Compression = 1<<20, true
	options.CompressionThreshold = 64 << 20 // answers are as the table has them
	return options
}

func TestDeflate(t *testing.T) {
	t.Parallel()
	rows := append(deflateRows(), deflateFaultRows()...)
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, deflateOptions())
		beside(8, rows, func(r row) {
			r.fields = []string{offer}
			for _, pieces := range r.ways() {
				t.Run(r.title(pieces), func(t *testing.T) { r.run(t, s, pieces) })
			}
		})
	})
}

// compressedMessages are as plainMessages, each referring to those before if
// the client may do so (§7.1.1).
func compressedMessages(takeover bool) (messages []streamed) {
	w := newDeflateWriter(flate.BestCompression)
	add := func(name, s string, size int) {
		if !takeover {
			w = newDeflateWriter(flate.BestCompression)
		}
		messages = append(messages, streamed{name, compressedFragments(frame.Text, w.message(s), size), s, false})
	}
	for _, size := range []int{1 << 20, 100, 3000} {
		for _, n := range []int{0, 5, streaming, 20000} {
			add(fmt.Sprintf("%d bytes in fragments of %d", n, size), filler(n), size)
		}
		add(fmt.Sprintf("Greek in fragments of %d", size), strings.Repeat("κόσμε", 500)+filler(10000), size)
	}
	messages = append(messages, streamed{"not compressed", text(filler(5000)), filler(5000), false})
	add("short again", "end", 1)
	return messages
}

// Compressed messages, too, may be read as a handler likes.
func TestReadingDeflated(t *testing.T) {
	t.Parallel()
	messages := map[bool][]streamed{false: compressedMessages(false), true: compressedMessages(true)}
	engines(t, func(t *testing.T, at setting) {
		for _, takeover := range []bool{false, true} {
			for _, habit := range habits {
				r := &recorder{}
				r.onData = func(id ws.ClientID, m *ws.Message) {
					got, err := habit.read(m)
					if err != nil {
						got = err.Error()
					}
					r.endpoint.Send(got, id)
				}
				options := deflateOptions()
				options.AutoFrameSize, options.CompressionTakeover = streaming, takeover
				s := serve(t, at, r, options)
				for _, pieces := range []int{whole, 997} {
					title := (&row{section: fmt.Sprint("takeover ", takeover), name: habit.name}).title(pieces)
					t.Run(title, func(t *testing.T) {
						testReading(t, s, pieces, habit.want, messages[takeover], offer)
					})
				}
			}
		}
	})
}

// A handler that reads a compressed message learns why there is no more of it.
func TestReadingDeflatedEnds(t *testing.T) {
	t.Parallel()
	stored := newDeflateWriter(flate.NoCompression).message
	begin := stored(filler(3000)) + "\x00\x00\xff\xff"
	endings := []struct {
		name   string
		finish func(*peer)
		code   ws.Code
		reason string
	}{
		{"invalid text", func(p *peer) { p.write(last(stored("a\xff"))) }, ws.CodeInvalidPayload, "text is not UTF-8 (RFC 6455 §8.1)"},
		{"text cut short", func(p *peer) { p.write(last(stored("a\xce"))) }, ws.CodeInvalidPayload, "text is not UTF-8 (RFC 6455 §8.1)"},
		{"damage", func(p *peer) { p.write(middle("\x06")) }, ws.CodeInvalidPayload, "compressed message is damaged (RFC 7692 §7.2.2)"},
		{"cut short", func(p *peer) { p.write(last(stored("abc")[:6])) }, ws.CodeInvalidPayload, "compressed message is damaged (RFC 7692 §7.2.2)"},
		{"too long", func(p *peer) { p.write(last(deflate(strings.Repeat("a", 1<<16)))) }, ws.CodeTooBig, "inflated message exceeds Options.MaxMessageSize"},
		{"close frame", func(p *peer) { p.write(closing(4000, "enough")) }, 4000, "enough"},
	}
	engines(t, func(t *testing.T, at setting) {
		for _, takeover := range []bool{false, true} {
			for _, habit := range habits[:7] {
				called, result := make(chan bool, 1), make(chan error, 1)
				r := &recorder{onData: func(id ws.ClientID, m *ws.Message) {
					called <- true
					_, err := habit.read(m)
					result <- err
				}}
				options := deflateOptions()
				options.AutoFrameSize, options.CompressionTakeover = streaming, takeover
				options.MaxMessageSize = 1 << 16
				s := serve(t, at, r, options)
				for _, e := range endings {
					t.Run(fmt.Sprintf("takeover %v, %s, %s", takeover, habit.name, e.name), func(t *testing.T) {
						p := s.dial(t, offer)
						p.write(compressed(false, frame.Text, begin))
						<-called
						e.finish(p)
						var end *ws.CloseError
						if err := <-result; !errors.As(err, &end) || end.Code != e.code || end.Reason != e.reason {
							t.Errorf("Read: %v, want code %v, reason %q", err, e.code, e.reason)
						}
						p.expectClose(e.code)
						p.expectEOF()
						p.nc.Close()
						p.expectHistory(1, e.code, e.reason)
					})
				}
			}
		}
	})
}

// Answers are compressed where it pays, each on its own (§7.1.1.1).
func TestDeflatedAnswers(t *testing.T) {
	t.Parallel()
	options := deflateOptions()
	options.CompressionThreshold = 0
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, options)
		p := s.connect(t)
		p.write([]byte(p.handshake(offer)))
		if got := p.expectSwitch().Header.Get("Sec-WebSocket-Extensions"); !strings.Contains(got, "permessage-deflate") || !strings.Contains(got, "server_no_context_takeover") {
			t.Errorf("agreed on %q", got)
		}
		for _, c := range []struct {
			message    string
			compressed bool
		}{
			{"", false}, {filler(127), false}, {filler(1000), true}, {filler(1000), true}, {filler(100000), true}, {filler(1 << 20), true}, {"short", false},
		} {
			p.write(text(c.message))
			got, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			payload := got.payload
			if got.Rsv == rsv1 {
				payload = inflated(t, payload)
			}
			if payload != c.message || (got.Rsv == rsv1) != c.compressed || got.Opcode != frame.Text || c.compressed && len(got.payload) >= len(c.message) {
				t.Errorf("%d bytes came back as %s, reserved bits %d", len(c.message), brief(got.Opcode, payload), got.Rsv)
			}
		}
		p.leave()
	})
}
