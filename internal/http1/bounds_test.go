package http1

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// floods are what clients send more of than they should, and how much the server
// may hold for each, besides what a connection is.
var floods = []struct {
	name        string
	begin, more string
	bytes       int64
}{
	{"a line without end", "GET /", "x", 0},
	{"a field without end", "GET / HTTP/1.1\r\nHost: h\r\nX: ", "x", 0},
	{"fields without end", "GET / HTTP/1.1\r\nHost: h\r\n", "X: y\r\n", 0},
	{"half of a long head", "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 30_000), "", 2 * 32 << 10},
	{"empty lines", "", "\r\n", 0},
	{"a body that nobody reads", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n", "body", 0},
	{"a body that a handler does not read yet", "POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n", "body", bufferSize},
	{"a body that a handler reads", "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n", "body", 40 << 10}, // io.Copy's
	{"a chunk's extension without end", "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;", "x", 0},
	{"chunks of one byte", "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", 40 << 10},
	{"trailers without end", "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", 0},
	{"requests behind one that takes long", "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", bufferSize},
	{"little, and reads no answer that has no end", "GET /write HTTP/1.1\r\nHost: h\r\n\r\n", "", 2 * bufferSize},
}

// TestMemoryIsBounded has clients send a lot, and looks at what the server holds
// when they cannot send more, or have sent all of it.
func TestMemoryIsBounded(t *testing.T) {
	const clients, spare = 20, 8 << 10
	for _, flood := range floods {
		t.Run(flood.name, func(t *testing.T) {
			for _, k := range []kind{kinds[0], kinds[3]} {
				release := make(chan struct{})
				on(t, []kind{k}, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/wait" {
						<-release
					}
					readOrWrite(w, r)
				}, func(t *testing.T, r *rig) {
					defer close(release)
					r.limited()
					r.MaxHeaderBytes = 32 << 10
					r.dial(t).Close()
					before := heap()
					r.flood(t, clients, flood.begin, strings.Repeat(flood.more, 1<<10))
					each := int64(0)
					defer func() { t.Log(each, "bytes each") }()
					eventually(t, "the server holds what it may", func() bool { // somebody may still be at it
						each = (heap() - before) / clients
						return each <= flood.bytes+spare
					})
				})
			}
		})
	}
}

// flood has clients send, until nothing moves any more.
func (r *rig) flood(t *testing.T, clients int, begin, more string) {
	var written atomic.Int64
	for range clients {
		c := r.dial(t).Conn
		go func() {
			n, err := io.WriteString(c, begin)
			for sent := n; err == nil && more != "" && sent < 1<<17; sent += n {
				n, err = io.WriteString(c, more)
				written.Add(int64(n))
			}
		}()
	}
	quiet, last := 0, int64(-1)
	eventually(t, "nothing moves", func() bool {
		received, sent := r.loop.Traffic()
		if now := written.Load() + received + sent; now != last {
			quiet, last = 0, now
		}
		quiet++
		return quiet > 50
	})
}

// heap is how much is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold outlives the first
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
