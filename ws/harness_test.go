package ws_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
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
	"aerys/ws"
	"aerys/ws/frame"
)

// What the tests of package ws share: a server that runs (serve), a handler
// that tells what it was called with (recorder) and a client that speaks
// RFC 6455 by hand (peer). A test reads like this:
//
//	engines(t, func(t *testing.T, at setting) {
//		s := serve(t, at, &recorder{}, unlimited)
//		p := s.dial(t)
//		p.write(text("hello"))
//		p.expect(frame.Text, "hello")
//		p.leave()
//	})

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

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

	options aerys.Options                   // of aerys.Server
	mount   func(*ws.Gateway) aerys.Action  // what is served, if not the gateway itself
	wrap    func(net.Listener) net.Listener // changes the connections of net/http's
}

// engines runs a test over each way in which a connection may wait for bytes.
func engines(t *testing.T, test func(*testing.T, setting)) {
	settings := []setting{
		{name: "epoll", engine: ws.EngineEpoll, network: "tcp"},
		{name: "portable", engine: ws.EnginePortable, network: "tcp"},
		{name: "opaque", engine: ws.EnginePortable, network: "tcp", opaque: true},
	}
	for _, at := range settings {
		t.Run(at.name, func(t *testing.T) { test(t, at) })
	}
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
		if n := s.Len(); n != 0 {
			t.Errorf("%d clients are left after Gateway.Stop", n)
		}
		s.shut()
	})
}

// serveHTTP runs a server of net/http.
func (s *server) serveHTTP(t testing.TB) {
	h := httptest.NewUnstartedServer(s.handler())
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	if s.at.network == "unix" {
		h.Listener.Close()
		var err error
		if h.Listener, err = net.Listen("unix", filepath.Join(t.TempDir(), "socket")); err != nil {
			t.Fatal(err)
		}
	}
	if s.at.wrap != nil {
		h.Listener = s.at.wrap(h.Listener)
	}
	if s.at.opaque {
		h.Listener = opaqueListener{h.Listener}
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
	h := aerys.Server{
		Hosts:   []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(action)},
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

// opaqueListener hides what its connections are.
type opaqueListener struct{ net.Listener }

func (l opaqueListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return opaqueConn{nc}, err
}

type opaqueConn struct{ net.Conn }

func (c opaqueConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// remains finds out whether servers leave goroutines or descriptors behind.
var remains leftovers

type leftovers struct {
	mu          sync.Mutex
	servers     int // that run now
	descriptors int // open before the first of them
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
	listener.Close()
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
		left, open := goroutines(), descriptors()
		if left == "" && open <= l.descriptors {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("%d descriptors are open, %d before. Goroutines left:\n%s", open, l.descriptors, left)
			return
		}
	}
}

// descriptors counts the open ones where the system tells.
func descriptors() int {
	open, _ := os.ReadDir("/proc/self/fd")
	return len(open)
}

// goroutines returns the stacks of those that run a server.
func goroutines() string {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var left []string
	for _, stack := range strings.Split(string(stacks), "\n\n") {
		if strings.Contains(stack, "\naerys/ws.") || strings.Contains(stack, "\naerys.") || strings.Contains(stack, "\nnet/http.") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
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
	v = &visit{opened: make(chan struct{}), calls: make(chan string, 1<<12), closed: make(chan struct{})}
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

// peer is a client that speaks RFC 6455 by hand, so that it can break it. Its
// methods end the test when what they want does not come.
type peer struct {
	t      testing.TB
	server *server
	nc     net.Conn
	reader *bufio.Reader
	visit  *visit // nil unless the handler is a recorder
	sent   uint64 // bytes behind the handshake
}

// connect opens a connection and sends nothing.
func (s *server) connect(t testing.TB) *peer {
	t.Helper()
	var nc net.Conn
	var err error
	if s.at.tls {
		nc, err = tls.Dial(s.at.network, s.address, &tls.Config{InsecureSkipVerify: true})
	} else {
		nc, err = net.Dial(s.at.network, s.address)
	}
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	p := &peer{t: t, server: s, nc: nc, reader: bufio.NewReader(nc)}
	t.Cleanup(func() { nc.Close() })
	return p
}

// dial opens a WebSocket connection. More fields of the handshake may follow.
func (s *server) dial(t testing.TB, fields ...string) *peer {
	t.Helper()
	p := s.connect(t)
	p.write([]byte(p.handshake(fields...)))
	p.expectSwitch()
	return p
}

// sampleKey and sampleAccept are those of RFC 6455 §1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// handshake returns the request of an opening handshake (RFC 6455 §4.1).
func (p *peer) handshake(fields ...string) string {
	lines := append([]string{
		"GET /chat HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + sampleKey,
	}, fields...)
	if p.server.recorder != nil {
		var field string
		p.visit, field = p.server.recorder.expectVisit()
		lines = append(lines, field)
	}
	return request(lines...)
}

// request ends lines as HTTP/1.1 does.
func request(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// response reads the answer to a request. A body is read to its end.
func (p *peer) response() *http.Response {
	p.t.Helper()
	res, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		p.t.Fatalf("no response: %v", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(res.Body)
		if err != nil {
			p.t.Fatalf("response body: %v", err)
		}
		res.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return res
}

// expectSwitch reads a 101 (RFC 6455 §4.2.2).
func (p *peer) expectSwitch() *http.Response {
	p.t.Helper()
	res := p.response()
	h := res.Header
	if res.StatusCode != http.StatusSwitchingProtocols || h.Get("Sec-WebSocket-Accept") != sampleAccept ||
		!strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade") {
		p.t.Fatalf("no upgrade: %s %v", res.Status, h)
	}
	p.sent = 0
	return res
}

// write sends bytes as they are. That the server is gone is for reads to see.
func (p *peer) write(wire []byte) {
	n, _ := p.nc.Write(wire)
	p.sent += uint64(n)
}

// trickle sends bytes in pieces of n, each when the server has read the one before.
func (p *peer) trickle(wire []byte, n int) {
	p.t.Helper()
	for len(wire) > 0 {
		n = min(n, len(wire))
		p.write(wire[:n])
		wire = wire[n:]
		p.awaitRead()
	}
}

// awaitRead waits until the server has read all that was sent, or is gone.
func (p *peer) awaitRead() {
	p.t.Helper()
	id, unseen := p.id(), uint64(0)
	if p.server.at.opaque || p.server.at.tls {
		unseen = 2 // are counted when more comes
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(pollPeriod) {
		info, ok := p.server.Info(id)
		if !ok || info.BytesRead+unseen >= p.sent || !info.Closed.IsZero() {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the server read %d bytes of %d", info.BytesRead, p.sent)
		}
	}
}

// received is a frame from the server.
type received struct {
	frame.Header
	payload string
}

// read reads one frame and checks that a server may send it.
func (p *peer) read() (received, error) {
	p.t.Helper()
	for size := 2; ; size++ {
		wire, err := p.reader.Peek(size)
		if err != nil {
			return received{}, err
		}
		h, n, err := frame.ParseHeader(wire)
		if err != nil {
			p.t.Fatalf("a bad frame: % x: %v", wire, err)
		}
		if n == 0 {
			continue
		}
		if h.Masked || h.Opcode.Control() && (!h.Fin || h.Length > 125) {
			p.t.Fatalf("a frame that no server may send: %+v", h)
		}
		p.reader.Discard(n)
		payload := make([]byte, h.Length)
		_, err = io.ReadFull(p.reader, payload)
		return received{h, string(payload)}, err
	}
}

// expect reads a frame of this content.
func (p *peer) expect(opcode frame.Opcode, payload string) {
	p.t.Helper()
	got, err := p.read()
	if err != nil {
		p.t.Fatalf("%v instead of a %v frame", err, opcode)
	}
	if got.Opcode != opcode || got.payload != payload || !got.Fin || got.Rsv != 0 {
		p.t.Fatalf("got %s instead of %s", brief(got.Opcode, got.payload), brief(opcode, payload))
	}
}

// expectClose reads a close frame with this code, or CodeNoStatus for none, and returns its reason.
func (p *peer) expectClose(code ws.Code) (reason string) {
	p.t.Helper()
	got, err := p.read()
	if err != nil {
		p.t.Fatalf("%v instead of a close frame", err)
	}
	if got.Opcode != frame.Close {
		p.t.Fatalf("got %s instead of a close frame", brief(got.Opcode, got.payload))
	}
	sent, reason, err := frame.ParseClose([]byte(got.payload))
	if err != nil || sent != code {
		p.t.Fatalf("closed with %v %q %v instead of %v", sent, reason, err, code)
	}
	return reason
}

// expectEOF sees the end of what the server sends.
func (p *peer) expectEOF() {
	p.t.Helper()
	if got, err := p.read(); err == nil {
		p.t.Fatalf("got %s instead of the end", brief(got.Opcode, got.payload))
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("the server did not end the connection")
	}
}

// id waits for OnOpen and returns the client's id. The handler has to be a recorder.
func (p *peer) id() ws.ClientID {
	p.t.Helper()
	select {
	case <-p.visit.opened:
		return p.visit.id
	case <-time.After(patience):
		p.t.Fatal("OnOpen was not called")
		return 0
	}
}

// expectCalls waits for these calls of the handler, in this order.
func (p *peer) expectCalls(calls ...string) {
	p.t.Helper()
	timeout := time.After(patience)
	for i, want := range calls {
		select {
		case got := <-p.visit.calls:
			if got != want {
				p.t.Fatalf("call %d is %q, not %q", i, got, want)
			}
		case <-timeout:
			p.t.Fatalf("call %d, %q, did not come", i, want)
		}
	}
}

// leave closes the connection as RFC 6455 §7 wants it, and waits for OnClose.
func (p *peer) leave() {
	p.t.Helper()
	p.write(closing(ws.CodeNormal, "bye"))
	p.expectClose(ws.CodeNormal)
	p.expectEOF()
	p.nc.Close()
	p.awaitOnClose()
}

// awaitOnClose waits for OnClose, if the handler is a recorder.
func (p *peer) awaitOnClose() {
	p.t.Helper()
	if p.visit == nil {
		return
	}
	select {
	case <-p.visit.closed:
	case <-time.After(patience):
		p.t.Fatal("OnClose was not called")
	}
}

// brief tells of a frame that may be large.
func brief(opcode frame.Opcode, payload string) string {
	if len(payload) > 60 {
		return fmt.Sprintf("%v %q… (%d bytes)", opcode, payload[:60], len(payload))
	}
	return fmt.Sprintf("%v %q", opcode, payload)
}

// masked returns a frame as a client sends it. Tests that break a rule set h accordingly.
func masked(h frame.Header, payload string) []byte {
	if h.Key == ([4]byte{}) {
		h.Key = [4]byte{0x37, 0xfa, 0x21, 0x3d}
	}
	h.Masked, h.Length = true, int64(len(payload))
	return appendMasked(nil, h, payload)
}

// appendMasked appends h as it is, and the payload masked with its key.
func appendMasked(wire []byte, h frame.Header, payload string) []byte {
	wire = append(frame.AppendHeader(wire, h), payload...)
	frame.Mask(wire[len(wire)-len(payload):], h.Key, 0)
	return wire
}

func text(s string) []byte   { return masked(frame.Header{Fin: true, Opcode: frame.Text}, s) }
func binary(s string) []byte { return masked(frame.Header{Fin: true, Opcode: frame.Binary}, s) }
func ping(s string) []byte   { return masked(frame.Header{Fin: true, Opcode: frame.Ping}, s) }
func pong(s string) []byte   { return masked(frame.Header{Fin: true, Opcode: frame.Pong}, s) }

// first, middle and last are the fragments of a message.
func first(opcode frame.Opcode, s string) []byte { return masked(frame.Header{Opcode: opcode}, s) }
func middle(s string) []byte                     { return masked(frame.Header{}, s) }
func last(s string) []byte                       { return masked(frame.Header{Fin: true}, s) }

// closing returns a close frame; its payload is sent as it is, be it valid or not.
func closing(code ws.Code, reason string) []byte {
	return closingPayload(string([]byte{byte(code >> 8), byte(code)}) + reason)
}

func closingPayload(s string) []byte { return masked(frame.Header{Fin: true, Opcode: frame.Close}, s) }

// join puts frames one behind the other.
func join(frames ...[]byte) (wire []byte) {
	for _, f := range frames {
		wire = append(wire, f...)
	}
	return wire
}
