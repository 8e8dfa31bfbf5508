package ws_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/ws"
	"aerys/ws/frame"
)

// Engines begin where the handshake ends: these tests need only one.
var (
	byHTTP = setting{name: "net/http", engine: ws.EngineAuto, network: "tcp"}
	byHost = setting{name: "aerys.Server", engine: ws.EngineAuto, network: "tcp", host: true}
)

// upgrade returns an opening handshake with changes: "Name: value" replaces the
// line of that name, "+Name: value" adds one, "-Name" removes it, and what ends
// with a version of HTTP is the request line.
func upgrade(changes ...string) string {
	lines := []string{
		"GET /chat HTTP/1.1",
		"Host: server.example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: " + sampleKey,
	}
	for _, change := range changes {
		name, _, field := strings.Cut(change, ":")
		switch {
		case strings.HasSuffix(change, " HTTP/1.1"), strings.HasSuffix(change, " HTTP/1.0"):
			lines[0] = change
			continue
		case change[0] == '+':
			lines = append(lines, change[1:])
			continue
		case change[0] == '-':
			name = change[1:]
		}
		kept := lines[:1]
		for _, line := range lines[1:] {
			if !strings.HasPrefix(line, name+":") {
				kept = append(kept, line)
			}
		}
		if lines = kept; field {
			lines = append(lines, change)
		}
	}
	return request(lines...)
}

// checkFields checks a header: "Name: value" has to be the only field of that
// name, "-Name" has to be absent.
func checkFields(t testing.TB, header http.Header, want ...string) {
	t.Helper()
	for _, line := range want {
		name, value, _ := strings.Cut(line, ": ")
		if line[0] == '-' {
			if got := header.Values(line[1:]); got != nil {
				t.Errorf("%s: %q, want none", line[1:], got)
			}
		} else if got := header.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// expectHandshake shakes hands on a connection that was used before, and uses it.
func (p *peer) expectHandshake(fields ...string) {
	p.t.Helper()
	p.write([]byte(p.handshake(fields...)))
	p.expectSwitch()
	p.write(text("hello"))
	p.expect(frame.Text, "hello")
	p.leave()
}

// RFC 6455 §4.2.1: what is no opening handshake is refused before OnHandshake is called.
func TestHandshakeRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, byHTTP, &recorder{onHandshake: func(req *aerys.Request, _ *aerys.Response) {
		if rule := req.Header.Get("X-Refused"); rule != "" {
			t.Errorf("OnHandshake was called: %s", rule)
		}
	}}, ws.Options{Subprotocols: []string{"chat"}, Compression: true})
	const version = "Sec-Websocket-Version: 13"
	for _, test := range []struct {
		rule    string
		changes []string
		body    string
		status  int
		field   string
		closed  bool // the connection, after the answer
	}{
		{rule: "1: a GET request", changes: []string{"POST /chat HTTP/1.1", "Content-Length: 0"}, status: 405, field: "Allow: GET"},
		{rule: "1: not a DELETE", changes: []string{"DELETE /chat HTTP/1.1"}, status: 405, field: "Allow: GET"},
		{rule: "1: HTTP/1.1 or higher", changes: []string{"GET /chat HTTP/1.0"}, status: 426, field: "Upgrade: websocket", closed: true},
		{rule: "2: a Host", changes: []string{"-Host"}, status: 400, closed: true},
		{rule: "2: one Host", changes: []string{"+Host: other.example.com"}, status: 400, closed: true},
		{rule: "3: an Upgrade", changes: []string{"-Upgrade"}, status: 426, field: "Upgrade: websocket"},
		{rule: "3: to websocket", changes: []string{"Upgrade: h2c"}, status: 426, field: "Upgrade: websocket"},
		{rule: "3: to that of no version", changes: []string{"Upgrade: websocket/13"}, status: 426},
		{rule: "3: not to a longer name", changes: []string{"Upgrade: websockets"}, status: 426},
		{rule: "4: a Connection", changes: []string{"-Connection"}, status: 426, field: "Connection: Upgrade"},
		{rule: "4: that upgrades", changes: []string{"Connection: keep-alive"}, status: 426},
		{rule: "5: a key", changes: []string{"-Sec-WebSocket-Key"}, status: 400, closed: true},
		{rule: "5: not empty", changes: []string{"Sec-WebSocket-Key: "}, status: 400, closed: true},
		{rule: "5: of 16 bytes, not 15", changes: []string{"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2Rl"}, status: 400, closed: true},
		{rule: "5: of 16 bytes, not 17", changes: []string{"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZmc="}, status: 400, closed: true},
		{rule: "5: of 16 bytes, not 18", changes: []string{"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZmdo"}, status: 400, closed: true},
		{rule: "5: in base64", changes: []string{"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2R!Zg=="}, status: 400, closed: true},
		{rule: "5: not in that of URLs", changes: []string{"Sec-WebSocket-Key: ____________________8A=="}, status: 400, closed: true},
		{rule: "5: with its padding", changes: []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"}, status: 400, closed: true},
		{rule: "5: once", changes: []string{"+Sec-WebSocket-Key: " + sampleKey}, status: 400, closed: true},
		{rule: "6: a version", changes: []string{"-Sec-WebSocket-Version"}, status: 426, field: version},
		{rule: "6: not 777", changes: []string{"Sec-WebSocket-Version: 777"}, status: 426, field: version},
		{rule: "6: not 8", changes: []string{"Sec-WebSocket-Version: 8"}, status: 426, field: version},
		{rule: "6: not 013", changes: []string{"Sec-WebSocket-Version: 013"}, status: 426, field: version},
		{rule: "6: not several", changes: []string{"Sec-WebSocket-Version: 13, 8"}, status: 426, field: version},
		{rule: "6: once", changes: []string{"+Sec-WebSocket-Version: 13"}, status: 426, field: version},
		{rule: "7: a foreign origin", changes: []string{"Origin: https://evil.example"}, status: 403},
		{rule: "7: of a sandbox", changes: []string{"Origin: null"}, status: 403},
		{rule: "7: twice", changes: []string{"Origin: http://server.example.com", "+Origin: http://server.example.com"}, status: 403},
		{rule: "8: subprotocols are tokens", changes: []string{"Sec-WebSocket-Protocol: \x80\xff"}, status: 400, closed: true},
		{rule: "8: not repeated", changes: []string{"Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Protocol: chat"}, status: 400, closed: true},
		{rule: "9: extensions are tokens", changes: []string{"Sec-WebSocket-Extensions: b" + strings.Repeat(" ", 32000) + "x"}, status: 400, closed: true},
		{rule: "9: parameters too", changes: []string{"Sec-WebSocket-Extensions: permessage-deflate; =8"}, status: 400, closed: true},
		{rule: "9: quotes are closed", changes: []string{`Sec-WebSocket-Extensions: x; y="` + strings.Repeat(`\"`, 8000)}, status: 400, closed: true},
		{rule: "a body", changes: []string{"Content-Length: 5"}, body: "hello", status: 400, closed: true},
		{rule: "a body in chunks", changes: []string{"Transfer-Encoding: chunked"}, body: "5\r\nhello\r\n0\r\n\r\n", status: 400, closed: true},
		{rule: "an empty body in chunks", changes: []string{"Transfer-Encoding: chunked"}, body: "0\r\n\r\n", status: 400, closed: true},
	} {
		t.Run(test.rule, func(t *testing.T) {
			p := s.connect(t)
			p.write([]byte(upgrade(append(test.changes, "X-Refused: "+test.rule)...) + test.body))
			res := p.response()
			if res.StatusCode != test.status {
				t.Errorf("%s, want %d", res.Status, test.status)
			}
			if test.field != "" {
				checkFields(t, res.Header, test.field)
			}
			checkFields(t, res.Header, "-Sec-WebSocket-Accept")
			if test.closed {
				p.expectEOF()
			} else {
				p.expectHandshake()
			}
		})
	}
	if n := s.Len(); n != 0 {
		t.Errorf("%d clients", n)
	}
}

// What is unusual is not refused.
func TestHandshakeAccepted(t *testing.T) {
	t.Parallel()
	many := make([]string, 900)
	for i := range many {
		many[i] = fmt.Sprintf("+X%d: y", i)
	}
	s := serve(t, byHost, &recorder{}, ws.Options{Subprotocols: []string{"v2.chat", "chat"}})
	for _, test := range []struct {
		name    string
		changes []string
		want    []string
	}{
		{"RFC 6455 §1.2", nil, []string{"-Sec-WebSocket-Protocol", "-Sec-WebSocket-Extensions", "-Content-Length", "-Transfer-Encoding"}},
		{"names in other case", []string{"-Upgrade", "+UPGRADE: WebSocket", "-Connection", "+connection: upgrade"}, nil},
		{"lists", []string{"Upgrade: h2c, websocket", "Connection: keep-alive, Upgrade"}, nil},
		{"lists in several lines", []string{"Connection: keep-alive", "+Connection: , Upgrade"}, nil},
		{"an empty body", []string{"Content-Length: 0"}, nil},
		{"a query", []string{"GET /chat?room=1&x=%0d%0a HTTP/1.1"}, nil},
		{"an absolute target", []string{"GET http://server.example.com/chat HTTP/1.1"}, nil},
		{"no subprotocol in common", []string{"Sec-WebSocket-Protocol: chess"}, []string{"-Sec-WebSocket-Protocol"}},
		{"the subprotocol in common", []string{"Sec-WebSocket-Protocol: chess, chat"}, []string{"Sec-WebSocket-Protocol: chat"}},
		{"the server's favourite", []string{"Sec-WebSocket-Protocol: chat, v2.chat"}, []string{"Sec-WebSocket-Protocol: v2.chat"}},
		{"in several lines", []string{"Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Protocol: v2.chat"}, []string{"Sec-WebSocket-Protocol: v2.chat"}},
		{"an empty list of subprotocols", []string{"Sec-WebSocket-Protocol: "}, []string{"-Sec-WebSocket-Protocol"}},
		{"RFC 9110 §5.6.1.2: empty elements", []string{"Sec-WebSocket-Protocol: chat, "}, []string{"Sec-WebSocket-Protocol: chat"}},
		{"RFC 9110 §5.6.1.2: in the middle", []string{"Sec-WebSocket-Protocol: chess,,chat", "+Sec-WebSocket-Protocol: "}, []string{"Sec-WebSocket-Protocol: chat"}},
		{"RFC 9110 §5.6.1.2: at the beginning", []string{"Sec-WebSocket-Protocol: , chat"}, []string{"Sec-WebSocket-Protocol: chat"}},
		{"an empty list of extensions", []string{"Sec-WebSocket-Extensions: "}, []string{"-Sec-WebSocket-Extensions"}},
		{"subprotocols differ in case", []string{"Sec-WebSocket-Protocol: CHAT"}, []string{"-Sec-WebSocket-Protocol"}},
		{"extensions nobody knows", []string{`Sec-WebSocket-Extensions: x-zip; level="9", mux`}, []string{"-Sec-WebSocket-Extensions"}},
		{"compression that is off", []string{"Sec-WebSocket-Extensions: permessage-deflate"}, []string{"-Sec-WebSocket-Extensions"}},
		{"900 fields", many, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := s.connect(t)
			p.write([]byte(upgrade(test.changes...)))
			checkFields(t, p.expectSwitch().Header, test.want...)
			p.write(text("hello"))
			p.expect(frame.Text, "hello")
			p.leave()
		})
	}
}

// RFC 7692 §5.1: the first offer that can be accepted is answered. Which can, and how, is
// what package deflate tests.
func TestHandshakeCompression(t *testing.T) {
	t.Parallel()
	s := serve(t, byHTTP, &recorder{}, ws.Options{Compression: true})
	for _, test := range []struct{ offers, answer string }{
		{"permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
		{"permessage-deflate; unknown, x-zip, permessage-deflate; server_max_window_bits=15",
			"permessage-deflate; server_no_context_takeover; server_max_window_bits=15; client_no_context_takeover"},
		{"permessage-deflate; server_max_window_bits=7", ""},
		{"x-webkit-deflate-frame", ""},
	} {
		t.Run(test.offers, func(t *testing.T) {
			p := s.connect(t)
			p.write([]byte(p.handshake("Sec-WebSocket-Extensions: " + test.offers)))
			want := "Sec-WebSocket-Extensions: " + test.answer
			if test.answer == "" {
				want = "-Sec-WebSocket-Extensions"
			}
			checkFields(t, p.expectSwitch().Header, want)
			if info, ok := s.Info(p.id()); !ok || info.Compressed != (test.answer != "") {
				t.Errorf("Info: %+v, %v", info, ok)
			}
			p.leave()
		})
	}
}

// Clients that do not come to the point are cut off, and nobody else notices.
func TestHalfOpen(t *testing.T) {
	at := byHost
	at.options.ConnectionTimeout = 5 * time.Second
	s := serve(t, at, &recorder{}, ws.Options{HeartbeatPeriod: -1})
	witness := s.dial(t)
	for _, sends := range []string{"", "GET /chat", upgrade()[:90], strings.Repeat("G", 4000)} {
		t.Run(fmt.Sprintf("%.10s", sends), func(t *testing.T) {
			began := witness.now()
			p := s.connect(t)
			p.write([]byte(sends))
			witness.pass(10)
			io.Copy(io.Discard, p.nc)
			witness.hardlyLater(began + 10)
		})
	}
	t.Run("one byte at a time", func(t *testing.T) {
		began := witness.now()
		p := s.connect(t)
		for _, b := range []byte(upgrade())[:10] {
			p.nc.Write([]byte{b}) // which fails in the end
			witness.pass(1)
		}
		io.Copy(io.Discard, p.nc)
		witness.hardlyLater(began + 10)
	})
	witness.expectEcho("hello")
}

// hardlyLater fails the test if it is later by more than the clock goes on by itself.
func (p *peer) hardlyLater(than loop.Time) {
	p.t.Helper()
	if late := int(p.now() - than); late > 5 {
		p.t.Errorf("late by %d s", late)
	}
}

// CVE-2024-37890, CVE-2023-43669: a header over the limit is answered with 431.
func TestLongHeader(t *testing.T) {
	t.Parallel()
	s := serve(t, byHost, &recorder{}, ws.Options{})
	for name, field := range map[string]string{
		"2,000 long fields":    strings.Repeat("X-Field: some value of a header\r\n", 2000),
		"a field of 20 MB":     "X-Field: " + strings.Repeat("x", 20<<20) + "\r\n",
		"20 MB of subprotocol": "Sec-WebSocket-Protocol: " + strings.Repeat("a,", 10<<20) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := s.connect(t)
			wire := []byte(strings.Replace(upgrade(), "Host:", field+"Host:", 1))
			written := make(chan struct{})
			go func() {
				p.nc.Write(wire)
				close(written)
			}()
			if res := p.response(); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s, want 431", res.Status)
			}
			p.nc.Close()
			<-written
			s.connect(t).expectHandshake()
		})
	}
}

// Over HTTP/2 there is no Upgrade (RFC 9113 §8.6), and no field that names one (§8.2.2).
func TestHandshakeOverHTTP2(t *testing.T) {
	t.Parallel()
	s := serve(t, byHost, &recorder{}, ws.Options{})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	req, _ := http.NewRequest("GET", "http://"+s.address+"/chat", nil)
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Key", sampleKey)
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("%s %s, want 426 over HTTP/2", res.Proto, res.Status)
	}
	checkFields(t, res.Header, "-Upgrade", "-Connection", "Sec-Websocket-Version: 13")
}
