package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// owner is made of the funcs that a test needs.
type owner struct {
	serve    func(*Conn) error
	ahead    func(*Conn, bool)
	writable func(*Conn)
	soon     func(*Conn)
	tick     func(*Conn, Time)
	over     func(*Conn, error)
}

func (o *owner) Serve(c *Conn) error { return o.serve(c) }
func (o *owner) Ahead(c *Conn, gone bool) {
	if o.ahead != nil {
		o.ahead(c, gone)
	}
}
func (o *owner) Writable(c *Conn) {
	if o.writable != nil {
		o.writable(c)
	}
}
func (o *owner) Soon(c *Conn) {
	if o.soon != nil {
		o.soon(c)
	}
}
func (o *owner) Tick(c *Conn, now Time) {
	if o.tick != nil {
		o.tick(c, now)
	}
}
func (o *owner) Over(c *Conn, err error) {
	if o.over != nil {
		o.over(c, err)
	}
}

// echo sends back what it reads.
func echo(c *Conn) error {
	var p [4096]byte
	for {
		n, err := c.TryRead(p[:])
		if n > 0 {
			if _, err := c.Write(p[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// wrapped hides what a listener is.
type wrapped struct{ net.Listener }

// hiding hides what its connections are, too.
type hiding struct{ net.Listener }

func (h hiding) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hidden{conn}, nil
}

type hidden struct{ net.Conn }

func (h hidden) CloseWrite() error { return h.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// engines are the ways to carry a connection.
var engines = []engineCase{
	{"sockets", false, func(l net.Listener) net.Listener { return l }},
	{"sockets, TLS", true, func(l net.Listener) net.Listener { return l }},
	{"net.TCPConn", false, func(l net.Listener) net.Listener { return wrapped{l} }},
	{"net.Conn", false, func(l net.Listener) net.Listener { return hiding{l} }},
	{"net.Conn, TLS", true, func(l net.Listener) net.Listener { return hiding{l} }},
}

type engineCase struct {
	name   string
	tls    bool
	listen func(net.Listener) net.Listener
}

var serverConfig, clientConfig = configs()

func configs() (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{InsecureSkipVerify: true}
}

// fixture is a loop that listens, on one of the engines.
type fixture struct {
	loop     *Loop
	listener *Listener
	network  string
	addr     string
	tls      bool
}

// each runs a test on every engine, with connections that are o's. Nothing is left
// of it in the end.
func each(t *testing.T, o *owner, test func(*testing.T, *fixture)) {
	for _, engine := range engines {
		t.Run(engine.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			on(t, engine, ln, o, test)
		})
	}
}

// on runs a test on one engine.
func on(t *testing.T, engine engineCase, ln net.Listener, o *owner, test func(*testing.T, *fixture)) {
	f := &fixture{loop: New(slog.Default()), tls: engine.tls, network: ln.Addr().Network(), addr: ln.Addr().String()}
	var config *tls.Config
	if engine.tls {
		config = serverConfig
	}
	var err error
	if f.listener, err = f.loop.Listen(engine.listen(ln), config, func(*Conn) Owner { return o }); err != nil {
		t.Fatal(err)
	}
	defer func() {
		f.loop.Close(10 * time.Second)
		if n := f.loop.Len(); n > 0 {
			t.Errorf("%d connections are left", n)
		}
		eventually(t, "no goroutine is left", func() bool { return goroutines() == "" })
	}()
	test(t, f)
}

// goroutines returns the stacks of loops' goroutines.
func goroutines() (stacks string) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for _, stack := range strings.Split(string(all), "\n\n") {
		if strings.Contains(stack, "loop.(*") && !strings.Contains(stack, "testing.tRunner") {
			stacks += stack + "\n\n"
		}
	}
	return stacks
}

func (f *fixture) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial(f.network, f.addr)
	if err != nil {
		t.Fatal(err)
	}
	if f.tls {
		conn = tls.Client(conn, clientConfig)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends p and reads as much.
func exchange(t *testing.T, conn net.Conn, p []byte) {
	t.Helper()
	go conn.Write(p)
	got := make([]byte, len(p))
	if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, p) {
		t.Errorf("sent %d bytes and got others, or none: %v", len(p), err)
	}
}

// eventually waits for what is to come about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// closeWrite ends a client's direction.
func closeWrite(conn net.Conn) { conn.(interface{ CloseWrite() error }).CloseWrite() }
