package ws_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// The tests of Dial and Conn with our own server.

// bot is a Conn, and what the handler of the server knows of it.
type bot struct {
	*ws.Conn
	peer
	res *http.Response
}

// dialBot connects to a server with Dial. The connection need not be closed.
func (s *server) dialBot(t testing.TB, o ws.DialOptions) *bot {
	t.Helper()
	b := &bot{peer: peer{t: t, server: s}}
	var field string
	b.visit, field = s.recorder.expectVisit()
	_, number, _ := strings.Cut(field, ": ")
	o.Header = o.Header.Clone()
	if o.Header == nil {
		o.Header = http.Header{}
	}
	o.Header.Set(visitHeader, number)
	var err error
	if b.Conn, b.res, err = s.tryDial(t, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(ws.CodeNormal, "") })
	return b
}

// tryDial is Dial to a server, wherever it listens.
func (s *server) tryDial(t testing.TB, o ws.DialOptions) (*ws.Conn, *http.Response, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, s.at.network, s.address)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	t.Cleanup(transport.CloseIdleConnections)
	o.Client = &http.Client{Transport: transport}
	scheme := "ws"
	if s.at.tls {
		scheme = "wss"
	}
	return ws.Dial(patient(t), scheme+"://server.example.com/chat", o)
}

// patient is a context for what has to come.
func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// expectMessage reads a message of this content.
func expectMessage(t testing.TB, c *ws.Conn, binary bool, payload string) {
	t.Helper()
	data, gotBinary, err := c.Read(patient(t))
	if err != nil || gotBinary != binary || string(data) != payload {
		t.Fatalf("got %s, binary %v, %v instead of %s, binary %v",
			brief(frame.Text, string(data)), gotBinary, err, brief(frame.Text, payload), binary)
	}
}

// expectCloseError checks what an error says about the end of a connection.
func expectCloseError(t testing.TB, err error, code ws.Code, reason string) {
	t.Helper()
	var closed *ws.CloseError
	if !errors.As(err, &closed) || closed.Code != code || !strings.Contains(closed.Reason, reason) {
		t.Fatalf("got %v instead of a CloseError %v %q", err, code, reason)
	}
}

func TestDialEcho(t *testing.T) {
	t.Parallel()
	options := unlimited
	options.Compression, options.CompressionTakeover = true, true
	random := make([]byte, 300<<10)
	rand.NewChaCha8([32]byte{}).Read(random)
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, options)
		for _, compression := range []bool{false, true} {
			b := s.dialBot(t, ws.DialOptions{Compression: compression})
			if info, _ := s.Info(b.id()); info.Compressed != compression {
				t.Errorf("compressed is %v, not %v", info.Compressed, compression)
			}
			for _, payload := range []string{"", "hello", "Käse €", strings.Repeat("0123456789", 1000), strings.Repeat("é", 1<<16)} {
				b.echoes(false, payload)
				b.echoes(true, payload)
			}
			b.echoes(true, string(random))
			if err := b.Close(ws.CodeNormal, "bye"); err != nil {
				t.Errorf("Close: %v", err)
			}
			calls := strings.Fields("OnOpen" + strings.Repeat(" OnData", 11))
			b.expectCalls(append(calls, "OnClose 1000 bye")...)
		}
	})
}

// echoes sends a message, which has to come back.
func (b *bot) echoes(binary bool, payload string) {
	b.t.Helper()
	var err error
	if binary {
		err = b.WriteBinary(patient(b.t), []byte(payload))
	} else {
		err = b.Write(patient(b.t), payload)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	expectMessage(b.t, b.Conn, binary, payload)
}

// What the server sends in pieces is one message.
func TestDialFragments(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("in pieces ", 100)
	for _, compression := range []bool{false, true} {
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			w, err := r.endpoint.Writer(id, m.Binary())
			if err == nil {
				io.Copy(w, m)
				w.Close()
			}
		}
		options := unlimited
		options.AutoFrameSize, options.Compression = 7, compression
		s := serve(t, setting{network: "tcp"}, r, options)
		b := s.dialBot(t, ws.DialOptions{Compression: compression})
		b.Write(patient(t), long)
		expectMessage(t, b.Conn, false, long)
		b.WriteBinary(patient(t), []byte(long))
		expectMessage(t, b.Conn, true, long)
	}
}

// Messages of many goroutines arrive one by one.
func TestConnConcurrentUse(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		b := s.dialBot(t, ws.DialOptions{})
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Add(1)
			go func() {
				defer writers.Done()
				for range 50 {
					if err := b.Write(patient(t), strings.Repeat(fmt.Sprint(i), 1000*i)); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		counts := map[string]int{}
		for range 8 * 50 {
			data, _, err := b.Read(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			counts[string(data)]++
		}
		for i := range 8 {
			if n := counts[strings.Repeat(fmt.Sprint(i), 1000*i)]; n != 50 {
				t.Errorf("%d messages of writer %d came back", n, i)
			}
		}
		writers.Wait()
	})
}

// The server closes: Read and OnClose know why.
func TestConnClosedByServer(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		b := s.dialBot(t, ws.DialOptions{})
		id := b.id()
		s.Send("last words", id)
		s.Close(id, 4001, "enough")
		expectMessage(t, b.Conn, false, "last words")
		_, _, err := b.Read(patient(t))
		expectCloseError(t, err, 4001, "enough")
		expectCloseError(t, b.Close(ws.CodeNormal, ""), 4001, "enough")
		b.expectCalls("OnOpen", "OnClose 4001 enough")
	})
}

func TestDialHandshake(t *testing.T) {
	t.Parallel()
	seen := make(chan *http.Request, 1)
	r := &recorder{onHandshake: func(req *aerys.Request, res *aerys.Response) {
		seen <- req.Request.Clone(context.Background())
		res.SetHeader("X-Answer", "42")
	}}
	s := serve(t, setting{network: "tcp"}, r, ws.Options{Subprotocols: []string{"soap", "chat"}})
	header := http.Header{"Host": {"other.example.com"}, "X-Question": {"6×7"}, "Upgrade": {"h2c"}, "Sec-Websocket-Key": {"mine"}}
	b := s.dialBot(t, ws.DialOptions{Header: header, Subprotocols: []string{"chat", "soap"}})
	req := <-seen
	if req.Host != "other.example.com" || req.Header.Get("X-Question") != "6×7" {
		t.Errorf("the server saw host %q, header %v", req.Host, req.Header)
	}
	if h := b.res.Header; b.res.StatusCode != 101 || h.Get("X-Answer") != "42" || h.Get("Sec-WebSocket-Protocol") != "soap" {
		t.Errorf("the response is %s %v", b.res.Status, h)
	}
	if header.Get("Sec-WebSocket-Key") != "mine" {
		t.Error("DialOptions.Header was changed")
	}
}

// A server that says no is heard out, as far as it is brief.
func TestDialRefused(t *testing.T) {
	t.Parallel()
	r := &recorder{onHandshake: func(_ *aerys.Request, res *aerys.Response) {
		res.SetStatus(403).SetHeader("X-Why", "password").End(strings.Repeat("No. ", 20000))
	}}
	everywhere(t, func(t *testing.T, at setting) {
		s := serve(t, at, r, unlimited)
		c, res, err := s.tryDial(t, ws.DialOptions{})
		if c != nil || res == nil || err == nil || !strings.Contains(err.Error(), "403 Forbidden") {
			t.Fatalf("Dial: %v, %v, %v", c, res, err)
		}
		body, err := io.ReadAll(res.Body)
		if res.StatusCode != 403 || res.Header.Get("X-Why") != "password" || string(body) != strings.Repeat("No. ", 16384) || err != nil {
			t.Errorf("response: %s %v %d bytes, %v", res.Status, res.Header, len(body), err)
		}
	})
}

func TestDialMisused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // which accepts nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	silent := "ws://" + listener.Addr().String()
	for _, row := range []struct {
		name, url string
		options   ws.DialOptions
		err       string
	}{
		{"another scheme", "ftp://localhost/", ws.DialOptions{}, "write it as ws://"},
		{"no scheme", "localhost/chat", ws.DialOptions{}, "write it as ws://"},
		{"no URL", "ws://local host/", ws.DialOptions{}, "invalid character"},
		{"no host", "ws:///chat", ws.DialOptions{}, "no Host"},
		{"no token", silent, ws.DialOptions{Subprotocols: []string{"a b"}}, "DialOptions.Subprotocols"},
		{"an empty subprotocol", silent, ws.DialOptions{Subprotocols: []string{"a", ""}}, "DialOptions.Subprotocols"},
		{"two in one", silent, ws.DialOptions{Subprotocols: []string{"a,b"}}, "DialOptions.Subprotocols"},
		{"the same twice", silent, ws.DialOptions{Subprotocols: []string{"a", "a"}}, "DialOptions.Subprotocols"},
		{"a context that is done", silent, ws.DialOptions{}, "context canceled"},
	} {
		if strings.Contains(row.name, "context") {
			time.AfterFunc(time.Millisecond, cancel)
		}
		if c, res, err := ws.Dial(ctx, row.url, row.options); c != nil || res != nil || err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: %v, %v, %v; want %q", row.name, c, res, err, row.err)
		}
	}
	expectPanic(t, "pass one", func() { ws.Dial(ctx, silent, ws.DialOptions{}, ws.DialOptions{}) })
	expectPanic(t, "must not be sent", func() { new(ws.Conn).Close(ws.CodeNoStatus, "") })
}

func expectPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.Contains(got, with) {
			t.Errorf("panic %q, want %q", got, with)
		}
	}()
	f()
}
