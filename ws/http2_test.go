package ws_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// What is so of WebSockets over HTTP/2 (RFC 8441) alone. That all else holds of them,
// too, is what tests over engines and everywhere are for.

// overHTTP2 is by a Server, over TLS.
var overHTTP2 = setting{network: "tcp", http2: true, tls: true, host: true}

// open opens a WebSocket as a stream of a connection that may have others.
func (s *server) open(t testing.TB, c *http2Client, fields ...string) *peer {
	t.Helper()
	p := s.ask(t, c, fields...)
	p.expectSwitch()
	return p
}

// ask sends the handshake.
func (s *server) ask(t testing.TB, c *http2Client, fields ...string) *peer {
	t.Helper()
	nc := c.stream()
	p := &peer{t: t, server: s, nc: nc, reader: bufio.NewReader(nc)}
	nc.SetDeadline(time.Now().Add(patience))
	p.write([]byte(p.handshake(fields...)))
	return p
}

// request is an ordinary one on the same connection. A body is sent as the windows
// allow.
func (c *http2Client) request(t testing.TB, method, path string, body int) *http.Response {
	t.Helper()
	r, err := http.NewRequest(method, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "server.example.com"
	s := c.stream()
	s.SetDeadline(time.Now().Add(patience))
	s.upload = body > 0
	s.request(r)
	if body > 0 {
		if err := s.data(make([]byte, body)); err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
	}
	response, err := http.ReadResponse(bufio.NewReader(s), r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// The end of the stream in one with the client's close frame, or right behind it, is what
// browsers send: each of 200 gets the close frame that it is owed.
func TestEndOfStreamWithTheCloseFrame(t *testing.T) {
	t.Parallel()
	for _, flags := range []byte{0, http2EndStream} {
		t.Run(fmt.Sprint("flags ", flags), func(t *testing.T) {
			s := serve(t, overHTTP2, &recorder{}, unlimited)
			c := s.dialHTTP2(t)
			for range 200 {
				p := s.open(t, c)
				nc := p.nc.(*stream)
				nc.send(http2Data, flags, nc.id, string(closing(4001, "enough")))
				if flags == 0 {
					p.endSending()
				}
				p.expectClose(4001)
				p.expectEOF()
				p.expectCalls("OnOpen", "OnClose 4001 enough")
			}
		})
	}
}

// So it is on whatever carries a connection of HTTP/1.
func TestEndBehindTheCloseFrame(t *testing.T) {
	t.Parallel()
	for _, at := range []setting{{name: "TLS", network: "tcp", tls: true}, {name: "TLS under aerys.Server", network: "tcp", tls: true, host: true},
		{name: "any net.Conn", engine: ws.EnginePortable, network: "tcp", opaque: true}} {
		t.Run(at.name, func(t *testing.T) {
			s := serve(t, at, &recorder{}, unlimited)
			for range 200 {
				p := s.dial(t)
				p.write(closing(4001, "enough"))
				p.endSending()
				p.expectClose(4001)
				p.expectEOF()
				p.awaitOnClose()
				p.nc.Close()
			}
		})
	}
}

// What a server announces to whoever has imported xconnect.
func TestAnnouncement(t *testing.T) {
	s := serve(t, overHTTP2, &recorder{}, ws.Options{})
	c := s.dialHTTP2(t)
	if !c.tunnels || c.streamLimit != 1000 || c.initial != 64<<10 {
		t.Errorf("extended CONNECT: %v, %d streams with a window of %d", c.tunnels, c.streamLimit, c.initial)
	}
}

// Of as many sockets as Options.MaxSocketsPerConnection allows each works, more get
// 503, and requests go on beside them. One that ends makes room.
func TestMaxSocketsPerConnection(t *testing.T) {
	t.Parallel()
	at := overHTTP2
	at.options.MaxSocketsPerConnection = 120
	at.mount = besideFiles
	s := serve(t, at, &recorder{}, unlimited)
	c := s.dialHTTP2(t)
	var peers []*peer
	for range 120 {
		peers = append(peers, s.open(t, c))
		if got := c.request(t, "GET", "/file", 0); got.StatusCode != 200 {
			t.Fatal(got.Status)
		}
	}
	if got := s.ask(t, c).response(); got.StatusCode != http.StatusServiceUnavailable {
		t.Error(got.Status)
	}
	for _, p := range peers {
		p.write(text("hello"))
		p.expect(frame.Text, "hello")
	}
	peers[0].leave()
	for p := s.ask(t, c); p.response().StatusCode != http.StatusSwitchingProtocols; p = s.ask(t, c) {
		time.Sleep(pollPeriod) // until the handler of the other has returned
	}
	s.dial(t).leave() // other connections are free
}

// besideFiles serves a gateway, and other things beside it.
func besideFiles(g *ws.Gateway) aerys.Action {
	return aerys.Router().Get("/chat", g).
		Get("/file", func(_ *aerys.Request, res *aerys.Response) { res.End("a file") }).
		Post("/upload", func(req *aerys.Request, res *aerys.Response) {
			n, err := io.Copy(io.Discard, req.Body(-1))
			res.End(fmt.Sprint(n, " ", err))
		})
}

// A socket whose handler does not return is not read, and uploads beside it go on; so
// do they beside a client that does not read, which is closed, and others live.
func TestStuckStreams(t *testing.T) {
	release := make(chan bool)
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		if body, _ := m.Text(); body == "block" {
			<-release
		} else {
			r.endpoint.SendText([]byte(body), id)
		}
	}
	at := overHTTP2
	at.mount = besideFiles
	options := unlimited
	options.WriteTimeout, options.HeartbeatPeriod = 30*time.Second, -1
	s := serve(t, at, r, options)
	defer close(release)
	c := s.dialHTTP2(t)
	witness := s.open(t, c)
	for range 40 { // more than net/http's window of a connection is for
		p := s.open(t, c)
		p.write(text("block"))
		go p.nc.Write(binary(filler(1 << 20))) // for ever
	}
	stuck := s.open(t, c)
	s.SendBinary(make([]byte, 8<<20), stuck.id())
	for range 3 {
		response := c.request(t, "POST", "/upload", 3<<20)
		if body, _ := io.ReadAll(io.LimitReader(response.Body, 13)); string(body) != "3145728 <nil>" {
			t.Errorf("%s %q", response.Status, body)
		}
	}
	stuck.passUntilClosed(40)
	witness.write(text("hello"))
	witness.expect(frame.Text, "hello")
	witness.leave()
}

// A handshake that OnHandshake declines, or that is none, is an ordinary answer, and the
// connection goes on.
func TestDeclinedStream(t *testing.T) {
	t.Parallel()
	declines := true
	r := &recorder{onHandshake: func(_ *aerys.Request, res *aerys.Response) {
		if declines {
			res.SetHeader("X-Why", "because").SetStatus(403).End("Nope.")
		}
	}}
	s := serve(t, overHTTP2, r, ws.Options{Logger: slog.New(slog.DiscardHandler)})
	c := s.dialHTTP2(t)
	for range 3 {
		got := s.ask(t, c).response()
		if body, _ := io.ReadAll(got.Body); got.StatusCode != 403 || string(body) != "Nope." || got.Header.Get("X-Why") != "because" {
			t.Errorf("%s %v %q", got.Status, got.Header, body)
		}
	}
	declines = false
	for status, fields := range map[int]string{403: "Origin: https://elsewhere.example", 400: "Sec-WebSocket-Protocol: a b"} {
		if got := s.ask(t, c, fields).response(); got.StatusCode != status {
			t.Errorf("%s: %s", fields, got.Status)
		}
	}
	s.open(t, c).leave()
	if c.goesAway {
		t.Error("the connection ends")
	}
}

// What is settled, and what the application sets, is in the header of the 200, and no
// field that HTTP/2 must not have.
func TestHeaderOfAStream(t *testing.T) {
	t.Parallel()
	r := &recorder{onHandshake: func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("X-Seen", req.Method+" "+req.Proto).SetHeader("Upgrade", "x").SetCookie(&http.Cookie{Name: "a", Value: "b"})
	}}
	s := serve(t, overHTTP2, r, ws.Options{Subprotocols: []string{"chat"}, Compression: true})
	p := s.ask(t, s.dialHTTP2(t), "Sec-WebSocket-Protocol: chat", compressing)
	h := p.expectSwitch().Header
	for name, want := range map[string]string{"X-Seen": "CONNECT HTTP/2.0", "Set-Cookie": "a=b", "Sec-Websocket-Protocol": "chat", "Upgrade": "websocket", "Content-Type": ""} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(h.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Error(h)
	}
	p.leave()
}

// A server that stops closes them with 1001, and does not wait for them in vain.
func TestStopOfStreams(t *testing.T) {
	t.Parallel()
	s := serve(t, overHTTP2, &recorder{}, ws.Options{})
	c := s.dialHTTP2(t)
	var peers []*peer
	for range 50 {
		peers = append(peers, s.open(t, c))
	}
	for _, p := range peers {
		p.id()
	}
	stopped, shut := make(chan bool), s.shut
	s.shut = func() {}
	go func() { shut(); close(stopped) }()
	for _, p := range peers {
		p.expectClose(ws.CodeGoingAway)
		p.write(closing(ws.CodeGoingAway, ""))
		p.expectEOF()
		p.expectCalls("OnOpen", "OnClose 1001 server stops")
	}
	<-stopped
}
