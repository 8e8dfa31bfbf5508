package aerys_test

import (
	"net"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

// TestWebSocketsCountAsConnections: one is open until it ends, whoever waits
// for its bytes by then.
func TestWebSocketsCountAsConnections(t *testing.T) {
	for name, options := range map[string]aerys.Options{"MaxConnections": {MaxConnections: 1}, "ConnectionsPerIP": {ConnectionsPerIP: 1}} {
		t.Run(name, func(t *testing.T) {
			server, addresses := serve(t, options, new(aerys.Host).Expose("127.0.0.1", 0).Use(ws.Websocket(new(app))))
			conn := dialed(t, "http://"+addresses[0].String())
			if !refuses(t, addresses[0]) || connections(server).Open != 1 {
				t.Error("there is room for another connection")
			}
			is(t, conn.Close(ws.CodeNormal, ""), "<nil>")
			for end := time.Now().Add(5 * time.Second); connections(server).Open > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the connection is still counted")
				}
			}
			if refuses(t, addresses[0]) {
				t.Error("there is no room for another connection")
			}
		})
	}
}

// refuses reports whether a server resets a new connection.
func refuses(t *testing.T, address net.Addr) bool {
	conn, err := net.Dial(address.Network(), address.String())
	if err != nil {
		return true
	}
	defer conn.Close()
	conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	_, err = conn.Read(make([]byte, 1))
	return err != nil
}
