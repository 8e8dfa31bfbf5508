package spec

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"aerys"
	"aerys/ws"
)

// TestWebSocketsCountAsConnections: one is open until it ends, whoever waits
// for its bytes by then.
func TestWebSocketsCountAsConnections(t *testing.T) {
	for name, options := range map[string]aerys.Options{"MaxConnections": {MaxConnections: 1}, "ConnectionsPerIP": {ConnectionsPerIP: 1}} {
		t.Run(name, func(t *testing.T) {
			s := run(t, options, at(ws.Websocket(new(app))))
			conn := dialed(t, s.url())
			if !isRefused(t, s.addresses[0]) || s.open() != 1 {
				t.Error("there is room for another connection")
			}
			is(t, conn.Close(ws.CodeNormal, ""), "<nil>")
			eventually(t, "the end of the connection", func() bool { return s.open() == 0 })
			if isRefused(t, s.addresses[0]) {
				t.Error("there is no room for another connection")
			}
		})
	}
}

// isRefused reports whether a new connection is closed at once.
func isRefused(t *testing.T, address net.Addr) bool {
	t.Helper()
	conn, err := net.Dial(address.Network(), address.String())
	if err != nil {
		return true
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_, err = http.ReadResponse(bufio.NewReader(conn), nil)
	return err != nil
}
