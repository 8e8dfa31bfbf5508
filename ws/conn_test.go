package ws

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// places counts where in memory the bytes are that clients are sent.
type places struct {
	mu    sync.Mutex
	times map[*byte]int
}

// sharer is a client that looks there.
type sharer struct {
	pipe
	places *places
}

func (s *sharer) TryWrite(p []byte) (int, error) {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	s.places.times[&p[0]]++
	return len(p), nil
}

// What is sent to many is framed once, and compressed once: all get the same bytes.
func TestBroadcastIsFramedOnce(t *testing.T) {
	const clients = 1000 // more than a block of the table, so that several goroutines deliver
	e := newEndpoint(&functions{}, Options{Compression: true})
	var plain, compressed places
	for n := range clients {
		s := &sharer{places: &plain}
		var agreement agreement
		if n%2 > 0 {
			s.places, agreement.deflate = &compressed, 15
		}
		s.transport, s.endpoint = s, e
		s.places.times = make(map[*byte]int) // without the handshake
		e.opened(&s.conn, &arrival{agreement: agreement, greeting: []byte("101")})
		if n%10 < 2 {
			e.Subscribe(s.id, "topic")
		}
	}
	message := strings.Repeat("all work and no play ", 1000)
	ids := slices.Collect(e.Clients())
	for _, send := range []struct {
		name      string
		do        func()
		receivers int
	}{
		{"Broadcast", func() { e.Broadcast(message) }, clients},
		{"Multicast", func() { e.Multicast(message, ids...) }, clients},
		{"Publish", func() { e.Publish("topic", message) }, clients / 5},
	} {
		plain.times, compressed.times = make(map[*byte]int), make(map[*byte]int)
		send.do()
		awaitDelivery(t, e)
		for name, p := range map[string]*places{"plain": &plain, "compressed": &compressed} {
			for _, times := range p.times {
				if len(p.times) != 1 || times != send.receivers/2 {
					t.Errorf("%s, %s: %d clients got one of %d copies, want %d to share one", send.name, name, times, len(p.times), send.receivers/2)
				}
			}
			if len(p.times) == 0 {
				t.Errorf("%s, %s: nobody got it", send.name, name)
			}
		}
	}
}
