package ws_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// TrySend never waits: not for a client that does not read, who stays and gets what
// was queued, nor for a Writer, behind which the message comes.
func TestTrySend(t *testing.T) {
	overLinks(t, func(t *testing.T, at setting) {
		options := unlimited
		options.MaxQueuedBytes, options.WriteTimeout, options.HeartbeatPeriod = 256<<10, -1, -1
		s := serve(t, at, &recorder{}, options)
		p := s.dial(t)
		id := p.id()
		var err error
		sent := 0
		for ; err == nil; sent++ {
			if sent%2 == 0 {
				err = s.TrySend(parcel(0, sent, 100<<10), id)
			} else {
				err = s.TrySendBinary([]byte(parcel(0, sent, 100)), id)
			}
		}
		if !errors.Is(err, ws.ErrSlowClient) {
			t.Fatalf("%v instead of %v", err, ws.ErrSlowClient)
		}
		var next [1]int
		for range sent - 1 {
			p.expectParcel(next[:])
		}
		w, err := s.Writer(id, false)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "be")
		for _, text := range []string{"behind it", "and behind that"} {
			if err := s.TrySendText([]byte(text), id); err != nil {
				t.Error(err)
			}
		}
		io.WriteString(w, "fore")
		w.Close()
		p.expect(frame.Text, "before")
		p.expect(frame.Text, "behind it")
		p.expect(frame.Text, "and behind that")
		for _, err := range []error{s.TrySend("\xff", id), s.TrySendText([]byte("\xff"), id)} {
			if !errors.Is(err, ws.ErrInvalidText) {
				t.Errorf("%v instead of %v", err, ws.ErrInvalidText)
			}
		}
		p.leave()
		if err := s.TrySend("late", id); !errors.Is(err, ws.ErrClosed) {
			t.Errorf("%v instead of %v", err, ws.ErrClosed)
		}
	})
}

// A handler may send to its own client as much as it likes without waiting: what
// only waits for the handler's end is sent before anything is refused.
func TestTrySendInHandler(t *testing.T) {
	for _, at := range waitings[:2] { // elsewhere it takes another goroutine to send
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			for n := range 100 {
				if err := r.endpoint.TrySend(fmt.Sprint(n), id); err != nil {
					t.Errorf("message %d: %v", n, err)
				}
			}
		}
		options := unlimited
		options.MaxQueuedMessages = 10
		p := serve(t, at, r, options).dial(t)
		p.write(text("now"))
		for n := range 100 {
			p.expect(frame.Text, fmt.Sprint(n))
		}
		p.leave()
	}
}

// A client has a value from when it is set until OnClose has returned.
func TestValue(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		last := make(chan any, 1)
		r.onOpen = func(id ws.ClientID) {
			if v := r.endpoint.Value(id); v != nil {
				t.Errorf("%v before it was set", v)
			}
			r.endpoint.SetValue(id, "opened")
		}
		r.onClose = func(id ws.ClientID, _ ws.Code, _ string) { last <- r.endpoint.Value(id) }
		s := serve(t, at, r, unlimited)
		p, other := s.dial(t), s.dial(t)
		p.expectEcho("hello")
		if err := s.SetValue(p.id(), 42); err != nil {
			t.Error(err)
		}
		other.expectEcho("hello")
		if a, b := s.Value(p.id()), s.Value(other.id()); a != 42 || b != "opened" {
			t.Errorf("values %v and %v", a, b)
		}
		p.leave()
		if v := <-last; v != 42 {
			t.Errorf("%v in OnClose", v)
		}
		for s.Len() > 1 {
			time.Sleep(pollPeriod) // until OnClose has returned
		}
		if err, v := s.SetValue(p.id(), 43), s.Value(p.id()); !errors.Is(err, ws.ErrClosed) || v != nil {
			t.Errorf("%v and %v when the client is gone", err, v)
		}
		other.leave()
		<-last
	})
}

// A topic tells who is in it, and how many.
func TestMembers(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		a, b, c := s.dial(t), s.dial(t), s.dial(t)
		expect := func(want ...ws.ClientID) {
			t.Helper()
			slices.Sort(want)
			if got := slices.Sorted(s.Members("news")); !slices.Equal(got, want) || s.Count("news") != len(want) {
				t.Errorf("%d members %v, want %v", s.Count("news"), got, want)
			}
		}
		expect()
		s.Subscribe(a.id(), "news")
		s.Subscribe(b.id(), "news")
		s.Subscribe(b.id(), "news")
		s.Subscribe(c.id(), "sport")
		expect(a.id(), b.id())
		for range s.Members("news") {
			break
		}
		if err := s.PublishText("news", []byte("text")); err != nil {
			t.Error(err)
		}
		if err := s.MulticastText([]byte("to some"), b.id(), c.id()); err != nil {
			t.Error(err)
		}
		a.expect(frame.Text, "text")
		b.expect(frame.Text, "text")
		b.expect(frame.Text, "to some")
		c.expect(frame.Text, "to some")
		for _, err := range []error{s.PublishText("news", []byte("\xff")), s.MulticastText([]byte("\xff"), c.id())} {
			if !errors.Is(err, ws.ErrInvalidText) {
				t.Errorf("%v instead of %v", err, ws.ErrInvalidText)
			}
		}
		s.Unsubscribe(a.id(), "news")
		expect(b.id())
		b.leave()
		for s.Len() > 2 {
			time.Sleep(pollPeriod) // until OnClose has returned
		}
		expect()
	})
}
