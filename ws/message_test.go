package ws_test

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// late are the ways to read a message.
var late = map[string]func(*ws.Message) (string, error){
	"Text": (*ws.Message).Text,
	"Bytes": func(m *ws.Message) (string, error) {
		p, err := m.Bytes()
		return strings.Repeat("?", len(p)), err // they may be another's by now
	},
	"Read": func(m *ws.Message) (string, error) {
		p := make([]byte, 100)
		n, err := m.Read(p)
		return string(p[:n]), err
	},
	"io.ReadAll": func(m *ws.Message) (string, error) {
		p, err := io.ReadAll(m)
		return string(p), err
	},
}

// A Message is over when OnData returns, for ever: whatever its client or
// others send later, it shows nothing of it.
func TestKeptMessage(t *testing.T) {
	options := unlimited
	options.AutoFrameSize, options.Compression = 1000, true
	compressed := deflate(strings.Repeat("own ", 1000))
	for name, wire := range map[string][]byte{
		"whole":                     text("own"),
		"large":                     text(strings.Repeat("own ", 10_000)),
		"incomplete":                join(first(frame.Text, strings.Repeat("own ", 1000)), last("own")),
		"compressed":                masked(frame.Header{Fin: true, Rsv: rsv1, Opcode: frame.Text}, compressed),
		"compressed and incomplete": join(masked(frame.Header{Rsv: rsv1, Opcode: frame.Text}, compressed[:len(compressed)-1]), last(compressed[len(compressed)-1:])),
	} {
		for _, read := range []int{0, 1, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", name, read), func(t *testing.T) {
				engines(t, func(t *testing.T, at setting) {
					kept := make(chan *ws.Message, 10)
					s := serve(t, at, &recorder{onData: func(id ws.ClientID, m *ws.Message) {
						io.ReadFull(m, make([]byte, read))
						kept <- m
					}}, options)
					own := s.dial(t, "Sec-WebSocket-Extensions: permessage-deflate")
					other := s.dial(t)
					own.write(wire)
					m := <-kept
					for range 3 {
						own.write(text("later"))
						<-kept
						other.write(text("another's secret"))
						<-kept
						for name, read := range late {
							if got, err := read(m); got != "" || err != ws.ErrMessageOver {
								t.Errorf("%s: %q, %v", name, got, err)
							}
						}
						if m.Binary() {
							t.Error("it has become binary")
						}
					}
					own.leave()
					other.leave()
				})
			})
		}
	}
}

// A goroutine that a handler has started reads its own message or none, and
// never disturbs what is read next.
func TestMessageReadLate(t *testing.T) {
	options := unlimited
	options.AutoFrameSize = 1000
	engines(t, func(t *testing.T, at setting) {
		const messages = 1000
		var letters sync.Map // by client
		var readers sync.WaitGroup
		s := serve(t, at, &recorder{onData: func(id ws.ClientID, m *ws.Message) {
			letter, _ := letters.Load(id)
			for name, read := range late {
				readers.Add(1)
				go func() {
					defer readers.Done()
					got, err := read(m)
					if strings.Trim(got, letter.(string)+"?") != "" { // "": others have read it
						t.Errorf("%s of client %s: %.20q, %v", name, letter, got, err)
					}
				}()
			}
		}}, options)
		peers := []*peer{s.dial(t), s.dial(t)}
		for i, letter := range []string{"a", "b"} {
			p := peers[i]
			letters.Store(p.id(), letter)
			long := strings.Repeat(letter, 1000)
			var wire []byte
			for n := range messages / 2 {
				wire = append(wire, join(text(strings.Repeat(letter, 10+n)), first(frame.Text, long), middle(long), last(letter))...)
			}
			p.write(wire)
		}
		for _, p := range peers {
			p.expectCalls("OnOpen")
			for range messages {
				p.expectCalls("OnData")
			}
		}
		for _, p := range peers {
			p.leave() // only then have all handlers returned
		}
		readers.Wait()
	})
}

// What a handler appends to a message does not get into the next one.
func TestAppendingToMessage(t *testing.T) {
	large := strings.Repeat("large", 10_000)
	engines(t, func(t *testing.T, at setting) {
		r := new(recorder)
		r.onData = func(id ws.ClientID, m *ws.Message) {
			p, err := m.Bytes()
			if err != nil {
				t.Error(err)
			}
			if cap(p) != len(p) {
				t.Errorf("%d bytes with room for %d", len(p), cap(p))
			}
			r.endpoint.SendText(append(p, "\n and a line that is longer than any header"...), id)
		}
		s := serve(t, at, r, ws.Options{MaxFramesPerSecond: -1, Compression: true, CompressionThreshold: math.MaxInt})
		p := s.dial(t, "Sec-WebSocket-Extensions: permessage-deflate")
		small := masked(frame.Header{Fin: true, Rsv: rsv1, Opcode: frame.Text}, deflate("small"))
		p.write(join(text("one"), text(""), text("two"), text(large), small, first(frame.Text, "three"), last("four"), text("five")))
		for _, want := range []string{"one", "", "two", large, "small", "threefour", "five"} {
			p.expect(frame.Text, want+"\n and a line that is longer than any header")
		}
		p.leave()
	})
}
