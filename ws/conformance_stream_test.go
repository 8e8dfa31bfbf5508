package ws_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// Messages that a handler reads as it likes, while they arrive.

// streaming is after how many bytes of a message OnData is called in these tests.
const streaming = 1024

func streamingOptions() ws.Options {
	options := unlimited
	options.AutoFrameSize = streaming
	return options
}

// habits are ways in which handlers read. What read returns is what is left of
// a message after want.
var habits = []struct {
	name string
	read func(*ws.Message) (string, error)
	want func(string) string
}{
	{"Text", (*ws.Message).Text, all},
	{"Bytes", func(m *ws.Message) (string, error) { p, err := m.Bytes(); return string(p), err }, all},
	{"Bytes twice", func(m *ws.Message) (string, error) { m.Bytes(); return m.Text() }, all},
	{"ReadAll", func(m *ws.Message) (string, error) { p, err := io.ReadAll(m); return string(p), err }, all},
	{"Read of 1 byte", func(m *ws.Message) (string, error) { return readPieces(m, 1) }, all},
	{"Read of 7 bytes", func(m *ws.Message) (string, error) { return readPieces(m, 7) }, all},
	{"Read of 4096 bytes", func(m *ws.Message) (string, error) { return readPieces(m, 4096) }, all},
	{"Read of more than there is", func(m *ws.Message) (string, error) { return readPieces(m, 1<<17) }, all},
	{"nothing", func(m *ws.Message) (string, error) { return "", nil }, func(string) string { return "" }},
	{"10 bytes", func(m *ws.Message) (string, error) { return readSome(m, 10) }, func(s string) string { return s[:min(10, len(s))] }},
	{"1500 bytes", func(m *ws.Message) (string, error) { return readSome(m, 1500) }, func(s string) string { return s[:min(1500, len(s))] }},
	{"10 bytes, then Text", func(m *ws.Message) (string, error) { readSome(m, 10); return m.Text() }, func(s string) string { return s[min(10, len(s)):] }},
	{"1500 bytes, then Text", func(m *ws.Message) (string, error) { readSome(m, 1500); return m.Text() }, func(s string) string { return s[min(1500, len(s)):] }},
}

func all(s string) string { return s }

// readPieces reads m to its end, n bytes at a time, and a second end behind it.
func readPieces(m *ws.Message, n int) (string, error) {
	var b strings.Builder
	for p := make([]byte, n); ; {
		got, err := m.Read(p)
		b.Write(p[:got])
		if err == io.EOF {
			if got, err := m.Read(p); got != 0 || err != io.EOF {
				return "", fmt.Errorf("behind the end: %d, %v", got, err)
			}
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// readSome reads the first n bytes.
func readSome(m *ws.Message, n int) (string, error) {
	p := make([]byte, n)
	n, err := io.ReadFull(m, p)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		err = nil
	}
	return string(p[:n]), err
}

// streamed is a message as it may arrive. A ping in it is answered.
type streamed struct {
	name string
	wire []byte
	text string
	pong bool
}

var plainMessages = []streamed{
	{"empty", text(""), "", false},
	{"short", text("short"), "short", false},
	{"as long as is gathered, less one", text(filler(streaming - 1)), filler(streaming - 1), false},
	{"as long as is gathered", binary(filler(streaming)), filler(streaming), false},
	{"one byte longer than is gathered", text(filler(streaming + 1)), filler(streaming + 1), false},
	{"5000 bytes", binary(filler(5000)), filler(5000), false},
	{"100000 bytes", text(filler(100000)), filler(100000), false},
	{"5000 bytes in fragments of 100", fragments(frame.Text, filler(5000), 100), filler(5000), false},
	{"50000 bytes in fragments of 20000", fragments(frame.Binary, filler(50000), 20000), filler(50000), false},
	{"an empty last fragment", join(first(frame.Text, filler(3000)), last("")), filler(3000), false},
	{"empty fragments", join(first(frame.Text, filler(2000)), middle(""), middle(""), last("a")), filler(2000) + "a", false},
	{"a ping between fragments", join(first(frame.Text, filler(2000)), ping("p"), last(filler(2000))), filler(2000) + filler(2000), true},
	{"Greek cut everywhere", fragments(frame.Text, strings.Repeat("κόσμε", 200), 3), strings.Repeat("κόσμε", 200), false},
	{"short again", text("end"), "end", false},
}

// Whatever a handler reads of a message, it gets what was sent, and the next
// message is not the worse for it.
func TestReading(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		for _, habit := range habits {
			r := &recorder{}
			r.onData = func(id ws.ClientID, m *ws.Message) {
				got, err := habit.read(m)
				if err != nil {
					got = err.Error()
				}
				r.endpoint.Send(got, id)
			}
			s := serve(t, at, r, streamingOptions())
			for _, pieces := range []int{whole, behindHandshake, 2003} {
				t.Run((&row{section: habit.name}).title(pieces), func(t *testing.T) {
					testReading(t, s, pieces, habit.want, plainMessages)
				})
			}
		}
	})
}

// testReading sends all messages in a row.
func testReading(t *testing.T, s *server, pieces int, want func(string) string, messages []streamed, fields ...string) {
	r := row{fields: fields}
	for _, m := range messages {
		r.send = append(r.send, m.wire...)
	}
	p, sent := r.begin(t, s, pieces)
	defer p.nc.Close()
	pongs := 0 // come before an answer, or behind it if the handler stopped reading
	for _, m := range messages {
		if m.pong {
			pongs++
		}
		got, err := p.read()
		for ; err == nil && got.Opcode == frame.Pong; got, err = p.read() {
			pongs--
		}
		if err != nil || got.Opcode != frame.Text || got.payload != want(m.text) {
			t.Fatalf("%s: got %s (%v)", m.name, brief(got.Opcode, got.payload), err)
		}
	}
	for ; pongs > 0; pongs-- {
		p.expect(frame.Pong, "p")
	}
	sent()
	p.leave()
	p.expectHistory(len(messages), ws.CodeNormal, "bye")
}

// endings are how a message may end too early: the rest of the wire, the error
// that the handler gets, and whether the client is told.
var endings = []struct {
	name   string
	finish func(*peer)
	code   ws.Code
	reason string
	told   bool
}{
	{"close frame", func(p *peer) { p.write(closing(ws.CodeGoingAway, "away")) }, ws.CodeGoingAway, "away", true},
	{"close frame without a code", func(p *peer) { p.write(closingPayload("")) }, ws.CodeNoStatus, "", true},
	{"end of stream", func(p *peer) { p.nc.Close() }, ws.CodeAbnormal, "connection lost", false},
	{"end of stream inside a frame", func(p *peer) { p.write(last("abc")[:7]); p.nc.Close() }, ws.CodeAbnormal, "connection lost", false},
	{"reset", func(p *peer) { reset(p.nc) }, ws.CodeAbnormal, "connection lost", false},
	{"invalid text", func(p *peer) { p.write(middle("\xff")) }, ws.CodeInvalidPayload, "text is not UTF-8 (RFC 6455 §8.1)", true},
	{"invalid text in a long frame", func(p *peer) { p.write(middle(filler(40000) + "\xff" + filler(5000))[:40020]) }, ws.CodeInvalidPayload, "text is not UTF-8 (RFC 6455 §8.1)", true},
	{"end of stream inside a long frame", func(p *peer) { p.write(middle(filler(40000))[:20000]); p.nc.Close() }, ws.CodeAbnormal, "connection lost", false},
	{"text cut short", func(p *peer) { p.write(last("\xce")) }, ws.CodeInvalidPayload, "text is not UTF-8 (RFC 6455 §8.1)", true},
	{"another message", func(p *peer) { p.write(text("")) }, ws.CodeProtocolError, "a new message before the last one ended (RFC 6455 §5.4)", true},
	{"too long a frame", func(p *peer) { p.write(last(filler(65537))) }, ws.CodeTooBig, "frame exceeds Options.MaxFrameSize", true},
	{"too long in all", func(p *peer) { p.write(last(filler(65536))) }, ws.CodeTooBig, "message exceeds Options.MaxMessageSize", true},
}

// A handler that is reading learns why there is no more, OnClose hears the same,
// and the client is told where it can be.
func TestReadingEnds(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		options := streamingOptions()
		options.MaxFrameSize, options.MaxMessageSize = 65536, 65536
		for _, habit := range habits[:7] {
			called, result := make(chan bool, 1), make(chan error, 1)
			r := &recorder{onData: func(id ws.ClientID, m *ws.Message) {
				called <- true
				_, err := habit.read(m)
				result <- err
			}}
			s := serve(t, at, r, options)
			for _, e := range endings {
				t.Run(habit.name+", "+e.name, func(t *testing.T) {
					p := s.dial(t)
					p.write(first(frame.Text, filler(2000)))
					<-called
					e.finish(p)
					var end *ws.CloseError
					if err := <-result; !errors.As(err, &end) || end.Code != e.code || end.Reason != e.reason {
						t.Errorf("Read: %v, want code %v, reason %q", err, e.code, e.reason)
					}
					if e.told {
						p.expectClose(e.code)
						p.expectEOF()
						p.nc.Close()
					}
					p.expectHistory(1, e.code, e.reason)
				})
			}
		}
	})
}

// While a handler waits for the rest of a message, pings are answered and what
// it has sent leaves.
func TestReadingWaits(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		for _, habit := range habits[:7] {
			t.Run(habit.name, func(t *testing.T) {
				r := &recorder{}
				r.onData = func(id ws.ClientID, m *ws.Message) {
					r.endpoint.Send("begun", id)
					got, err := habit.read(m)
					r.endpoint.Send(fmt.Sprint(len(got), err), id)
				}
				s := serve(t, at, r, streamingOptions())
				for _, begin := range []struct {
					name string
					dial func() *peer
				}{
					{"after the handshake", func() *peer {
						p := s.dial(t)
						p.write(first(frame.Binary, filler(2000)))
						return p
					}},
					{"behind the handshake", func() *peer {
						p := s.connect(t)
						p.nc.Write(join([]byte(p.handshake()), first(frame.Binary, filler(2000))))
						p.expectSwitch()
						return p
					}},
				} {
					p := begin.dial()
					p.expect(frame.Text, "begun")
					p.write(ping("1"))
					p.expect(frame.Pong, "1")
					p.write(join(middle(filler(100000)), ping("2")))
					p.expect(frame.Pong, "2")
					p.write(join(ping("3"), last("x"), text("next")))
					p.expect(frame.Pong, "3")
					p.expect(frame.Text, "102001 <nil>")
					p.expect(frame.Text, "begun")
					p.expect(frame.Text, "4 <nil>")
					p.leave()
				}
			})
		}
	})
}

// A message ends with OnData.
func TestMessageOver(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		var kept *ws.Message
		r := &recorder{onData: func(id ws.ClientID, m *ws.Message) { kept = m }}
		r.onClose = func(ws.ClientID, ws.Code, string) {
			if _, err := kept.Read(make([]byte, 1)); err != ws.ErrMessageOver {
				t.Errorf("Read: %v", err)
			}
			if _, err := kept.Text(); err != ws.ErrMessageOver {
				t.Errorf("Text: %v", err)
			}
		}
		p := serve(t, at, r, unlimited).dial(t)
		p.write(text("a"))
		p.leave()
	})
}
