package http1

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

// ways are what a handler does with a body.
var ways = map[string]func(w http.ResponseWriter, r *http.Request){
	"reads it":                func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) },
	"ignores it":              func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") },
	"closes it":               func(w http.ResponseWriter, r *http.Request) { r.Body.Close() },
	"reads a byte of it":      func(w http.ResponseWriter, r *http.Request) { r.Body.Read(make([]byte, 1)) },
	"replaces it":             func(w http.ResponseWriter, r *http.Request) { r.Body = http.NoBody },
	"reads it too late":       func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 5000)); io.Copy(io.Discard, r.Body) },
	"reads it in full duplex": func(w http.ResponseWriter, r *http.Request) { duplex(w, r) },
	"ignores it, full duplex": func(w http.ResponseWriter, r *http.Request) { http.NewResponseController(w).EnableFullDuplex() },
	"flushes":                 func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() },
	"panics":                  func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"limits it to a byte":     func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1)) },
	"reads it in a goroutine": func(w http.ResponseWriter, r *http.Request) { go io.Copy(io.Discard, r.Body) },
	"panics having read some": func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		panic(http.ErrAbortHandler)
	},
	"answers having read some": func(w http.ResponseWriter, r *http.Request) {
		r.Body.Read(make([]byte, 1))
		io.WriteString(w, "answer")
	},
}

// attack sends something with a request behind it, and returns what came back,
// and whether that request was served.
func attack(t *testing.T, r *rig, served *atomic.Int32, bytes string) (answer string, through bool) {
	t.Helper()
	served.Store(0)
	c := r.dial(t)
	io.WriteString(c.Conn, bytes+smuggled) // the server may have closed
	c.closeWrite()
	answer = c.end()
	c.Close()
	return answer, served.Load() > 0
}

// TestRefusedHeads is the table of heads over sockets: a head that is refused
// ends the connection, and nothing behind it is a request.
func TestRefusedHeads(t *testing.T) {
	var served atomic.Int32
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/smuggled" {
			served.Add(1)
		}
	}, func(t *testing.T, r *rig) {
		for _, row := range heads {
			answer, through := attack(t, r, &served, row.head)
			if row.status != 0 && (through || !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", row.status)) || !strings.Contains(answer, "Connection: close\r\n")) {
				t.Errorf("%s: %q: served %v, %q", row.section, row.head, through, answer)
			}
			if row.status == 0 && strings.HasPrefix(row.head, "GET") && !through && !strings.Contains(row.head, "HTTP/1.0") {
				t.Errorf("%s: %q: nothing is served behind it: %q", row.section, row.head, answer)
			}
		}
	})
}

// TestBodiesAreNoRequests: whatever a handler does with a body, none of it is
// read as a request, and behind a malformed one there is none. What is read is
// the same over TLS, whatever is below it.
func TestBodiesAreNoRequests(t *testing.T) {
	var served atomic.Int32
	on(t, kinds[:4], func(w http.ResponseWriter, r *http.Request) {
		switch way := ways[r.Header.Get("Way")]; {
		case way != nil:
			way(w, r)
		case r.URL.Path == "/smuggled":
			served.Add(1)
		default:
			t.Errorf("%s is served", r.URL)
		}
	}, func(t *testing.T, r *rig) {
		attacks := 0
		defer func() { t.Log(attacks, "attacks") }()
		for way := range ways {
			head := "POST / HTTP/1.1\r\nHost: h\r\nWay: " + way + "\r\n"
			for _, row := range bodiesInChunks {
				attacks++
				_, through := attack(t, r, &served, head+"Transfer-Encoding: chunked\r\n\r\n"+row.raw[:len(row.raw)-len(row.rest)])
				if through && (row.err != nil || strings.Contains(way, "panics")) {
					t.Errorf("%s: %.100q: a handler that %s", row.section, row.raw, way)
				}
			}
			for _, method := range []string{"GET", "HEAD", "POST", "DELETE", "OPTIONS"} {
				for _, field := range []string{"", "Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "Connection: close\r\n"} {
					request := strings.Replace(head, "POST", method, 1) + field + "Content-Length: 31\r\n\r\nGET /body HTTP/1.1\r\nHost: h\r\n\r\n"
					attacks++
					attack(t, r, &served, request)
				}
			}
		}
	})
}
