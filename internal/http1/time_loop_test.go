package http1

import (
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// stops are the ways of a client to stop, and how many seconds it may stay then.
var stops = []struct {
	name  string
	sends string
	phase phase // that it stays in
	limit int
}{
	{"before it has sent anything", "", fresh, 10},
	{"in the middle of a head", "GET / HTTP/1.1\r\nHost", reading, 10},
	{"in the middle of HTTP/2's preface", "PRI * HTTP/2.0\r\n", reading, 10},
	{"behind a request", hello, idle, 75},
	{"in the middle of another head", hello + "GET / HT", reading, 10},
	{"in the middle of a body", "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nbody", waiting, 30},
	{"in the middle of a chunk", "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbo", waiting, 30},
	{"when it may send a body", "POST /read HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", waiting, 30},
	{"in the middle of a body that nobody reads", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nbody", skipping, 30},
	{"behind its last request", "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\nbody", lingering, 2},
	{"behind a request that is refused", "GET / HTTP/1.1\r\n\r\n", lingering, 2},
	{"to read", "GET /write HTTP/1.1\r\nHost: h\r\n\r\n", handling, 30},
}

// TestTimeLimits turns the loop's clock until clients that have stopped are
// closed, or cut off: not sooner than their limit says, and hardly later.
func TestTimeLimits(t *testing.T) {
	for _, stop := range stops {
		t.Run(stop.name, func(t *testing.T) {
			onEach(t, readOrWrite, func(t *testing.T, r *rig) {
				r.limited()
				c := r.dial(t)
				c.send(stop.sends)
				r.stays(t, stop.phase, stop.limit)
			})
		})
	}
	t.Run("in the middle of TLS's handshake", func(t *testing.T) {
		encrypted := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !k.tls })
		on(t, encrypted, greet, func(t *testing.T, r *rig) {
			r.limited()
			r.dial(t)
			io.WriteString(r.clients[0], "\x16\x03\x01\x01\x00\x01")
			r.stays(t, fresh, 10)
		})
	})
}

// readOrWrite reads a body, or writes without end, or greets.
func readOrWrite(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/read":
		io.Copy(io.Discard, r.Body)
	case "/write":
		for p, err := make([]byte, 10_000), error(nil); err == nil; {
			_, err = w.Write(p)
		}
	default:
		greet(w, r)
	}
}

func (r *rig) limited() {
	r.HTTP2 = func(conn net.Conn, counted Counted) { conn.Close(); counted.Over() }
	r.HeaderTimeout, r.IdleTimeout, r.BodyTimeout, r.WriteTimeout = 10*time.Second, 75*time.Second, 30*time.Second, 30*time.Second
}

// stays waits for the only connection to be in a phase, and lets time pass until
// it is closed or cut off.
func (r *rig) stays(t *testing.T, in phase, limit int) {
	t.Helper()
	var l *Conn
	quiet, sent := 0, int64(0)
	eventually(t, "the phase", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.loop.Len() == 0 {
			return false
		}
		l = r.owners[0]
		if phase(l.phase.Load()) != in {
			return false
		}
		if _, n := r.loop.Traffic(); n != sent { // it writes what sockets have room for
			quiet, sent = 0, n
		}
		quiet++
		return in != handling || quiet > 20
	})
	r.pass(1) // it has noticed
	began := r.loop.Now()
	for phase(l.phase.Load()) != over && !l.interrupted.Load() && !cutOff(l) {
		if _, n := r.loop.Traffic(); in == handling && n != sent { // there was a little room left
			began, sent = r.loop.Now(), n
		}
		r.pass(1)
	}
	if after := int(r.loop.Now() - began); after < limit-1 || after > limit+3 {
		t.Errorf("after %d s", after)
	}
	for _, c := range r.clients {
		c.Close()
	}
}

// cutOff reports whether the client has taken nothing for too long.
func cutOff(l *Conn) bool {
	l.life.Lock()
	defer l.life.Unlock()
	return l.active != nil && l.stuck.Load()
}
