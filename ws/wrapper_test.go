package ws_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// cipher is a connection that embeds a socket, and so has all its methods. What
// goes through it is encrypted, counted, and read ahead of who asks for it.
type cipher struct {
	*net.TCPConn
	ahead         *bufio.Reader
	read, written *atomic.Int64
}

func newCipher(nc net.Conn) *cipher {
	return &cipher{nc.(*net.TCPConn), bufio.NewReaderSize(nc, 64<<10), new(atomic.Int64), new(atomic.Int64)}
}

func encrypt(p []byte) {
	for i := range p {
		p[i] ^= 0x55
	}
}

func (c *cipher) Read(p []byte) (int, error) {
	n, err := c.ahead.Read(p)
	encrypt(p[:n])
	c.read.Add(int64(n))
	return n, err
}

func (c *cipher) Write(p []byte) (int, error) {
	encrypted := append([]byte(nil), p...)
	encrypt(encrypted)
	c.written.Add(int64(len(p))) // before the peer can have it
	return c.TCPConn.Write(encrypted)
}

// ciphers is a listener of such connections.
type ciphers struct {
	net.Listener
	accepted chan *cipher
}

func (l *ciphers) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newCipher(nc)
	l.accepted <- c
	return c, nil
}

// A connection that embeds a socket is none: every byte goes through its Read
// and Write, on every engine and below TLS, and what it holds back is found.
func TestWrappedConnection(t *testing.T) {
	for _, at := range []setting{
		{name: "auto", engine: ws.EngineAuto, network: "tcp"},
		{name: "epoll", engine: ws.EngineEpoll, network: "tcp"},
		{name: "portable", engine: ws.EnginePortable, network: "tcp"},
		{name: "TLS", engine: ws.EngineAuto, network: "tcp", tls: true},
	} {
		t.Run(at.name, func(t *testing.T) {
			l := &ciphers{accepted: make(chan *cipher, 1)}
			at.wrap = func(under net.Listener) net.Listener { l.Listener = under; return l }
			s := serve(t, at, &recorder{}, unlimited)
			nc, err := net.Dial("tcp", s.address)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			client := newCipher(nc)
			p := &peer{t: t, server: s, nc: client}
			if at.tls {
				p.nc = tls.Client(client, &tls.Config{InsecureSkipVerify: true})
			}
			p.nc.SetDeadline(time.Now().Add(patience))
			p.reader = bufio.NewReader(p.nc)
			p.write([]byte(p.handshake()))
			p.expectSwitch()
			large := strings.Repeat("large ", 50_000)
			p.write(text("one"))
			p.expect(frame.Text, "one")
			p.write(append(append(text("two"), text("three")...), text(large)...))
			p.expect(frame.Text, "two")
			p.expect(frame.Text, "three")
			p.expect(frame.Text, large)
			p.leave()
			served := <-l.accepted
			if read, written := served.read.Load(), served.written.Load(); read != client.written.Load() || written != client.read.Load() {
				t.Errorf("%d bytes were read and %d written, the client's are %d and %d", read, written, client.written.Load(), client.read.Load())
			}
		})
	}
}
