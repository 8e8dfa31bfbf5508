package aerys

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestHostileRequests sends what broke others, each over a connection of its
// own, and counts what reached a handler.
func TestHostileRequests(t *testing.T) {
	var served atomic.Int64
	s := runServer(t, Options{MaxBodySize: 1000}, new(Host).Expose("127.0.0.1", 0).Use(
		func(*Request, *Response) { served.Add(1) },
		Router().Get("/slash/?", answer("")).Get("//evil.com/?", answer("")).Post("/smuggled", answer("smuggled")),
		func(req *Request, res *Response) {
			if req.URL.Path == "/panic" {
				panic("x")
			}
			if _, err := io.Copy(io.Discard, req.Body()); err != nil && !errors.Is(err, ErrBodyTooLarge) {
				res.SetStatus(400).End("bad body")
			} else if err == nil {
				res.End("ok " + req.RemoteAddr)
			}
		}))
	second := "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
	with := func(first, header string, body ...string) string {
		return first + " HTTP/1.1\r\nHost: a\r\n" + header + "\r\n\r\n" + strings.Join(body, "")
	}
	for _, test := range []struct {
		name, request string
		status        int
		served        int64
	}{
		{"OPTIONS with a request inside", with("OPTIONS /x", fmt.Sprint("Connection: close\r\nContent-Length: ", len(second)), second), 200, 1},
		{"Content-Length and Transfer-Encoding", with("POST /x", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", second), 400, 0},
		{"Transfer-Encoding twice", with("POST /x", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", second), 501, 0},
		{"Transfer-Encoding, odd", with("POST /x", "Transfer-Encoding: xchunked", "0\r\n\r\n", second), 501, 0},
		{"two Content-Lengths", with("POST /x", "Content-Length: 5\r\nContent-Length: 0", second), 400, 0},
		{"Content-Length with sign", with("POST /x", "Content-Length: +5", "12345", second), 400, 0},
		{"bare LF after a chunk size", with("POST /x", "Transfer-Encoding: chunked", "0\n\r\n", second), 400, 1},
		{"chunk too large for an int64", with("POST /x", "Transfer-Encoding: chunked", "10000000000000000\r\n", second), 400, 1},
		{"space before the colon", with("GET /x", "Content-Length : 5", second), 400, 0},
		{"NUL in a field", with("GET /x", "A: \x00", second), 400, 0},
		{"no leading slash", with("GET -private/key", "A: b", second), 400, 0},
		{"body over the limit", with("POST /x", "Content-Length: 2000000", strings.Repeat("x", 2000000)), 413, 1},
		{"panic", with("GET /panic", "Connection: close"), 500, 1},
		{"forged X-Forwarded-For", with("GET /x", "Connection: close\r\nX-Forwarded-For: 6.6.6.6"), 200, 1},
		{"canonical slash", with("GET //evil.com/", "Connection: close"), 302, 1},
		{"canonical backslash", with("GET /\\evil.com/", "Connection: close"), 200, 1},
		{"2,000 fields", with("GET /x", strings.Repeat("Field-Name: some value\r\n", 2000)+"A: b", second), 431, 0},
		{"20 MB header", with("GET /x", "A: "+strings.Repeat("x", 20<<20)), 431, 0},
		{"HTTP/3.0", "GET /x HTTP/3.0\r\nHost: a\r\n\r\n", 505, 0},
		{"TRACE", with("TRACE /x", "Connection: close"), 405, 0},
		{"a method nobody knows", with("BREW /x", "Connection: close"), 501, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := served.Load()
			text := converseUntilReset(t, s.addresses[0], test.request)
			status := 0
			fmt.Sscanf(text, "HTTP/1.1 %d", &status)
			if status != test.status {
				t.Errorf("status %d, want %d: %.200q", status, test.status, text)
			}
			if n := served.Load() - before; n != test.served {
				t.Errorf("%d requests were served, want %d", n, test.served)
			}
			if strings.Contains(text, "6.6.6.6") || strings.Contains(text, "smuggled") || strings.Contains(text, "Location: //") {
				t.Errorf("answered %q", text)
			}
		})
	}
	if n := s.received(); n > 1<<20 { // of 22 MB
		t.Errorf("%d bytes were read", n)
	}
	if _, body := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); !strings.HasPrefix(body, "ok 127.0.0.1:") {
		t.Errorf("afterwards: %q", body)
	}
}

// converseUntilReset is converse with a server that may end the conversation
// by a reset.
func converseUntilReset(t *testing.T, address net.Addr, text string) string {
	conn := dial(t, address)
	go io.WriteString(conn, text)
	answer, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("no end after %.200q", answer)
	}
	return string(answer)
}

func TestHalfOpenConnectionsAreClosed(t *testing.T) {
	s := runServer(t, Options{ConnectionTimeout: time.Second, IdleTimeout: time.Second}, local("x"))
	for name, feed := range map[string]func(net.Conn){
		"silent": func(net.Conn) {},
		"one byte at a time": func(conn net.Conn) {
			for _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nA: "); err == nil; _, err = conn.Write([]byte{'x'}) {
				time.Sleep(10 * time.Millisecond) // the attack itself
			}
		},
		"idle after a request":     func(conn net.Conn) { io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
		"HTTP/2 without a request": func(conn net.Conn) { io.WriteString(conn, preface) },
		"HTTP/2, an endless header": func(conn net.Conn) {
			io.WriteString(conn, preface+frame(headersFrame, 0, 1, "\x82"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s.addresses[0])
			began := time.Now()
			go feed(conn)
			if _, err := io.Copy(io.Discard, conn); err != nil && err.(net.Error).Timeout() {
				t.Error("not closed")
			}
			if spent := time.Since(began); spent > 4*time.Second {
				t.Errorf("closed after %v", spent)
			}
		})
	}
}

// What a client of HTTP/2 begins with (RFC 9113 §3.4), and types of frames.
const (
	preface           = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	headersFrame      = 1
	resetFrame        = 3
	settingsFrame     = 4
	goAwayFrame       = 7
	continuationFrame = 9

	endStream, endHeaders = 1, 4

	getRoot = "\x82\x86\x84\x41\x01a" // GET, http, /, and the authority "a"
)

func frame(kind, flags byte, stream uint32, payload string) string {
	header := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(header, stream)) + payload
}

// readFrame reads one frame.
func readFrame(r io.Reader) (kind byte, stream uint32, payload []byte, err error) {
	var header [9]byte
	if _, err = io.ReadFull(r, header[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
	_, err = io.ReadFull(r, payload)
	return header[3], binary.BigEndian.Uint32(header[5:]), payload, err
}

func TestConcurrentStreamsAreBounded(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	s := runServer(t, Options{MaxConcurrentStreams: 2}, new(Host).Expose("127.0.0.1", 0).Use(func(_ *Request, res *Response) {
		entered <- struct{}{}
		<-release
		res.End("ok")
	}))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, preface)
	for stream := uint32(1); stream <= 5; stream += 2 {
		io.WriteString(conn, frame(headersFrame, endStream|endHeaders, stream, getRoot))
	}
	<-entered
	<-entered
	for {
		kind, stream, payload, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == settingsFrame && len(payload) > 0 && !bytes.Contains(payload, []byte{0, 3, 0, 0, 0, 2}) {
			t.Errorf("SETTINGS without MAX_CONCURRENT_STREAMS 2: %x", payload)
		}
		if kind == resetFrame {
			if stream != 5 || payload[3] != 7 { // REFUSED_STREAM: RFC 9113 §5.1.2
				t.Errorf("stream %d reset with %d", stream, payload[3])
			}
			break
		}
	}
	if len(entered) != 0 {
		t.Error("the third stream was served")
	}
	close(release)
}

// CVE-2023-39325
func TestRapidResetIsBounded(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan struct{})
	s := runServer(t, Options{MaxConcurrentStreams: 10}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		if req.ProtoMajor == 2 {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-release
		}
		res.End("ok")
	}))
	conn := dial(t, s.addresses[0])
	go func() {
		var flood strings.Builder
		flood.WriteString(preface)
		for stream := uint32(1); stream < 20000; stream += 2 {
			flood.WriteString(frame(headersFrame, endStream|endHeaders, stream, getRoot))
			flood.WriteString(frame(resetFrame, 0, stream, "\x00\x00\x00\x08"))
		}
		io.WriteString(conn, flood.String())
	}()
	for { // until the server has had enough
		kind, _, payload, err := readFrame(conn)
		if kind == goAwayFrame && payload[7] == 11 || err != nil { // ENHANCE_YOUR_CALM
			break
		}
	}
	if status, _ := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); status != 200 {
		t.Errorf("others get %d", status)
	}
	close(release)
	if n := most.Load(); n > 10 {
		t.Errorf("%d handlers ran at once, want 10 at most", n)
	}
}

// CVE-2023-45288
func TestContinuationFloodIsBounded(t *testing.T) {
	s := runServer(t, Options{}, local("ok"))
	conn := dial(t, s.addresses[0])
	go io.Copy(io.Discard, conn)
	io.WriteString(conn, preface+frame(headersFrame, endStream, 1, getRoot))
	field := "\x00\x01a\x7f\x81\x7e" + strings.Repeat("x", 382) // a literal field, never indexed
	flood := frame(continuationFrame, 0, 1, strings.Repeat(field, 20))
	sent := 0
	for ; sent < 64<<20; sent += len(flood) {
		if _, err := io.WriteString(conn, flood); err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Error("the server took 64 MB of header")
	}
	if status, _ := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); status != 200 {
		t.Errorf("others get %d", status)
	}
}
