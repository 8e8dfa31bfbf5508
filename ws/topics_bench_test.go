package ws

import (
	"fmt"
	"runtime"
	"testing"
)

// Messages that leave together and each except their sender cost what they cost
// without exceptions.
func BenchmarkBroadcastExcept(b *testing.B) {
	const clients, messages = 100, 1000
	for name, except := range map[string]bool{"all": false, "others": true} {
		b.Run(name, func(b *testing.B) {
			e := newEndpoint(&functions{}, Options{HeartbeatPeriod: -1, MaxQueuedBytes: -1, MaxQueuedMessages: -1})
			var ids []ClientID
			for range clients {
				ids = append(ids, openPipe(e, &pipe{mute: true}, 0).id)
			}
			message := string(make([]byte, 32))
			b.ReportAllocs()
			for b.Loop() {
				e.busy.Add(1)
				for n := range messages {
					if except {
						e.Broadcast(message, ids[n%clients])
					} else {
						e.Broadcast(message)
					}
				}
				e.endTurn()
				for e.feed.pending() {
					runtime.Gosched()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/clients/messages, "ns/delivery")
		})
	}
}

// wait waits until everybody has everything.
func (f *feed[C]) wait() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.batches) > 0 {
		f.room.Wait()
	}
}

// Publishing to a topic costs what its 10,000 receivers cost, however many
// subscriptions there are besides. There are no sockets here, which would hide
// any difference: ns/receiver is all that Publish itself takes.
func BenchmarkPublish(b *testing.B) {
	const receivers = 10_000
	for _, run := range []struct {
		name   string
		topics int
	}{
		{"alone", 1},
		{"among=1000000", 100},
	} {
		b.Run(run.name, func(b *testing.B) {
			e := newEndpoint(&functions{}, Options{HeartbeatPeriod: -1})
			for range receivers {
				p := openPipe(e, &pipe{mute: true}, 0)
				for n := range run.topics {
					if err := e.Subscribe(p.id, fmt.Sprint("topic ", n)); err != nil {
						b.Fatal(err)
					}
				}
			}
			message := string(make([]byte, 128))
			b.ReportAllocs()
			for b.Loop() {
				e.Publish("topic 0", message)
				e.feed.wait()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/receiver")
		})
	}
}
