package ws_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// The tests of Dial and Conn against a server that breaks RFC 6455.

// rogue is a server's end of a connection, used by hand.
type rogue struct {
	t      testing.TB
	nc     net.Conn
	reader *bufio.Reader
}

// switching is the 101 response to a key, with more fields if need be.
func switching(key string, fields ...string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return request(append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:])}, fields...)...)
}

// serveRogue runs a server that answers handshakes with what answer returns.
func serveRogue(t testing.TB, answer func(key string) string) (url string, rogues <-chan *rogue) {
	conns := make(chan *rogue, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		nc, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		t.Cleanup(func() { nc.Close() })
		nc.SetDeadline(time.Now().Add(patience))
		nc.(*net.TCPConn).SetReadBuffer(64 << 10) // so that a client has to wait
		io.WriteString(nc, answer(req.Header.Get("Sec-WebSocket-Key")))
		conns <- &rogue{t, nc, buffered.Reader}
	}))
	t.Cleanup(s.Close)
	return "ws" + strings.TrimPrefix(s.URL, "http"), conns
}

// dialRogue connects to a server that is used by hand after a proper handshake.
func dialRogue(t testing.TB, o ws.DialOptions, fields ...string) (*ws.Conn, *rogue) {
	t.Helper()
	if o.ClosePeriod == 0 {
		o.ClosePeriod = patience
	}
	url, rogues := serveRogue(t, func(key string) string { return switching(key, fields...) })
	c, _, err := ws.Dial(patient(t), url, o)
	if err != nil {
		t.Fatal(err)
	}
	return c, <-rogues
}

// bare returns a frame as a server sends it.
func bare(h frame.Header, payload string) string {
	h.Length = int64(len(payload))
	return string(frame.AppendHeader(nil, h)) + payload
}

func (r *rogue) write(wire ...string) { io.WriteString(r.nc, strings.Join(wire, "")) }

// read reads a frame, which has to be masked, and unmasks it.
func (r *rogue) read() (h frame.Header, payload string) {
	r.t.Helper()
	for n := 2; n <= frame.MaxHeaderSize; n++ {
		wire, err := r.reader.Peek(n)
		if err != nil {
			r.t.Fatal(err)
		}
		h, size, err := frame.ParseHeader(wire)
		if err != nil {
			r.t.Fatal(err)
		}
		if size == 0 {
			continue
		}
		if err := frame.Check(h, frame.State{FromClient: true, Compression: true}); err != nil {
			r.t.Fatal(err)
		}
		r.reader.Discard(size)
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(r.reader, p); err != nil {
			r.t.Fatal(err)
		}
		frame.Mask(p, h.Key, 0)
		return h, string(p)
	}
	panic("unreachable")
}

func (r *rogue) expect(opcode frame.Opcode, payload string) {
	r.t.Helper()
	if h, got := r.read(); h.Opcode != opcode || got != payload || !h.Fin {
		r.t.Fatalf("got %s instead of %s", brief(h.Opcode, got), brief(opcode, payload))
	}
}

func (r *rogue) expectClose(code ws.Code) {
	r.t.Helper()
	if h, got := r.read(); h.Opcode != frame.Close || !strings.HasPrefix(got, string(frame.AppendClose(nil, code, ""))) {
		r.t.Fatalf("got %s instead of a close frame with %v", brief(h.Opcode, got), code)
	}
}

func TestDialBadAnswers(t *testing.T) {
	t.Parallel()
	compressed := ws.DialOptions{Compression: true}
	chat := ws.DialOptions{Subprotocols: []string{"chat"}}
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	for _, row := range []struct {
		name    string
		options ws.DialOptions
		answer  func(key string) string
		err     string // "" if the answer is good
	}{
		{"good", ws.DialOptions{}, func(key string) string { return switching(key) }, ""},
		{"good, after others", ws.DialOptions{}, func(key string) string {
			return request("HTTP/1.1 103 Early Hints", "Link: </a>") + switching(key)
		}, ""},
		{"a subprotocol that was offered", chat, func(key string) string { return switching(key, "Sec-WebSocket-Protocol: chat") }, ""},
		{"no subprotocol", chat, func(key string) string { return switching(key) }, ""},
		{"compression that was offered", compressed, func(key string) string { return switching(key, deflate) }, ""},
		{"no compression", compressed, func(key string) string { return switching(key) }, ""},

		{"200", ws.DialOptions{}, func(string) string { return request("HTTP/1.1 200 OK", "Content-Length: 0") }, "200 OK"},
		{"another's key", ws.DialOptions{}, func(string) string { return switching(sampleKey) }, "Sec-WebSocket-Accept"},
		{"no accept", ws.DialOptions{}, func(key string) string {
			return strings.ReplaceAll(switching(key), "Sec-WebSocket-Accept", "X-Accept")
		}, "Sec-WebSocket-Accept"},
		{"two accepts", ws.DialOptions{}, func(key string) string {
			return switching(key, "Sec-WebSocket-Accept: "+sampleAccept)
		}, "Sec-WebSocket-Accept"},
		{"no Upgrade", ws.DialOptions{}, func(key string) string {
			return strings.ReplaceAll(switching(key), "Upgrade: websocket", "Upgrade: h2c")
		}, "lacks Upgrade"},
		{"no Connection", ws.DialOptions{}, func(key string) string {
			return strings.ReplaceAll(switching(key), "Connection: Upgrade", "Connection: close")
		}, "lacks Upgrade"},
		{"a subprotocol that was not offered", chat, func(key string) string { return switching(key, "Sec-WebSocket-Protocol: soap") }, "soap"},
		{"a subprotocol, none was offered", ws.DialOptions{}, func(key string) string { return switching(key, "Sec-WebSocket-Protocol: chat") }, "chat"},
		{"two subprotocols", chat, func(key string) string {
			return switching(key, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: chat")
		}, "chat"},
		{"compression that was not offered", ws.DialOptions{}, func(key string) string { return switching(key, deflate) }, "Extensions"},
		{"another extension", compressed, func(key string) string { return switching(key, "Sec-WebSocket-Extensions: mux") }, "Extensions"},
		{"compression twice", compressed, func(key string) string { return switching(key, deflate+", permessage-deflate") }, "Extensions"},
		{"a window of 7 bits", compressed, func(key string) string { return switching(key, deflate+"; client_max_window_bits=7") }, "Extensions"},
		{"extensions that cannot be read", compressed, func(key string) string { return switching(key, deflate+";;") }, "Extensions"},
		{"no HTTP", ws.DialOptions{}, func(string) string { return "+OK\r\n\r\n" }, "malformed HTTP"},
		{"half of an answer", ws.DialOptions{}, func(key string) string { return switching(key)[:20] }, "EOF"},
		{"a Client with a Timeout", ws.DialOptions{Client: &http.Client{Timeout: patience}}, func(key string) string { return switching(key) }, "Timeout has to be zero"},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, rogues := serveRogue(t, row.answer)
			go func() { (<-rogues).nc.Close() }() // nothing follows
			c, _, err := ws.Dial(patient(t), url, row.options)
			switch {
			case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
				t.Errorf("error %v, want one with %q", err, row.err)
			case row.err == "" && err != nil:
				t.Error(err)
			case err == nil:
				c.Close(ws.CodeNormal, "")
			}
		})
	}
}

// A server that breaks a rule is told which code, and Read tells the reason.
func TestConnReadsFaults(t *testing.T) {
	t.Parallel()
	text := func(s string) string { return bare(frame.Header{Fin: true, Opcode: frame.Text}, s) }
	control := func(opcode frame.Opcode, s string) string { return bare(frame.Header{Fin: true, Opcode: opcode}, s) }
	squeezed := func(s string) string { return bare(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text}, s) }
	for _, row := range []struct {
		name   string
		wire   string
		code   ws.Code
		reason string
	}{
		{"masked frame", bare(frame.Header{Fin: true, Opcode: frame.Text, Masked: true}, "hello"), ws.CodeProtocolError, "must not mask"},
		{"reserved opcode", control(11, ""), ws.CodeProtocolError, "reserved"},
		{"reserved bit", bare(frame.Header{Fin: true, Rsv: 2, Opcode: frame.Text}, ""), ws.CodeProtocolError, "reserved bits"},
		{"compressed ping", bare(frame.Header{Fin: true, Rsv: 4, Opcode: frame.Ping}, ""), ws.CodeProtocolError, "RSV1"},
		{"long ping", control(frame.Ping, strings.Repeat("x", 126)), ws.CodeProtocolError, "125"},
		{"fragmented ping", bare(frame.Header{Opcode: frame.Ping}, ""), ws.CodeProtocolError, "fragmented"},
		{"nothing to continue", bare(frame.Header{Fin: true}, "x"), ws.CodeProtocolError, "continue"},
		{"two messages at a time", bare(frame.Header{Opcode: frame.Text}, "a") + text("b"), ws.CodeProtocolError, "new message"},
		{"length with the top bit", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x01", ws.CodeProtocolError, "top bit"},
		{"close frame of one byte", control(frame.Close, "x"), ws.CodeProtocolError, "one byte"},
		{"close frame with 1006", control(frame.Close, "\x03\xee"), ws.CodeProtocolError, "must not be sent"},
		{"close reason that is not UTF-8", control(frame.Close, "\x03\xe8\xff"), ws.CodeInvalidPayload, "UTF-8"},
		{"text that is not UTF-8", text("\xc3"), ws.CodeInvalidPayload, "UTF-8"},
		{"a frame too long", bare(frame.Header{Fin: true, Opcode: frame.Binary}, strings.Repeat("x", 1025)), ws.CodeTooBig, "DialOptions.MaxMessageSize"},
		{"a frame of 8 EiB", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", ws.CodeTooBig, "DialOptions.MaxMessageSize"},
		{"fragments too long", bare(frame.Header{Opcode: frame.Binary}, strings.Repeat("x", 1024)) + bare(frame.Header{}, "x"), ws.CodeTooBig, "DialOptions.MaxMessageSize"},
		{"no DEFLATE", squeezed("\xff\xff"), ws.CodeInvalidPayload, "RFC 7692"},
		{"a bomb", squeezed(string(squeeze(t, strings.Repeat("x", 1<<20)))), ws.CodeTooBig, "DialOptions.MaxMessageSize"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, r := dialRogue(t, ws.DialOptions{MaxMessageSize: 1024, Compression: true},
				"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
			go func() {
				r.write(row.wire)
				r.expectClose(row.code)
				r.nc.Close()
			}()
			for range 2 { // the second time, too
				_, _, err := c.Read(patient(t))
				expectCloseError(t, err, row.code, row.reason)
			}
			expectCloseError(t, c.Write(patient(t), "too late"), row.code, row.reason)
		})
	}
}

// squeeze compresses messages, each with what came before it as its dictionary,
// and returns the last (RFC 7692 §7.2.1).
func squeeze(t *testing.T, messages ...string) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		out.Reset()
		io.WriteString(w, message)
		w.Flush()
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))
}

// A server may refer to its earlier messages, if it says so.
func TestConnContextTakeover(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("so much to say, ", 4000)
	c, r := dialRogue(t, ws.DialOptions{Compression: true}, "Sec-WebSocket-Extensions: permessage-deflate")
	for i, part := range []string{long, long + "again", "so much to say", "", long} {
		wire := squeeze(t, []string{long, long + "again", "so much to say", "", long}[:i+1]...)
		go r.write(bare(frame.Header{Rsv: 4, Opcode: frame.Text}, string(wire[:1])), bare(frame.Header{Fin: true}, string(wire[1:])))
		expectMessage(t, c, false, part)
	}
}

// What is sent compressed keeps to what the server asked for (RFC 7692 §7.1.2).
func TestConnCompresses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		answer     string
		size       int
		compressed bool
	}{
		{"permessage-deflate", 10000, true},
		{"permessage-deflate", 512, true},
		{"permessage-deflate", 511, false}, // is not worth it
		{"permessage-deflate; client_max_window_bits=9", 512, true},
		{"permessage-deflate; client_max_window_bits=9", 513, false},
	} {
		c, r := dialRogue(t, ws.DialOptions{Compression: true}, "Sec-WebSocket-Extensions: "+row.answer)
		go c.Write(context.Background(), strings.Repeat("x", row.size))
		if h, payload := r.read(); h.Rsv == 4 != row.compressed || len(payload) < row.size != row.compressed {
			t.Errorf("%+v: sent %+v", row, h)
		}
	}
}
