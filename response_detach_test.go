package aerys

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
)

const handshakeField = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// What Detach takes, and what it leaves to Hijack, is a matter of what net/http
// has read. Either way the connection is the handler's, with nothing lost.
func TestResponseDetach(t *testing.T) {
	for _, test := range []struct {
		name     string
		send     string
		detached bool
		rest     string // what the handler finds behind the request
	}{
		{"a handshake", "GET / HTTP/1.1\r\nHost: a\r\n" + handshakeField + "\r\n", true, ""},
		{"a handshake and a frame", "GET / HTTP/1.1\r\nHost: a\r\n" + handshakeField + "\r\nframe", false, "frame"},
		{"no handshake", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, ""},
		{"a handshake on a connection in use", "GET /other HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + handshakeField + "\r\n", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
				if req.URL.Path == "/other" {
					res.End("other\n")
					return
				}
				takeOver(t, res, test.detached, test.rest)
			}))
			conn := dial(t, s.addresses[0])
			io.WriteString(conn, test.send)
			received, _ := io.ReadAll(conn) // to the end, for the handler closes it
			reader := bufio.NewReader(bytes.NewReader(received))
			if test.name == "a handshake on a connection in use" {
				if other, err := http.ReadResponse(reader, nil); err != nil || other.StatusCode != 200 {
					t.Fatalf("%v, %v", other, err)
				} else {
					io.Copy(io.Discard, other.Body)
				}
			}
			if rest, _ := io.ReadAll(reader); string(rest) != "from the handler" {
				t.Errorf("got %q", rest)
			}
			eventually(t, "no connection", func() bool { return s.open() == 0 })
		})
	}
}

// takeOver writes to the connection itself, which nobody else must do then.
func takeOver(t *testing.T, res *Response, detached bool, rest string) {
	conn, release, ok := res.Detach()
	if ok != detached {
		t.Errorf("Detach: %v, want %v", ok, detached)
	}
	if !ok {
		release = func() {}
		hijacked, buffered, err := res.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn = hijacked
		early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
		if string(early) != rest {
			t.Errorf("behind the request: %q, want %q", early, rest)
		}
	}
	if _, _, again := res.Detach(); again {
		t.Error("a second Detach took the connection, too")
	}
	if res.State() != Ended {
		t.Errorf("state %v", res.State())
	}
	io.WriteString(conn, "from the handler")
	conn.Close()
	release()
}

// Once taken, a connection is closed for net/http, whatever it does with it.
func TestTakenConnection(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	c := &connection{Conn: server, all: newConnections(&Options{})}
	c.upgrade.Store(asked)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the watch for the client's end: %d, %v", n, err)
	}
	if conn, _, ok := c.take(); !ok || conn != server {
		t.Fatalf("take: %v, %v", conn, ok)
	}
	if _, _, ok := c.take(); ok {
		t.Error("taken twice")
	}
	if _, err := c.Read(make([]byte, 1)); err != net.ErrClosed {
		t.Errorf("Read: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != net.ErrClosed {
		t.Errorf("Write: %v", err)
	}
	if err := c.Close(); err != net.ErrClosed {
		t.Errorf("Close: %v", err)
	}
	go client.Write([]byte("still open"))
	if n, err := server.Read(make([]byte, 10)); n != 10 || err != nil {
		t.Errorf("the connection itself: %d, %v", n, err)
	}
}
