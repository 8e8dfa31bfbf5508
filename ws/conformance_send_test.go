package ws_test

import (
	"fmt"
	"sync"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// What is sent, from where, and in which order it arrives.

// What a handler sent leaves soon, even if it does not return.
func TestSendBeforeReturn(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		proceed := make(chan bool)
		r := &recorder{}
		r.onOpen = func(id ws.ClientID) { r.endpoint.Send("open", id); <-proceed }
		r.onData = func(id ws.ClientID, m *ws.Message) {
			r.endpoint.Send("data", id)
			<-proceed
			r.endpoint.Send("more", id)
			<-proceed
		}
		s := serve(t, at, r, unlimited)
		p := s.dial(t)
		p.expect(frame.Text, "open")
		p.write(text(""))
		proceed <- true
		p.expect(frame.Text, "data")
		proceed <- true
		p.expect(frame.Text, "more")
		proceed <- true
		p.leave()
	})
}

// Messages of one goroutine arrive in their order, those of several unmixed,
// beside the echo of what the client sends.
func TestSendFromElsewhere(t *testing.T) {
	t.Parallel()
	const senders, messages = 8, 100
	options := unlimited
	options.MaxQueuedBytes = 64 << 20 // or multicasts may find the client too slow
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		id := p.id()
		var all sync.WaitGroup
		defer all.Wait()
		defer p.nc.Close()
		for sender := range senders {
			all.Add(1)
			go func() {
				defer all.Done()
				for i := range messages {
					if err := sendOne(s, id, sender, i); err != nil {
						t.Errorf("Send: %v", err)
						return
					}
				}
			}()
		}
		for i := range messages {
			p.write(text(fmt.Sprint("echo ", i)))
		}
		var next [senders + 1]int
		for range (senders + 1) * messages {
			got, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			checkOne(t, got, next[:])
		}
		p.leave()
	})
}

// sendOne sends a message whose kind and length depend on its number.
func sendOne(s *server, id ws.ClientID, sender, i int) error {
	message := fmt.Sprint(sender, " ", i, " ", filler(i*i))
	if i%10 == 9 {
		message += filler(40000)
	}
	switch i % 4 {
	case 0:
		return s.SendBinary([]byte(message), id)
	case 1:
		return s.SendText([]byte(message), id)
	case 2:
		return s.Multicast(message, id)
	}
	return s.Send(message, id)
}

// checkOne sees that it is the next of its sender, and whole. The last in next
// is the client's own echo.
func checkOne(t *testing.T, got received, next []int) {
	var sender, i int
	if _, err := fmt.Sscanf(got.payload, "echo %d", &i); err == nil {
		sender = len(next) - 1
	} else {
		fmt.Sscanf(got.payload, "%d %d", &sender, &i)
		want := len(fmt.Sprint(sender, " ", i, " ")) + i*i
		if i%10 == 9 {
			want += 40000
		}
		if len(got.payload) != want || (got.Opcode == frame.Binary) != (i%4 == 0) {
			t.Fatalf("%s, want %d bytes", brief(got.Opcode, got.payload), want)
		}
	}
	if next[sender] != i {
		t.Fatalf("message %d of sender %d came instead of %d", i, sender, next[sender])
	}
	next[sender]++
}

// The errors of sending.
func TestSendErrors(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		r.onClose = func(id ws.ClientID, code ws.Code, _ string) {
			if err := r.endpoint.Send("too late", id); err != ws.ErrClosed {
				t.Errorf("Send in OnClose: %v", err)
			}
			if info, ok := r.endpoint.Info(id); !ok || info.Code != code || info.MessagesRead != 1 {
				t.Errorf("Info in OnClose: %+v %v", info, ok)
			}
		}
		s := serve(t, at, r, unlimited)
		p := s.dial(t)
		id := p.id()
		for what, err := range map[string]error{
			"Send":          s.Send("a\xff", id),
			"SendText":      s.SendText([]byte("\xed\xa0\x80"), id),
			"Broadcast":     s.Broadcast("\xc0\x80"),
			"BroadcastText": s.BroadcastText([]byte("\xf8")),
			"Multicast":     s.Multicast("\x80", id),
		} {
			if err != ws.ErrInvalidText {
				t.Errorf("%s of what is not UTF-8: %v", what, err)
			}
		}
		for _, nobody := range []ws.ClientID{0, id + 1, id + 1<<32, 1<<64 - 1} {
			if err := s.Send("a", nobody); err != ws.ErrClosed {
				t.Errorf("Send to client %d: %v", nobody, err)
			}
			if err := s.Close(nobody, ws.CodeNormal, ""); err != ws.ErrClosed {
				t.Errorf("Close of client %d: %v", nobody, err)
			}
		}
		p.write(text("a")) // and none of it was sent
		p.expect(frame.Text, "a")
		p.leave()
		if err := s.Send("a", id); err != ws.ErrClosed {
			t.Errorf("Send to who has left: %v", err)
		}
	})
}
