package aerys

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testServer is a Server that runs.
type testServer struct {
	*Server
	addresses []net.Addr
	log       *safeBuffer
	cancel    context.CancelFunc
	stopped   chan error // gets what Serve returned
}

// safeBuffer is a bytes.Buffer for several goroutines.
type safeBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// runServer serves hosts until the test ends, when it checks that Serve stops
// with nil, unless the test called stop before.
func runServer(t *testing.T, options Options, hosts ...*Host) *testServer {
	t.Helper()
	s := &testServer{log: new(safeBuffer), stopped: make(chan error, 1)}
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	}
	ready := make(chan []net.Addr, 1)
	s.Server = &Server{Options: options, Hosts: hosts, Ready: func(addresses []net.Addr) { ready <- addresses }}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx) }()
	select {
	case s.addresses = <-ready:
	case err := <-result:
		t.Fatal(err)
	}
	go func() { s.stopped <- <-result }()
	t.Cleanup(func() {
		s.cancel()
		select {
		case err := <-s.stopped:
			if err != nil {
				t.Errorf("Serve returned %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve did not return")
		}
	})
	return s
}

// stop stops the server and returns what Serve returned.
func (s *testServer) stop() error {
	s.cancel()
	err := <-s.stopped
	s.stopped <- nil
	return err
}

// addr is the first address.
func (s *testServer) addr() string { return s.addresses[0].String() }

// dial opens a connection that fails the test's reads after 5 seconds.
func dial(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(address.Network(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// converse sends text on a new connection and returns everything that comes
// back until the server closes it.
func converse(t *testing.T, address net.Addr, text string) string {
	t.Helper()
	conn := dial(t, address)
	go io.WriteString(conn, text)
	answer, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Fatalf("no end after %.200q", answer)
	}
	return string(answer)
}

// get reads the answer to a request for a path under a name.
func (s *testServer) get(t *testing.T, address net.Addr, host, path string) string {
	t.Helper()
	return converse(t, address, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 5 s: ", what)
		}
	}
}

// answer is an action that answers with a text.
func answer(text string) func(*Request, *Response) {
	return func(_ *Request, res *Response) { res.End(text) }
}

// local is a host that answers with a text on a free port.
func local(text string) *Host { return new(Host).Expose("127.0.0.1", 0).Use(answer(text)) }

// statusAndBody takes an answer apart.
func statusAndBody(t *testing.T, text string) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%v in %.200q", err, text)
	}
	defer response.Body.Close()
	all, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(all)
}

func TestHostIsChosenByName(t *testing.T) {
	port := func(s *testServer) int { return s.addresses[0].(*net.TCPAddr).Port }
	free := freePort(t)
	s := runServer(t, Options{},
		local("any"),
		local("www").Name("WWW.Example.com"),
		local("six").Name("[::1]"),
		local("all ports").Name("all.example:*"),
		new(Host).Name("*:"+fmt.Sprint(free)).Expose("127.0.0.1", free).Expose("127.0.0.1", 0).Use(answer("any on a port")),
		new(Host).Name(fmt.Sprint("api.example:", free)).Expose("127.0.0.1", free).Use(answer("api on a port")),
	)
	for _, test := range []struct {
		address int
		host    string
		want    string
	}{
		{0, "www.example.com", "www"},
		{0, "WWW.EXAMPLE.COM", "www"},
		{0, "www.example.com.", "www"},
		{0, fmt.Sprint("www.example.com:", port(s)), "www"},
		{0, "www.example.com:1", "www"}, // the local port counts, not this one
		{0, "[::1]", "six"},
		{0, "[::1]:80", "six"},
		{0, "all.example", "all ports"},
		{0, "api.example", "any"},
		{0, "other", "any"},
		{0, "", "any"},
		{1, "api.example", "api on a port"},
		{1, "www.example.com", "any on a port"},
	} {
		_, body := statusAndBody(t, s.get(t, s.addresses[test.address], test.host, "/"))
		if body != test.want {
			t.Errorf("address %d, Host %q: %q answered, want %q", test.address, test.host, body, test.want)
		}
	}
}

func TestUnknownNameIsRefused(t *testing.T) {
	s := runServer(t, Options{}, local("a").Name("a.example"))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example/../b\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
	} {
		if status, _ := statusAndBody(t, converse(t, s.addresses[0], request)); status != 400 {
			t.Errorf("%q: status %d, want 400", request, status)
		}
	}
	// The target's authority outweighs the Host header (RFC 9112 §3.2.2).
	if _, body := statusAndBody(t, converse(t, s.addresses[0], "GET http://a.example/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")); body != "a" {
		t.Errorf("absolute target: %q", body)
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestHostPanicsAtWrongArguments(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(h *Host)
		want string
	}{
		{"empty name", func(h *Host) { h.Name("") }, `aerys: Host.Name(""): want a host name`},
		{"space", func(h *Host) { h.Name("a b") }, `Host.Name("a b")`},
		{"slash", func(h *Host) { h.Name("http://a") }, `Host.Name("http://a")`},
		{"partial wildcard", func(h *Host) { h.Name("*.example") }, `Host.Name("*.example")`},
		{"no IPv6", func(h *Host) { h.Name("[x]") }, `Host.Name("[x]")`},
		{"port 0", func(h *Host) { h.Name("a:0") }, `Host.Name("a:0")`},
		{"port 65536", func(h *Host) { h.Name("a:65536") }, `Host.Name("a:65536")`},
		{"port http", func(h *Host) { h.Name("a:http") }, `Host.Name("a:http")`},
		{"port too high", func(h *Host) { h.Expose("*", 65536) }, `Host.Expose("*", 65536): want a port from 0 to 65535`},
		{"negative port", func(h *Host) { h.Expose("::", -1) }, `Host.Expose("::", -1)`},
		{"a name to listen on", func(h *Host) { h.Expose("example.com", 80) }, `want "*", "localhost", an IP address`},
		{"socket with port", func(h *Host) { h.Expose("/run/a.sock", 80) }, `a Unix socket has port 0`},
		{"no certificate", func(h *Host) { h.Encrypt("", "") }, `aerys: Host.Encrypt("", ""): want a certificate file, or a tls.Config with GetCertificate`},
		{"none in the config", func(h *Host) { h.Encrypt("", "", &tls.Config{NextProtos: []string{"h2"}}) }, `want a certificate file, or a tls.Config with GetCertificate`},
		{"no config", func(h *Host) { h.Encrypt("", "", nil) }, `want a certificate file, or a tls.Config with GetCertificate`},
		{"a key alone", func(h *Host) { h.Encrypt("", "a.key", &tls.Config{GetCertificate: theirs(tls.Certificate{})}) }, `want the file with the certificate that the key is for`},
		{"two configs", func(h *Host) { h.Encrypt("a", "b", nil, nil) }, `at most one tls.Config`},
		{"no action", func(h *Host) { h.Use(1) }, `Host.Use: action 1 of 1 is of type int`},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, test.want) {
					t.Errorf("panic %q, want %q in it", text, test.want)
				}
			}()
			test.call(new(Host))
		})
	}
}

func TestContradictionsAreErrorsAtStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	cert, key := writeCertificate(t, t.TempDir(), "a.example")
	ended := answer("")
	for _, test := range []struct {
		name    string
		options Options
		hosts   []*Host
		want    string
	}{
		{"no hosts", Options{}, nil, "without Hosts"},
		{"two wildcards", Options{}, []*Host{local("a"), local("b").Name("*")},
			"aerys: host * on 127.0.0.1:0: there is a host without a name already"},
		{"one name twice", Options{}, []*Host{local("a").Name("a.example"), local("b").Name("A.example.")},
			"aerys: host a.example on 127.0.0.1:0: there is a host of that name already"},
		{"encrypted and plain", Options{}, []*Host{local("a").Name("a"), local("b").Name("b").Encrypt(cert, key)},
			"aerys: host b on 127.0.0.1:0: encrypted and plain hosts cannot share an address (the other is a)"},
		{"port in use", Options{}, []*Host{new(Host).Expose("127.0.0.1", port).Use(ended)},
			fmt.Sprintf("aerys: host * on 127.0.0.1:%d: listen", port)},
		{"port of the name not exposed", Options{}, []*Host{local("a").Name("a:81")},
			"aerys: host a:81: not exposed on the port in its name, but on [127.0.0.1:0]"},
		{"no certificate", Options{}, []*Host{local("a").Encrypt("missing.pem", "")}, "aerys: host * on [127.0.0.1:0]: cannot use its certificate: open missing.pem"},
		{"no certificate at the default address", Options{}, []*Host{new(Host).Encrypt("missing.pem", "")}, "aerys: host * on [*:443]: cannot use its certificate"},
		{"no key", Options{}, []*Host{local("a").Encrypt(cert, "")}, "aerys: host * on [127.0.0.1:0]: cannot use its certificate: tls: "},
		{"unknown user", Options{User: "no such user"}, []*Host{local("a")}, "aerys: Options.User"},
		{"negative limit", Options{MaxHeaderSize: -1}, []*Host{local("a")}, "aerys: Options.MaxHeaderSize is negative"},
		{"no method", Options{AllowedMethods: []string{"GET POST"}}, []*Host{local("a")}, `aerys: Options.AllowedMethods: "GET POST" is no method`},
		{"no content type", Options{DefaultContentType: "/"}, []*Host{local("a")}, `aerys: Options.DefaultContentType "/"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &Server{Options: test.options, Hosts: test.hosts}
			if err := server.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Serve returned %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestAddressesAreShownAndOpened(t *testing.T) {
	for _, test := range []struct {
		host *Host
		url  string
	}{
		{new(Host).Expose("*", 8080), "http://localhost:8080/"},
		{new(Host), "http://localhost/"},
		{new(Host).Encrypt("x", "y"), "https://localhost/"},
		{new(Host).Expose("0.0.0.0", 80), "http://localhost/"},
		{new(Host).Expose("[::1]", 81), "http://localhost:81/"},
		{new(Host).Expose("2001:db8::1", 443), "http://[2001:db8::1]:443/"},
		{new(Host).Expose("::ffff:192.0.2.1", 80), "http://192.0.2.1/"},
		{new(Host).Name("www.example.com").Expose("*", 80), "http://www.example.com/"},
		{new(Host).Name("[::1]").Expose("*", 80), "http://[::1]/"},
		{new(Host).Expose("/run/aerys.sock", 0), "unix:/run/aerys.sock"},
	} {
		sv := &service{options: Options{}.withDefaults()}
		s := newSite(test.host, sv.options)
		if test.host.encryption != nil {
			s.tls = test.host.encryption.config
		}
		if err := sv.expose(s); err != nil {
			t.Fatal(err)
		}
		l := sv.listeners[0]
		l.bound = boundTo{&net.TCPAddr{Port: l.address.Port}}
		if url := l.url(); url != test.url {
			t.Errorf("%v: %s, want %s", l.address, url, test.url)
		}
	}
}

// boundTo is a listener that only has an address.
type boundTo struct{ address net.Addr }

func (b boundTo) Addr() net.Addr            { return b.address }
func (b boundTo) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (b boundTo) Close() error              { return nil }

func TestListensOnEveryKindOfAddress(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "aerys.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close() // its file stays, as after a crash
	host := new(Host).Use(func(req *Request, res *Response) { res.End(fmt.Sprint(req.RemoteAddr != "")) })
	host.Expose("127.0.0.1", 0).Expose("::1", 0).Expose("*", 0).Expose("0.0.0.0", 0).Expose("::", 0).Expose(socket, 0).Expose(socket, 0)
	s := runServer(t, Options{}, host)
	if len(s.addresses) != 6 {
		t.Fatalf("listens on %v", s.addresses)
	}
	for _, address := range s.addresses {
		if status, _ := statusAndBody(t, s.get(t, address, "a", "/")); status != 200 {
			t.Errorf("%v: status %d", address, status)
		}
	}
	second := &Server{Hosts: []*Host{new(Host).Expose(socket, 0)}}
	if err := second.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), "host * on "+socket) {
		t.Errorf("a socket in use was taken: %v", err)
	}
}

func TestHostIsAnHTTPHandler(t *testing.T) {
	server := httptest.NewServer(new(Host).Name("ignored.example").Use(Router().Get("/", answer("hello"))))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "hello" {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}
