package ws_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/ws"
)

// What the tests of package ws share: a server that runs (serve), a handler
// that tells what it was called with (recorder) and, in harness_peer_test.go, a
// client that speaks RFC 6455 by hand (peer). A test reads like this:
//
//	engines(t, func(t *testing.T, at setting) {
//		s := serve(t, at, &recorder{}, unlimited)
//		p := s.dial(t)
//		p.write(text("hello"))
//		p.expect(frame.Text, "hello")
//		p.leave()
//	})

// patience is how long a test waits for what has to come.
const patience = time.Minute

// pollPeriod is between two looks at what cannot be waited for otherwise.
const pollPeriod = 20 * time.Microsecond

// unlimited are options without rates, which tests would soon exceed.
var unlimited = ws.Options{MaxFramesPerSecond: -1, MaxBytesPerMinute: -1}

// setting is a way of serving.
type setting struct {
	name    string
	engine  ws.Engine
	opaque  bool   // connections do not show that they are sockets
	network string // "tcp" or "unix"
	tls     bool
	host    bool // by aerys.Server instead of net/http's
	http2   bool // each connection is a stream of one of HTTP/2

	options aerys.Options                   // of aerys.Server
	mount   func(*ws.Gateway) aerys.Action  // what is served, if not the gateway itself
	wrap    func(net.Listener) net.Listener // changes the connections of net/http's
}

// waitings are the ways in which a connection may wait for bytes.
var waitings = []setting{
	{name: "epoll", engine: ws.EngineEpoll, network: "tcp"},
	{name: "portable", engine: ws.EnginePortable, network: "tcp"},
	{name: "opaque", engine: ws.EnginePortable, network: "tcp", opaque: true},
}

// sockets runs a test over each of them. Those that measure memory use it: what a client
// of HTTP/2 has not read is this process's.
func sockets(t *testing.T, test func(*testing.T, setting)) {
	for _, at := range waitings {
		t.Run(at.name, func(t *testing.T) { test(t, at) })
	}
}

// engines is sockets, and over streams of HTTP/2.
func engines(t *testing.T, test func(*testing.T, setting)) {
	sockets(t, test)
	at := setting{name: "HTTP/2", network: "tcp", http2: true, tls: true, host: true}
	t.Run(at.name, func(t *testing.T) { test(t, at) })
}

// everywhere is engines, and over all else that carries a connection.
func everywhere(t *testing.T, test func(*testing.T, setting)) {
	engines(t, test)
	settings := []setting{
		{name: "epoll on a Unix socket", engine: ws.EngineEpoll, network: "unix"},
		{name: "portable on a Unix socket", engine: ws.EnginePortable, network: "unix"},
		{name: "epoll under aerys.Server", engine: ws.EngineEpoll, network: "tcp", host: true},
		{name: "portable under aerys.Server", engine: ws.EnginePortable, network: "tcp", host: true},
		{name: "TLS", engine: ws.EngineAuto, network: "tcp", tls: true},
		{name: "opaque TLS", engine: ws.EngineAuto, network: "tcp", tls: true, opaque: true},
		{name: "TLS under aerys.Server", engine: ws.EngineAuto, network: "tcp", tls: true, host: true},
		{name: "HTTP/2 in clear text", engine: ws.EngineAuto, network: "tcp", http2: true},
		{name: "HTTP/2 in clear text under aerys.Server", engine: ws.EngineAuto, network: "tcp", http2: true, host: true},
		{name: "HTTP/2 under net/http", engine: ws.EngineAuto, network: "tcp", http2: true, tls: true},
	}
	for _, at := range settings {
		t.Run(at.name, func(t *testing.T) { test(t, at) })
	}
}

// server is a running server, with a gateway at every path.
type server struct {
	*ws.Endpoint
	gateway  *ws.Gateway
	recorder *recorder // its handler, if that is one
	at       setting
	address  string
	shut     func() // ends the HTTP server
	once     sync.Once
}

// serve runs a gateway until the test ends. Then it must stop and leave nothing.
func serve[T any](t testing.TB, at setting, handler ws.Handler[T], options ws.Options) *server {
	t.Helper()
	options.Engine = at.engine
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(complaint{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	}
	remains.begin(t)
	s := &server{gateway: ws.Websocket(handler, options), at: at}
	s.Endpoint = s.gateway.Endpoint()
	s.recorder, _ = any(handler).(*recorder)
	if at.host {
		s.serveHost(t)
	} else {
		s.serveHTTP(t)
	}
	t.Cleanup(func() {
		s.stop(t)
		remains.end(t)
	})
	return s
}

// complaint is a log that must stay empty.
type complaint struct{ testing.TB }

func (c complaint) Write(line []byte) (int, error) {
	c.Errorf("logged: %s", line)
	return len(line), nil
}

// stop closes all clients with 1001 and ends the server. Tests may call it too.
func (s *server) stop(t testing.TB) {
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.gateway.Stop(ctx); err != nil {
			t.Errorf("Gateway.Stop: %v", err)
		}
		s.expectNobody(t)
		s.shut()
	})
}

// expectNobody waits until no clients are left: Stop waits a second at most for
// those that it drops, which is not always enough for a busy machine.
func (s *server) expectNobody(t testing.TB) {
	for end := time.Now().Add(patience); s.Len() > 0; time.Sleep(pollPeriod) {
		if time.Now().After(end) {
			t.Errorf("%d clients are left after Gateway.Stop", s.Len())
			return
		}
	}
}

// shortDir is a directory whose name has room for that of a socket, which t.TempDir
// has not where a test has a long name.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "ws")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// serveHTTP runs a server of net/http.
func (s *server) serveHTTP(t testing.TB) {
	h := httptest.NewUnstartedServer(s.handler())
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.at.network == "unix" {
		h.Listener.Close()
		var err error
		if h.Listener, err = net.Listen("unix", filepath.Join(shortDir(t), "socket")); err != nil {
			t.Fatal(err)
		}
	}
	if s.at.wrap != nil {
		h.Listener = s.at.wrap(h.Listener)
	}
	if s.at.opaque {
		h.Listener = opaqueListener{h.Listener}
	}
	if h.EnableHTTP2 = s.at.http2; s.at.http2 {
		h.Config.Protocols = new(http.Protocols)
		h.Config.Protocols.SetHTTP1(true)
		h.Config.Protocols.SetHTTP2(true)
		h.Config.Protocols.SetUnencryptedHTTP2(true)
	}
	if s.at.tls {
		h.StartTLS()
	} else {
		h.Start()
	}
	s.address, s.shut = h.Listener.Addr().String(), h.Close
}

// handler is what is served.
func (s *server) handler() http.Handler {
	if s.at.mount != nil {
		return s.at.mount(s.gateway).(http.Handler)
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.gateway)
	return mux
}

// serveHost runs a server of package aerys.
func (s *server) serveHost(t testing.TB) {
	ready := make(chan string, 1)
	result := make(chan error, 1)
	options := s.at.options
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	var action aerys.Action = s.gateway
	if s.at.mount != nil {
		action = s.at.mount(s.gateway)
	}
	host := new(aerys.Host).Expose("127.0.0.1", 0).Use(action)
	if s.at.tls {
		host.Encrypt(certificate(t))
	}
	h := aerys.Server{
		Hosts:   []*aerys.Host{host},
		Options: options,
		Ready:   func(addresses []net.Addr) { ready <- addresses[0].String() },
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { result <- h.Serve(ctx) }()
	select {
	case s.address = <-ready:
	case err := <-result:
		t.Fatal(err)
	}
	s.shut = func() {
		cancel()
		if err := <-result; err != nil {
			t.Errorf("aerys.Server: %v", err)
		}
	}
}

// certificate returns the files of httptest's certificate and its key.
func certificate(t testing.TB) (certFile, keyFile string) {
	h := httptest.NewTLSServer(nil)
	defer h.Close()
	pair := h.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, content []byte) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
}

// opaqueListener hides what its connections are.
type opaqueListener struct{ net.Listener }

func (l opaqueListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return opaqueConn{nc}, err
}

type opaqueConn struct{ net.Conn }

func (c opaqueConn) CloseWrite() error { return c.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// remains finds out whether servers leave goroutines or descriptors behind.
var remains leftovers

type leftovers struct {
	mu          sync.Mutex
	servers     int             // that run now
	descriptors int             // open before the first of them
	reported    map[string]bool // goroutines that an earlier test left: one failure is enough
	stacks      []byte          // room for those of all goroutines
}

// begin is called before a server starts.
func (l *leftovers) begin(t testing.TB) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.servers++; l.servers > 1 {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // package net opens some of its own
	if err != nil {
		t.Fatal(err)
	}
	shared, err := loop.Shared().Listen(listener, nil, nil) // and so does the loop that stays
	if err != nil {
		t.Fatal(err)
	}
	shared.Close()
	l.descriptors = descriptors()
}

// end is called when a server has stopped, and looks after the last one.
func (l *leftovers) end(t testing.TB) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.servers--; l.servers > 0 {
		return
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPeriod) {
		left, open := l.goroutines(), descriptors()
		if len(left) == 0 && open <= l.descriptors {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d descriptors are open, %d before: %v. %d goroutines are left:", open, l.descriptors, whatIsOpen(), len(left))
			l.report(t, left)
			return
		}
	}
}

// report tells of the first of them, and makes later tests ignore them all.
func (l *leftovers) report(t testing.TB, left []string) {
	if l.reported == nil {
		l.reported = make(map[string]bool)
	}
	for n, stack := range left {
		if n < 5 {
			t.Log(stack)
		}
		l.reported[goroutineOf(stack)] = true
	}
}

// goroutineOf is the name of the goroutine that a stack is of, "goroutine 1".
func goroutineOf(stack string) string {
	name, _, _ := strings.Cut(stack, " [")
	return name
}

// descriptors counts the open ones where the system tells.
func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// whatIsOpen tells what the descriptors are.
func whatIsOpen() (names []string) {
	open, _ := os.ReadDir("/proc/self/fd")
	for _, descriptor := range open {
		name, _ := os.Readlink("/proc/self/fd/" + descriptor.Name())
		names = append(names, descriptor.Name()+": "+name)
	}
	return names
}

// goroutines returns the stacks of those that run a server, but those reported.
func (l *leftovers) goroutines() (left []string) {
	if l.stacks == nil {
		l.stacks = make([]byte, 4<<20)
	}
	stacks := l.stacks[:runtime.Stack(l.stacks, true)]
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if l.reported[goroutineOf(stack)] {
			continue
		}
		if strings.Contains(stack, "\naerys/ws.") || strings.Contains(stack, "\naerys.") || strings.Contains(stack, "\nnet/http.") {
			left = append(left, stack)
		}
	}
	return left
}

// recorder is a handler that echoes, unless told otherwise, and tells each
// peer's test what it was called with for that peer.
type recorder struct {
	onStart     func(*ws.Endpoint) error
	onHandshake func(*aerys.Request, *aerys.Response)
	onOpen      func(ws.ClientID)
	onData      func(ws.ClientID, *ws.Message) // instead of the echo
	onClose     func(ws.ClientID, ws.Code, string)
	onStop      func()

	endpoint *ws.Endpoint
	visits   sync.Map // of *visit, by number before OnOpen and by ClientID after it
	number   atomic.Uint64
}

// visit is one client, as a recorder sees it.
type visit struct {
	id     ws.ClientID
	opened chan struct{} // closed by OnOpen, when id is known
	calls  chan string   // "OnOpen", "OnData", "OnClose 1000 reason", in their order
	closed chan struct{} // closed by OnClose
}

// visitHeader tells the recorder which peer a handshake is of.
const visitHeader = "X-Visit"

// expectVisit prepares for a client, and returns how it is to be told.
func (r *recorder) expectVisit() (v *visit, field string) {
	v = &visit{opened: make(chan struct{}), calls: make(chan string, 1100), closed: make(chan struct{})}
	number := fmt.Sprint(r.number.Add(1))
	r.visits.Store(number, v)
	return v, visitHeader + ": " + number
}

func (r *recorder) OnStart(e *ws.Endpoint) error {
	r.endpoint = e
	if r.onStart != nil {
		return r.onStart(e)
	}
	return nil
}

func (r *recorder) OnHandshake(req *aerys.Request, res *aerys.Response) *visit {
	if r.onHandshake != nil {
		r.onHandshake(req, res)
	}
	if v, ok := r.visits.LoadAndDelete(req.Header.Get(visitHeader)); ok {
		return v.(*visit)
	}
	v, _ := r.expectVisit()
	return v
}

func (r *recorder) OnOpen(id ws.ClientID, v *visit) {
	v.id = id
	r.visits.Store(id, v)
	v.calls <- "OnOpen"
	close(v.opened)
	if r.onOpen != nil {
		r.onOpen(id)
	}
}

func (r *recorder) OnData(id ws.ClientID, m *ws.Message) {
	r.record(id, "OnData")
	if r.onData != nil {
		r.onData(id, m)
		return
	}
	if body, err := m.Bytes(); err == nil {
		if m.Binary() {
			r.endpoint.SendBinary(body, id)
		} else {
			r.endpoint.SendText(body, id)
		}
	}
}

func (r *recorder) OnClose(id ws.ClientID, code ws.Code, reason string) {
	v := r.record(id, strings.TrimSpace(fmt.Sprintf("OnClose %d %s", code, reason)))
	close(v.closed)
	if r.onClose != nil {
		r.onClose(id, code, reason)
	}
}

func (r *recorder) OnStop() {
	if r.onStop != nil {
		r.onStop()
	}
}

// record notes a call. After OnClose there must be none, hence the panic, which no test survives.
func (r *recorder) record(id ws.ClientID, call string) *visit {
	found, ok := r.visits.Load(id)
	if !ok {
		go panic(fmt.Sprintf("%s of client %d, which was not opened", call, id))
	}
	v := found.(*visit)
	select {
	case <-v.closed:
		go panic(fmt.Sprintf("%s of client %d after its OnClose", call, id))
	default:
	}
	v.calls <- call
	return v
}
