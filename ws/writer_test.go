package ws_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// A message of unknown length leaves in frames of AutoFrameSize; what others
// send waits for its turn, a ping does not.
func TestWriter(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		options := unlimited
		options.AutoFrameSize = 10
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		w, err := s.Writer(p.id(), false)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "0123456789ab")
		s.Broadcast("broadcast meanwhile")
		sent := make(chan error)
		go func() { sent <- s.Send("sent meanwhile", p.id()) }()
		p.write(ping("now"))
		p.expectFrame(frame.Header{Opcode: frame.Text}, "0123456789")
		p.expect(frame.Pong, "now")
		io.WriteString(w, "cdefghij")
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		p.expectFrame(frame.Header{Fin: true, Opcode: frame.Continuation}, "abcdefghij")
		p.expect(frame.Text, "broadcast meanwhile")
		p.expect(frame.Text, "sent meanwhile")
		if err := <-sent; err != nil {
			t.Error(err)
		}
		w, _ = s.Writer(p.id(), true)
		w.Close()
		p.expect(frame.Binary, "")
		p.leave()
	})
}

// expectFrame reads a frame of a fragmented message.
func (p *peer) expectFrame(h frame.Header, payload string) {
	p.t.Helper()
	got, err := p.read()
	h.Length = int64(len(payload))
	if err != nil || got.Header != h || got.payload != payload {
		p.t.Fatalf("got %+v %q %v instead of %+v %q", got.Header, got.payload, err, h, payload)
	}
}

// A message that cannot be completed closes the client, for it cannot be taken
// back.
func TestWriterFails(t *testing.T) {
	rows := []struct {
		name string
		text []string
	}{
		{"invalid text (RFC 6455 §8.1)", []string{"good", "\xff"}},
		{"text that ends within a character (RFC 6455 §8.1)", []string{"good \xe2\x82"}},
	}
	engines(t, func(t *testing.T, at setting) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				s := serve(t, at, &recorder{}, unlimited)
				p := s.dial(t)
				w, err := s.Writer(p.id(), false)
				if err != nil {
					t.Fatal(err)
				}
				for _, piece := range row.text {
					_, err = io.WriteString(w, piece)
				}
				if closed := w.Close(); !errors.Is(closed, ws.ErrInvalidText) || err != nil && !errors.Is(err, ws.ErrInvalidText) {
					t.Errorf("Write: %v, Close: %v", err, closed)
				}
				p.expectClose(ws.CodeInternalError)
			})
		}
		t.Run("the client is gone", func(t *testing.T) {
			s := serve(t, at, &recorder{}, unlimited)
			p := s.dial(t)
			w, err := s.Writer(p.id(), true)
			if err != nil {
				t.Fatal(err)
			}
			s.Close(p.id(), ws.CodeNormal, "")
			if err := w.Close(); !errors.Is(err, ws.ErrClosed) {
				t.Errorf("Close: %v", err)
			}
			p.expectClose(ws.CodeNormal)
			if _, err := s.Writer(1<<40, true); !errors.Is(err, ws.ErrClosed) {
				t.Errorf("Writer: %v", err)
			}
		})
		t.Run("it is closed", func(t *testing.T) {
			s := serve(t, at, &recorder{}, unlimited)
			p := s.dial(t)
			w, err := s.Writer(p.id(), false)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "hello")
			w.Close()
			if n, err := io.WriteString(w, "more"); n != 0 || err != io.ErrClosedPipe {
				t.Errorf("Write behind Close: %d, %v", n, err)
			}
			p.expect(frame.Text, "hello")
			p.leave()
		})
		t.Run("Write failed before", func(t *testing.T) {
			s := serve(t, at, &recorder{}, unlimited)
			p := s.dial(t)
			w, err := s.Writer(p.id(), false)
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []string{"\xff", "good"} {
				if _, err := io.WriteString(w, piece); err != ws.ErrInvalidText {
					t.Errorf("Write: %v", err)
				}
			}
			for range 2 {
				if err := w.Close(); err != ws.ErrInvalidText {
					t.Errorf("Close: %v", err)
				}
			}
			if _, err := io.WriteString(w, "good"); err != ws.ErrInvalidText {
				t.Errorf("Write behind Close: %v", err)
			}
			p.expectClose(ws.CodeInternalError)
		})
		t.Run("another is open", func(t *testing.T) {
			options := unlimited
			options.HeartbeatPeriod = -1
			s := serve(t, at, &recorder{}, options)
			p := s.dial(t)
			defer p.flies()()
			w, err := s.Writer(p.id(), true)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Send("late", p.id()); !errors.Is(err, ws.ErrStreaming) {
				t.Errorf("Send: %v", err)
			}
			if _, err := s.Writer(p.id(), true); !errors.Is(err, ws.ErrStreaming) {
				t.Errorf("Writer: %v", err)
			}
			w.Close()
			p.expect(frame.Binary, "")
			p.leave()
		})
	})
}

// A compressed message is one DEFLATE stream over all its frames (RFC 7692 §6.1).
func TestWriterCompresses(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		options := unlimited
		options.Compression, options.AutoFrameSize = true, 1000
		s := serve(t, at, &recorder{}, options)
		b := s.dialBot(t, ws.DialOptions{Compression: true})
		message := strings.Repeat("all work and no play makes a dull message; ", 5000)
		w, err := s.Writer(b.id(), false)
		if err != nil {
			t.Fatal(err)
		}
		for piece := range strings.SplitSeq(message, ";") {
			if _, err := io.WriteString(w, piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		expectMessage(t, b.Conn, false, strings.ReplaceAll(message, ";", ""))
		if info, _ := s.Info(b.id()); !info.Compressed || info.BytesSent > uint64(len(message))/10 {
			t.Errorf("sent %d bytes for %d", info.BytesSent, len(message))
		}
		b.Close(ws.CodeNormal, "")
	})
}
