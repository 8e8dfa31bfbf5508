package ws_test

import (
	"bufio"
	"net"
	"runtime"
	"strings"
	"testing"

	"aerys/ws/frame"
)

// An idle client that compresses costs what a plain one costs: flate's readers
// and writers are with those that have something to do. Where a goroutine waits
// for each, its stack is not one that inflated. The clients' sockets are counted
// too, and cost the same.
func BenchmarkIdleCompression(b *testing.B) {
	for _, at := range waitings[:2] {
		b.Run(at.name, func(b *testing.B) {
			var plain, compressed memory
			for range b.N {
				plain, compressed = idleMemory(b, at, false), idleMemory(b, at, true)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(plain.heap), "B/plain-heap")
			b.ReportMetric(float64(plain.stacks), "B/plain-stack")
			b.ReportMetric(float64(compressed.heap-plain.heap), "B/compression-heap")
			b.ReportMetric(float64(compressed.stacks-plain.stacks), "B/compression-stack")
			if compressed.heap > plain.heap+100 || compressed.stacks > plain.stacks+1000 { // stacks are used again by others: the figure is rough
				b.Errorf("an idle client costs %+v with compression, %+v without: more than 100 B", compressed, plain)
			}
		})
	}
}

// memory is what is in use, or what one client of many costs.
type memory struct{ heap, stacks int64 }

// idleMemory returns what a client costs that has once sent and received.
func idleMemory(b *testing.B, at setting, compression bool) memory {
	const clients = 2000
	options := unlimited
	options.Compression = true
	s := serve(b, at, &echoApplication{}, options)
	defer s.stop(b)
	message := strings.Repeat("all work and no play makes a dull message; ", 25)
	wire, field := text(message), "X-Compression: no"
	if compression {
		wire, field = masked(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text}, deflate(message)), compressing
	}
	var before memory
	for n := range clients + 100 {
		if n == 100 { // what comes once has come
			before = memoryInUse()
		}
		nc, err := net.Dial(at.network, s.address)
		if err != nil {
			b.Fatal(err)
		}
		defer nc.Close()
		p := &peer{t: b, server: s, nc: nc, reader: bufio.NewReader(nc)}
		p.write([]byte(p.handshake(field)))
		p.expectSwitch()
		p.write(wire)
		if got, err := p.read(); err != nil || got.Opcode != frame.Text || compression != (got.Rsv == 4) {
			b.Fatalf("%s, %v", brief(got.Opcode, got.payload), err)
		}
	}
	after := memoryInUse()
	return memory{(after.heap - before.heap) / clients, (after.stacks - before.stacks) / clients}
}

// memoryInUse is what is in use when the pools are empty.
func memoryInUse() memory {
	for range 3 {
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return memory{int64(stats.HeapAlloc), int64(stats.StackInuse)}
}
