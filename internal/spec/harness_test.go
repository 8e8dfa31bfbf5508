package spec

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/internal/loop/looptest"
)

// What all tests use: a server that runs, clients of all protocols, certificates.

// TestMain keeps quiet what is not about a server with a log of its own.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// server is a Server that runs.
type server struct {
	*aerys.Server
	addresses []net.Addr
	log       *buffer
	loop      *loop.Loop // of a timed one
	cancel    context.CancelFunc
	stopped   chan error // gets what Serve returned
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// run serves hosts until the test ends, when it checks that Serve stops with
// nil, unless the test called stop before.
func run(t *testing.T, options aerys.Options, hosts ...*aerys.Host) *server {
	t.Helper()
	s := &server{log: new(buffer), stopped: make(chan error, 1)}
	options.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	ready := make(chan []net.Addr, 1)
	s.Server = &aerys.Server{Options: options, Hosts: hosts, Ready: func(addresses []net.Addr) { ready <- addresses }}
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
		case <-time.After(patience):
			t.Error("Serve did not return")
		}
	})
	return s
}

// timed runs a server whose clock the test turns. A host of its own, on the last
// address, hands out the loop of its connections, as package ws takes it.
func timed(t *testing.T, options aerys.Options, hosts ...*aerys.Host) *server {
	t.Helper()
	found := make(chan *loop.Loop, 1)
	clock := new(aerys.Host).Expose(filepath.Join(t.TempDir(), "clock"), 0).Use(func(_ *aerys.Request, res *aerys.Response) {
		detached, err := res.Detach()
		if err != nil {
			t.Error(err)
			return
		}
		found <- detached.Carrier.Loop()
		if conn, err := detached.Carrier.Hijack(); err == nil {
			conn.Close()
		}
		detached.Counted.Over()
	})
	s := run(t, options, append(hosts, clock)...)
	last := len(s.addresses) - 1
	converse(t, s.addresses[last], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	s.addresses, s.loop = s.addresses[:last], <-found
	return s
}

// pass lets seconds pass for the connections of a timed server.
func (s *server) pass(seconds int) { looptest.Pass(s.loop, seconds) }

// passWhile lets seconds pass until something that waits for them has ended. No
// test beside it may be at work: each second would wait for that, too.
func (s *server) passWhile(something func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		something()
	}()
	for {
		select {
		case <-ended:
			return
		default:
			s.pass(1)
		}
	}
}

// stop stops the server and returns what Serve returned.
func (s *server) stop() error {
	s.cancel()
	err := <-s.stopped
	s.stopped <- nil
	return err
}

// url is that of the first address.
func (s *server) url() string { return "http://" + s.addresses[0].String() }

func (s *server) state() aerys.ServerState { return s.Monitor().(aerys.ServerState) }

func (s *server) connections() aerys.ConnectionState { return s.state().Connections }

// open is how many connections the server counts.
func (s *server) open() int64 { return s.connections().Open }

// waited is for how many ConnectionTimeouts who makes no progress is waited for.
const waited = 10

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

// says is an action that answers with a text.
func says(text string) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.End(text) }
}

var hello = says("Hello, world!")

// at is a host on a free port.
func at(actions ...aerys.Action) *aerys.Host {
	return new(aerys.Host).Expose("127.0.0.1", 0).Use(actions...)
}

// local is one that answers with a text.
func local(text string) *aerys.Host { return at(says(text)) }

// secured encrypts a host, or leaves it.
func secured(t *testing.T, host *aerys.Host, encrypted bool) *aerys.Host {
	t.Helper()
	if encrypted {
		certFile, keyFile := writeCertificate(t, t.TempDir(), "localhost")
		host.Encrypt(certFile, keyFile)
	}
	return host
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

// dial opens a connection that fails the test's reads when its patience ends.
func dial(t *testing.T, address net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial(address.Network(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialTLS is dial with TLS on top, whose handshake is still to come.
func dialTLS(t *testing.T, address net.Addr, protocols ...string) net.Conn {
	t.Helper()
	return tls.Client(dial(t, address), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
}

// both serves actions in clear text and over TLS, under the name "a", and
// returns the ways to connect.
func both(t *testing.T, start func(*testing.T, aerys.Options, ...*aerys.Host) *server, options aerys.Options, actions ...aerys.Action) (*server, map[string]func() net.Conn) {
	t.Helper()
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a")
	s := start(t, options, at(actions...).Name("a"),
		new(aerys.Host).Name("a").Expose("::1", 0).Encrypt(certFile, keyFile).Use(actions...))
	var handshake sync.Mutex
	return s, map[string]func() net.Conn{
		"in clear text": func() net.Conn { return dial(t, s.addresses[0]) },
		"over TLS": func() net.Conn {
			handshake.Lock() // many at once would take too long
			defer handshake.Unlock()
			for tries := 0; ; tries++ { // a busy machine may be late
				conn := dialTLS(t, s.addresses[1])
				if err := conn.(*tls.Conn).Handshake(); err == nil || tries == 5 {
					return conn
				}
			}
		},
	}
}

// converse sends text on a new connection and returns everything that comes
// back until the server closes or resets it.
func converse(t *testing.T, address net.Addr, text string) string {
	t.Helper()
	return exchange(t, dial(t, address), text)
}

// exchange is converse on a connection that there is.
func exchange(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	defer conn.Close()
	go io.WriteString(conn, text)
	answer, err := io.ReadAll(conn)
	if isTimeout(err) {
		t.Errorf("no end after %.200q", answer)
	}
	return string(answer)
}

// ask sends text and reads one answer with its body; another may follow it.
func ask(conn io.Writer, reader *bufio.Reader, text string) (answer *http.Response, body string, err error) {
	go io.WriteString(conn, text)
	if answer, err = http.ReadResponse(reader, nil); err != nil {
		return nil, "", err
	}
	all, err := io.ReadAll(answer.Body)
	return answer, string(all), err
}

func isTimeout(err error) bool {
	failure, ok := err.(net.Error)
	return ok && failure.Timeout()
}

// request is a GET of a path under a name, the last on its connection.
func request(host, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
}

// get reads the answer to a request for a path.
func (s *server) get(t *testing.T, path string) string {
	t.Helper()
	return converse(t, s.addresses[0], request("a", path))
}

// statusAndBody takes an answer apart.
func statusAndBody(t *testing.T, text string) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%v in %.200q", err, text)
	}
	return response.StatusCode, bodyOf(response)
}

func bodyOf(response *http.Response) string {
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

// is compares what came out with what should have.
func is(t *testing.T, got any, want string) {
	t.Helper()
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// protocols are the ways in which a client talks to a server.
var protocols = []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2", "HTTP/2 over TLS"}

// client is one of them.
func client(t *testing.T, protocol string) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols),
		DisableCompression: true, MaxIdleConnsPerHost: 100}
	transport.Protocols.SetHTTP1(strings.HasPrefix(protocol, "HTTP/1"))
	transport.Protocols.SetHTTP2(protocol == "HTTP/2 over TLS")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2")
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// runOver runs a host that is asked over a protocol, and returns its URL and a
// client.
func runOver(t *testing.T, protocol string, options aerys.Options, host *aerys.Host) (*server, string, *http.Client) {
	t.Helper()
	scheme, encrypted := "http", strings.HasSuffix(protocol, "TLS")
	if encrypted {
		scheme = "https"
	}
	s := run(t, options, secured(t, host.Expose("127.0.0.1", 0), encrypted))
	return s, scheme + "://" + s.addresses[0].String(), client(t, protocol)
}

// through is a client of what listens on a Unix socket.
func through(socket string) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
}

// What a client of HTTP/2 begins with (RFC 9113 §3.4), and types of frames (§6).
const (
	preface           = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	dataFrame         = 0
	headersFrame      = 1
	resetFrame        = 3
	settingsFrame     = 4
	pingFrame         = 6
	goAwayFrame       = 7
	windowFrame       = 8
	continuationFrame = 9

	ack, endStream, endHeaders = 1, 1, 4

	closedWindow = "\x00\x04\x00\x00\x00\x00" // SETTINGS_INITIAL_WINDOW_SIZE is 0
	getRoot      = "\x82\x86\x84\x41\x01a"    // GET, http, /, and the authority "a"
)

// begin is the preface with settings.
func begin(settings string) string { return preface + frame(settingsFrame, 0, 0, settings) }

func frame(kind, flags byte, stream uint32, payload string) string {
	header := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(header, stream)) + payload
}

func readFrame(r io.Reader) (kind, flags byte, stream uint32, payload []byte, err error) {
	var header [9]byte
	if _, err = io.ReadFull(r, header[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
	_, err = io.ReadFull(r, payload)
	return header[3], header[4], binary.BigEndian.Uint32(header[5:]), payload, err
}

// writeCertificate writes a self-signed certificate for names and its key.
func writeCertificate(t *testing.T, dir string, names ...string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, names[0]+".crt"), filepath.Join(dir, names[0]+".key")
	replaceFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	replaceFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: bytes}))
	return certFile, keyFile
}

// certificate makes one that a client or a tls.Config has.
func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(writeCertificate(t, t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// replaceFile replaces a file at once, as one should.
func replaceFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// randomFile returns an open file of that size, and what is in it.
func randomFile(t *testing.T, size int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	mathrand.NewChaCha8([32]byte{}).Read(content)
	for i, c := range content {
		content[i] = 'a' + c%16
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	return file, content
}
