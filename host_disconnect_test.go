package aerys

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// TestDisconnectEndsTheContext has clients leave while a handler waits: it is
// told, whatever the request looks like that it answers.
func TestDisconnectEndsTheContext(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error)
	action := func(req *Request, res *Response) {
		if req.URL.Path == "/first" {
			res.End()
			return
		}
		io.Copy(io.Discard, req.Body())
		if req.URL.Path == "/events" {
			res.Flush()
		}
		entered <- struct{}{}
		select {
		case <-req.Context().Done():
			ended <- nil
		case <-time.After(5 * time.Second):
			ended <- io.ErrNoProgress
		}
	}
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a")
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(action),
		new(Host).Expose("127.0.0.1", freePort(t)).Encrypt(certFile, keyFile).Use(action))
	key := "Sec-WebSocket-Key: "
	for name, text := range map[string]string{
		"plain":                        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/1.0":                     "GET / HTTP/1.0\r\n\r\n",
		"a WebSocket key, empty":       "GET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a WebSocket handshake":        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"a key, for events":            "GET /events HTTP/1.1\r\nHost: a\r\n" + key + "x\r\n\r\n",
		"a key in the second request":  "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a key in both":                "GET /first HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a key and a body":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n" + key + "\r\n\r\nbody",
		"a body in chunks":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a body that was asked for":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
		"a body that holds a key":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n\r\nSec-WebSocket-Key: x\r\n\r\n ",
		"a body that the handler left": "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for i, address := range s.addresses {
			var conn net.Conn = dial(t, address)
			if i > 0 {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				name += ", over TLS"
			}
			io.WriteString(conn, text)
			select {
			case <-entered:
			case <-time.After(5 * time.Second):
				t.Fatal(name, ": not served")
			}
			conn.Close()
			if err := <-ended; err != nil {
				t.Errorf("%s: the context did not end", name)
			}
		}
	}
}
