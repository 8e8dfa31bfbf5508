package ws

import (
	"fmt"
	"testing"
)

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
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/receivers, "ns/receiver")
		})
	}
}
