package ws_test

import (
	"bufio"
	"runtime"
	"testing"

	"aerys"
	"aerys/ws"
)

// An idle stream costs one goroutine, which holds no buffer, and no more than 12 KB,
// of which net/http's own buffer takes 4.
func TestIdleStream(t *testing.T) {
	const streams, warm = 1000, 50
	const client = 256 // what the test itself has of each
	at := setting{network: "tcp", http2: true, tls: true, host: true}
	at.options = aerys.Options{MaxConcurrentStreams: 3000, MaxRequestsPerConnection: -1}
	s := serve(t, at, &echoApplication{}, unlimited)
	c := s.dialHTTP2(t)
	var before memory
	var goroutines int
	for n := range streams + warm {
		if n == warm { // what comes once has come
			before, goroutines = memoryInUse(), runtime.NumGoroutine()
		}
		nc := c.stream()
		p := &peer{t: t, server: s, nc: nc, reader: bufio.NewReaderSize(nc, 16)}
		p.write([]byte(p.handshake("User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36",
			"Accept-Encoding: gzip, deflate, br, zstd", "Accept-Language: en-US,en;q=0.9", "Cache-Control: no-cache", "Pragma: no-cache",
			"Origin: https://server.example.com", "Sec-Websocket-Extensions: permessage-deflate; client_max_window_bits")))
		p.expectSwitch()
		p.write(text("hello"))
		p.expect(1, "hello")
	}
	took := runtime.NumGoroutine() - goroutines
	if took > streams+20 {
		t.Errorf("%d goroutines for %d streams", took, streams)
	}
	after := memoryInUse()
	heap, stack := (after.heap-before.heap)/streams, (after.stacks-before.stacks)/streams
	t.Logf("a stream takes %d B of heap, %d B of stack, and %d goroutines for %d", heap, stack, took, streams)
	if !ws.Raced() && heap+stack > 12<<10+client {
		t.Errorf("a stream takes %d B", heap+stack)
	}
	c.conn.Close()
}
