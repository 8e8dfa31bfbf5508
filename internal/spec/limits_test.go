package spec

import (
	"bufio"
	"io"
	"net"
	"path/filepath"
	"strings"
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
	_, _, err = ask(conn, bufio.NewReader(conn), request("a", "/"))
	return err != nil
}

func TestMaxConnections(t *testing.T) {
	s := run(t, aerys.Options{MaxConnections: 2}, local("x").Expose("::1", 0))
	first := dial(t, s.addresses[0])
	dial(t, s.addresses[1])
	eventually(t, "two connections", func() bool { return s.open() == 2 })
	for _, address := range s.addresses {
		if !isRefused(t, address) {
			t.Error(address, "took a third connection")
		}
	}
	first.Close()
	eventually(t, "one connection", func() bool { return s.open() == 1 })
	if isRefused(t, s.addresses[1]) {
		t.Error("no room after one has left")
	}
	state := s.connections()
	if state.Accepted != 3 || state.Refused != 2 {
		t.Errorf("%+v", state)
	}
	if n := strings.Count(s.log.String(), "connection refused"); n < 1 || n > 2 {
		t.Errorf("logged %d times: %s", n, s.log)
	}
}

// TestIdleConnectionsGiveWay: where there is no room for a new connection, one that
// waits for another request is closed, and none that is at something.
func TestIdleConnectionsGiveWay(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := run(t, aerys.Options{MaxConnections: 3}, at(func(req *aerys.Request, res *aerys.Response) {
		if req.URL.Path == "/long" {
			close(entered)
			<-release
		}
		res.End("x")
	}))
	fresh, idle, busy := dial(t, s.addresses[0]), dial(t, s.addresses[0]), dial(t, s.addresses[0])
	get := func(conn net.Conn, path string) error {
		_, _, err := ask(conn, bufio.NewReader(conn), "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		return err
	}
	if err := get(idle, "/"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error)
	go func() { answered <- get(busy, "/long") }()
	<-entered
	eventually(t, "three connections", func() bool { return s.open() == 3 })
	next := dial(t, s.addresses[0])
	if err := get(next, "/"); err != nil {
		t.Error("the new one:", err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle one was not closed")
	}
	close(release)
	if err := <-answered; err != nil {
		t.Error("the busy one:", err)
	}
	if err := get(fresh, "/"); err != nil {
		t.Error("the one that had not asked yet:", err)
	}
}

func TestConnectionsPerIP(t *testing.T) {
	s := run(t, aerys.Options{ConnectionsPerIP: 2}, local("x").Expose("::1", 0).Expose("*", 0).Expose(filepath.Join(t.TempDir(), "s"), 0))
	dual := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.addresses[2].(*net.TCPAddr).Port}
	first := dial(t, s.addresses[0])
	dial(t, dual)
	eventually(t, "two connections", func() bool { return s.open() == 2 })
	if !isRefused(t, s.addresses[0]) || !isRefused(t, dual) {
		t.Error("127.0.0.1 got a third connection")
	}
	if isRefused(t, s.addresses[1]) {
		t.Error("::1 was refused for another's connections")
	}
	for range 3 {
		if conn := dial(t, s.addresses[3]); conn == nil {
			t.Error("Unix sockets are counted")
		}
	}
	first.Close()
	eventually(t, "room for 127.0.0.1", func() bool { return !isRefused(t, dual) })
}

func TestMaxRequestsPerConnection(t *testing.T) {
	for _, test := range []struct{ limit, requests int }{{1, 1}, {3, 3}, {-1, 10}, {0, 3}} {
		s := run(t, aerys.Options{MaxRequestsPerConnection: test.limit}, local("x"))
		conn := dial(t, s.addresses[0])
		reader := bufio.NewReader(conn)
		for i := 1; i <= test.requests; i++ {
			response, _, err := ask(conn, reader, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if response.Close != (i == test.limit) {
				t.Errorf("limit %d, request %d: Close %v", test.limit, i, response.Close)
			}
		}
		if n := s.connections().Accepted; n != 1 {
			t.Errorf("limit %d: %d connections", test.limit, n)
		}
		if test.limit > 0 {
			if _, err := reader.ReadByte(); err != io.EOF {
				t.Errorf("limit %d: %v instead of the end", test.limit, err)
			}
		}
	}
}

// TestMaxHeaderSize sends headers around the limit over HTTP/1.
func TestMaxHeaderSize(t *testing.T) {
	const limit = 8192
	s := run(t, aerys.Options{MaxHeaderSize: limit}, local("x"))
	for size, want := range map[int]int{limit: 200, limit + 4097: 431} {
		head, tail := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA: ", "\r\n\r\n"
		request := head + strings.Repeat("x", size-len(head)-len(tail)) + tail
		if status, _ := statusAndBody(t, converse(t, s.addresses[0], request)); status != want {
			t.Errorf("%d bytes: status %d, want %d", size, status, want)
		}
	}
}
