package xconnect

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// announced asks a server of net/http for its settings, once.
var announced = sync.OnceValue(func() bool {
	ours, theirs := net.Pipe()
	defer ours.Close()
	server := &http.Server{Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetUnencryptedHTTP2(true)
	defer server.Close()
	go server.Serve(&once{conn: theirs})
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(ours, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return hasConnectSetting(ours)
})

// hasConnectSetting reads a frame of SETTINGS (RFC 9113 §6.5), and reports whether
// SETTINGS_ENABLE_CONNECT_PROTOCOL is in it (RFC 8441 §3).
func hasConnectSetting(r io.Reader) bool {
	header := make([]byte, 9)
	if _, err := io.ReadFull(r, header); err != nil {
		return false
	}
	settings := make([]byte, binary.BigEndian.Uint32(header)>>8)
	if _, err := io.ReadFull(r, settings); err != nil {
		return false
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if bytes.Equal(settings[:6], []byte{0, 8, 0, 0, 0, 1}) {
			return true
		}
	}
	return false
}

// once is a listener that accepts one connection.
type once struct{ conn net.Conn }

func (o *once) Accept() (conn net.Conn, err error) {
	if conn, o.conn = o.conn, nil; conn == nil {
		err = net.ErrClosed
	}
	return conn, err
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.UnixAddr{} }
