package http1

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What fault_test.go does to a Conn is done here to a loop below it. However an
// exchange ends, handlers have returned, their contexts are done, and no
// connection, goroutine, buffer or descriptor is left; rig.end sees to some of it.

// faulted is an exchange over a loop.
type faulted struct {
	*rig
	exchange string
	script   string
	whole    string // what comes where nothing fails
	mu       sync.Mutex
	contexts []context.Context
	running  atomic.Int64
}

// onFaulty runs a test on each exchange over some kinds of connections.
func onFaulty(t *testing.T, kinds []kind, test func(t *testing.T, f *faulted)) {
	noneOpened(t, func() {
		for _, e := range exchanges {
			t.Run(e.name, func(t *testing.T) {
				f := &faulted{exchange: e.name, script: e.script}
				on(t, kinds, f.watched(e.handler), func(t *testing.T, r *rig) {
					f.rig = r
					test(t, f)
					f.over(t)
				})
			})
		}
	})
}

// noneOpened fails if a file stays open.
func noneOpened(t *testing.T, test func()) {
	t.Helper()
	on(t, kinds[:1], greet, func(t *testing.T, r *rig) { r.dial(t).Close() }) // opens what the runtime keeps
	before := descriptors()
	test()
	eventually(t, "no descriptor is left", func() bool { return descriptors() <= before })
}

// descriptors returns how many files are open, where the system tells.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// watched notes what becomes of a handler.
func (f *faulted) watched(handler http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.contexts = append(f.contexts, r.Context())
		f.mu.Unlock()
		f.running.Add(1)
		defer f.running.Add(-1)
		w.Header()["Date"] = nil
		handler(w, r)
	}
}

// over fails unless all that was begun ends.
func (f *faulted) over(t *testing.T) {
	t.Helper()
	for _, c := range f.clients {
		c.Close()
	}
	eventually(t, "every connection is over", func() bool { return f.loop.Len() == 0 })
	eventually(t, "every handler has returned", func() bool { return f.running.Load() == 0 })
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ctx := range f.contexts {
		eventually(t, "a context is done", func() bool { return ctx.Err() != nil }) // after the handler
	}
}

// passAll lets so much time pass that every connection is over: once all has come
// to rest, the longest limit at once.
func (f *faulted) passAll(t *testing.T) {
	t.Helper()
	f.pass(1)
	eventually(t, "what stalls is over", func() bool {
		f.loop.Sweep(int(defaultIdleTimeout / time.Second))
		f.pass(1)
		return f.loop.Len() == 0
	})
}

// got fails unless a client got what is due where nothing fails.
func (f *faulted) got(t *testing.T, got, how string, at any) {
	t.Helper()
	switch f.exchange {
	case "full duplex", "stream": // what comes depends on when the client's end is seen
		return
	}
	if got != f.whole {
		t.Errorf("%s at %v: got %d bytes of %d: %.200q", how, at, len(got), len(f.whole), got)
	}
}

// play is the client's part. It returns what came until the end.
func (f *faulted) play(c client) string {
	go func() {
		io.WriteString(c.Conn, f.script)
		c.closeWrite()
	}()
	defer c.Close()
	return c.end()
}

// TestFaultsBelowALoop lets each read and write of the connection below a loop
// fail, stall or do less than it was asked to.
func TestFaultsBelowALoop(t *testing.T) {
	faults, accepted := make(chan *fault, 1), make(chan *faultyConn, 1000)
	faulty := func(l net.Listener) net.Listener { return faultyListener{l, faults, accepted} }
	onFaulty(t, []kind{{"net.Conn", faulty, false}, {"TLS over net.Conn", faulty, true}}, func(t *testing.T, f *faulted) {
		once := func(x *fault) string {
			faults <- x
			got := f.play(f.dial(t))
			<-accepted
			return got
		}
		f.whole = once(&fault{at: -1})
		for _, kind := range []string{"splits", "fails", "fails behind a byte", "breaks"} {
			for k, reached := int64(0), true; reached; k += 1 + k/12 {
				x := &fault{kind: kind, at: k}
				got := once(x)
				if reached = x.reached(); kind == "splits" || !reached {
					f.got(t, got, kind, k)
				}
			}
		}
		f.stallEverywhere(t, faults, accepted)
	})
}

// stallEverywhere has connections stall, each a step later, all at the same time.
func (f *faulted) stallEverywhere(t *testing.T, faults chan *fault, accepted chan *faultyConn) {
	var all sync.WaitGroup
	defer all.Wait()
	for k, reached := int64(0), true; reached; k += 1 + k/12 {
		x, ended := &fault{kind: "stalls", at: k}, make(chan struct{})
		faults <- x
		c := f.dial(t)
		all.Add(1)
		go func() {
			defer all.Done()
			if got := f.play(c); !x.reached() {
				f.got(t, got, x.kind, k)
			}
			close(ended)
		}()
		eventually(t, "it stalls, or ends", func() bool {
			select {
			case <-ended:
				reached = x.reached()
				return true
			default:
				return x.reached()
			}
		})
	}
	f.passAll(t)
	for len(accepted) > 0 { // those that were taken over stall still
		(<-accepted).silent.Close()
	}
}

// TestClientsThatStop has clients send the beginning of an exchange, and of
// TLS's handshake, and then end, close, reset or say nothing more.
func TestClientsThatStop(t *testing.T) {
	onFaulty(t, kinds, func(t *testing.T, f *faulted) {
		f.whole = f.play(f.dial(t))
		for n, all := 0, false; !all; n += 1 + n/3 {
			for way, stop := range map[string]func(*net.TCPConn){
				"ends":   func(c *net.TCPConn) { c.CloseWrite() },
				"closes": func(c *net.TCPConn) { c.Close() },
				"resets": func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
				"stalls": func(*net.TCPConn) {},
			} {
				c, short := f.dialShort(t, n)
				_, err := io.WriteString(c.Conn, f.script)
				all = err == nil
				stop(short.TCPConn)
				if way != "ends" {
					continue
				}
				if got := c.end(); all && !f.tls {
					f.got(t, got, way, n)
				}
			}
		}
		f.passAll(t)
	})
}

// dialShort connects a client that sends some bytes and no more.
func (f *faulted) dialShort(t *testing.T, n int) (client, *shortConn) {
	t.Helper()
	f.begun.Do(f.begin)
	conn, err := net.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f.clients = append(f.clients, conn)
	conn.SetDeadline(time.Now().Add(patient))
	short := &shortConn{conn.(*net.TCPConn), n}
	conn = short
	if f.tls {
		conn = tls.Client(short, clientConfig)
	}
	return client{conn, bufio.NewReader(conn), t}, short
}

// TestClientsThatStopReading leaves in the middle of more than sockets take: of
// a handler's writes, and of a file.
func TestClientsThatStopReading(t *testing.T) {
	const size = 64 << 20
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	handlers := map[string]http.HandlerFunc{
		"writes": func(w http.ResponseWriter, _ *http.Request) {
			for p, err := make([]byte, 10_000), error(nil); err == nil; {
				_, err = w.Write(p)
			}
		},
		"a file": func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) },
	}
	noneOpened(t, func() {
		for what, handler := range handlers {
			t.Run(what, func(t *testing.T) {
				f := new(faulted)
				on(t, kinds, f.watched(handler), func(t *testing.T, r *rig) {
					f.rig = r
					f.stopReading(t)
					f.over(t)
				})
			})
		}
	})
}

// stopReading has clients read some bytes and then close, reset or stall.
func (f *faulted) stopReading(t *testing.T) {
	for _, n := range []int64{0, 1, 100, 20_000, 1 << 20} {
		for _, stop := range []func(*net.TCPConn){
			func(c *net.TCPConn) { c.Close() },
			func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
			func(*net.TCPConn) {},
		} {
			c := f.dial(t)
			c.send(hello)
			if _, err := io.CopyN(io.Discard, c.Reader, n); err != nil {
				t.Error(err)
			}
			stop(f.clients[len(f.clients)-1].(*net.TCPConn))
		}
	}
	eventually(t, "those that stay have a handler", func() bool { return f.running.Load() >= 5 })
	f.passAll(t)
}
