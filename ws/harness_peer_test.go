package ws_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"aerys/internal/loop"
	"aerys/ws"
	"aerys/ws/frame"
)

// peer is a client that speaks RFC 6455 by hand, so that it can break it. Its
// methods end the test when what they want does not come.
type peer struct {
	t      testing.TB
	server *server
	nc     net.Conn
	reader *bufio.Reader
	visit  *visit // nil unless the handler is a recorder
	sent   uint64 // bytes behind the handshake

	carrier *loop.Loop // once its clock was asked for
}

// connect opens a connection and sends nothing.
func (s *server) connect(t testing.TB) *peer {
	t.Helper()
	var nc net.Conn
	var err error
	if s.at.http2 {
		st := s.dialHTTP2(t).stream()
		st.alone, nc = true, st
	} else if s.at.tls {
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

// narrowReads has a connection take little of what is not read.
func narrowReads(nc net.Conn) {
	if c, ok := nc.(*net.TCPConn); ok { // a stream takes no more anyway
		c.SetReadBuffer(64 << 10)
	}
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
		p.nc.SetDeadline(time.Now().Add(patience))
	}
}

// awaitRead waits until the server has read all that was sent, or is gone.
func (p *peer) awaitRead() {
	p.t.Helper()
	id, unseen := p.id(), uint64(0)
	if (p.server.at.opaque || p.server.at.tls) && !p.server.at.http2 {
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
