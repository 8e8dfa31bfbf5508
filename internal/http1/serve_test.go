package http1

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/internal/loop"
	"aerys/internal/loop/looptest"
)

// patient is how long a test waits for what must happen.
const patient = time.Minute

// kinds are the connections that a loop carries: sockets, connections of package
// net, and of another package.
var kinds = []kind{
	{"TCP", plainListener, false},
	{"TLS", plainListener, true},
	{"net.TCPConn", hiddenListener, false},
	{"net.Conn", hiddenConns, false},
	{"TLS over net.Conn", hiddenConns, true},
}

type kind struct {
	name   string
	listen func(net.Listener) net.Listener
	tls    bool
}

func plainListener(l net.Listener) net.Listener  { return l }
func hiddenListener(l net.Listener) net.Listener { return struct{ net.Listener }{l} }
func hiddenConns(l net.Listener) net.Listener    { return hiding{l} }

// hiding hides what its connections are.
type hiding struct{ net.Listener }

func (h hiding) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{conn}, nil
}

// rig is a server on a port.
type rig struct {
	*Server
	kind
	loop     *loop.Loop
	counts   counts
	listener net.Listener
	log      *lockedBuffer
	begun    sync.Once
	clients  []net.Conn

	mu     sync.Mutex
	owners []*Conn // of all that were admitted
}

// counts is told of the connections of a test.
type counts struct{ admitted, upgraded, over atomic.Int64 }

func (c *counts) Upgraded() Counted { c.upgraded.Add(1); return c }
func (c *counts) Over()             { c.over.Add(1) }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// onEach runs a test over each kind of connection.
func onEach(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, r *rig)) {
	on(t, kinds, handler, test)
}

// on runs a test over some kinds of connections. It fails if a connection, a
// goroutine or a buffer is left, or a connection was not counted.
func on(t *testing.T, kinds []kind, handler http.HandlerFunc, test func(t *testing.T, r *rig)) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			r := &rig{Server: &Server{Handler: handler}, kind: kind, log: new(lockedBuffer), loop: loop.New(slog.Default())}
			r.ErrorLog = log.New(r.log, "", 0)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r.listener = listener
			defer r.end(t)
			test(t, r)
		})
	}
}

func (r *rig) end(t *testing.T) {
	for _, c := range r.clients {
		c.Close() // also from those that have taken a connection over
	}
	r.loop.Close(patient)
	r.listener.Close()
	if n := r.loop.Len(); n > 0 {
		t.Errorf("%d connections are left", n)
	}
	noneLeft(t)
	if admitted, over := r.counts.admitted.Load(), r.counts.over.Load(); admitted != over {
		t.Errorf("%d connections were admitted, %d are over", admitted, over)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.owners { // of one that was handed over nobody tells when its turn has ended
		eventually(t, "a connection that is over has nothing of what one needs that is not", l.rests)
	}
}

func (c *Conn) rests() bool {
	c.life.Lock()
	defer c.life.Unlock()
	return c.active == nil
}

// begin accepts connections: options are set before.
func (r *rig) begin() {
	var config *tls.Config
	if r.tls {
		config = &tls.Config{Certificates: []tls.Certificate{certificate()}}
	}
	r.loop.Listen(r.kind.listen(r.listener), config, func(c *loop.Conn) loop.Owner {
		r.counts.admitted.Add(1)
		owner := r.Admit(c, &r.counts).(*Conn)
		r.mu.Lock()
		r.owners = append(r.owners, owner)
		r.mu.Unlock()
		return owner
	})
}

// pass lets seconds pass.
func (r *rig) pass(seconds int) { looptest.Pass(r.loop, seconds) }

// certificate is of the kind that costs least, as are clientConfig's keys:
// thousands of handshakes are not what is tested.
var certificate = sync.OnceValue(func() tls.Certificate {
	_, key, _ := ed25519.GenerateKey(nil)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

var clientConfig = &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}

// client is the other end.
type client struct {
	net.Conn
	*bufio.Reader
	t *testing.T
}

func (c client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (r *rig) dial(t *testing.T) client {
	t.Helper()
	r.begun.Do(r.begin)
	conn, err := net.Dial("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.clients = append(r.clients, conn)
	conn.SetDeadline(time.Now().Add(patient))
	if r.tls {
		conn = tls.Client(conn, clientConfig)
	}
	return client{conn, bufio.NewReader(conn), t}
}

func (c client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) closeWrite() { c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// answer reads a response, and its body.
func (c client) answer() (*http.Response, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Errorf("%v after %q", err, body)
	}
	return response, string(body)
}

// want reads a response and compares its status and body.
func (c client) want(status int, body string) *http.Response {
	c.t.Helper()
	response, got := c.answer()
	if response.StatusCode != status || got != body {
		c.t.Errorf("%d %q, not %d %q", response.StatusCode, got, status, body)
	}
	return response
}

// end reads to the end.
func (c client) end() string {
	rest, _ := io.ReadAll(c.Reader)
	return string(rest)
}

// noneLeft fails if goroutines of this package, or a loop's, other than the test's
// go on.
func noneLeft(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(patient)
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left := ""
		for _, stack := range strings.Split(string(stacks), "\n\n") {
			if (strings.Contains(stack, "http1.(") || strings.Contains(stack, "loop.(")) && !strings.Contains(stack, "testing.tRunner") {
				left += stack + "\n\n"
			}
		}
		if left == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n%s", left)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}

// before fails if a channel gives nothing.
func before[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patient):
		t.Fatal("never: " + what)
	}
	return v
}

func runtimeGoexit() { runtime.Goexit() }

// eventually fails if something does not come about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}
