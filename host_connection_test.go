package aerys

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aerys/internal/http1"
)

// open is how many connections the server counts.
func (s *testServer) open() int64 { return s.current.Load().connections.open.Load() }

func (s *testServer) received() int64 { return s.current.Load().state().Connections.Received }

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

func TestMaxConnections(t *testing.T) {
	s := runServer(t, Options{MaxConnections: 2}, local("x").Expose("::1", 0))
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
	state := s.Monitor().(ServerState).Connections
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
	s := runServer(t, Options{MaxConnections: 3}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		if req.URL.Path == "/long" {
			close(entered)
			<-release
		}
		res.End("x")
	}))
	fresh, idle, busy := dial(t, s.addresses[0]), dial(t, s.addresses[0]), dial(t, s.addresses[0])
	ask := func(conn net.Conn, path string) error {
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
		}
		return err
	}
	if err := ask(idle, "/"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error)
	go func() { answered <- ask(busy, "/long") }()
	<-entered
	eventually(t, "three connections", func() bool { return s.open() == 3 })
	next := dial(t, s.addresses[0])
	if err := ask(next, "/"); err != nil {
		t.Error("the new one:", err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("the idle one was not closed")
	}
	close(release)
	if err := <-answered; err != nil {
		t.Error("the busy one:", err)
	}
	if err := ask(fresh, "/"); err != nil {
		t.Error("the one that had not asked yet:", err)
	}
}

func TestConnectionsPerIP(t *testing.T) {
	s := runServer(t, Options{ConnectionsPerIP: 2}, local("x").Expose("::1", 0).Expose("*", 0).Expose(filepath.Join(t.TempDir(), "s"), 0))
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

func TestClientNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32",
		"2001:db8:0:12ff::1": "2001:db8:0:1200::/56", "fe80::1%eth0": "fe80::/56",
	} {
		if got := clientNetwork(netip.MustParseAddr(ip)).String(); got != want {
			t.Errorf("%s: %s, want %s", ip, got, want)
		}
	}
}

func TestFilesAreSentByTheKernel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789", 100_000)
	os.WriteFile(name, []byte(content), 0o600)
	socket := filepath.Join(t.TempDir(), "s")
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(func(_ *Request, res *Response) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		res.SetHeader("Content-Length", fmt.Sprint(len(content)))
		io.Copy(res, file)
	}))
	for _, address := range s.addresses {
		if _, body := statusAndBody(t, s.get(t, address, "a", "/")); body != content {
			t.Errorf("%v: %d bytes", address, len(body))
		}
	}
	if sent := s.Monitor().(ServerState).Connections.Sent; sent < int64(2*len(content)) {
		t.Errorf("%d bytes counted", sent)
	}
}

func TestMaxRequestsPerConnection(t *testing.T) {
	for _, test := range []struct{ limit, requests int }{{1, 1}, {3, 3}, {-1, 10}} {
		s := runServer(t, Options{MaxRequestsPerConnection: test.limit}, local("x"))
		conn := dial(t, s.addresses[0])
		reader := bufio.NewReader(conn)
		for i := 1; i <= test.requests; i++ {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, response.Body)
			if response.Close != (i == test.limit) {
				t.Errorf("limit %d, request %d: Close %v", test.limit, i, response.Close)
			}
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
	s := runServer(t, Options{MaxHeaderSize: limit}, local("x"))
	for size, want := range map[int]int{limit: 200, limit + 4097: 431} {
		head, tail := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA: ", "\r\n\r\n"
		request := head + strings.Repeat("x", size-len(head)-len(tail)) + tail
		if status, _ := statusAndBody(t, converseUntilReset(t, s.addresses[0], request)); status != want {
			t.Errorf("%d bytes: status %d, want %d", size, status, want)
		}
	}
}

func TestUnreadBodiesDoNotHoldConnections(t *testing.T) {
	s := runServer(t, Options{}, local("x"))
	var text string
	PassWhile(s.Server, func() {
		text = converseUntilReset(t, s.addresses[0], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nonly this")
	})
	if status, _ := statusAndBody(t, text); status != 200 {
		t.Errorf("status %d", status)
	}
}

func TestStalledBodiesFail(t *testing.T) {
	begun, passed := make(chan struct{}), make(chan struct{})
	s := runServer(t, Options{ConnectionTimeout: time.Second}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		begun <- struct{}{}
		n, err := io.Copy(io.Discard, req.Body())
		if err == nil { // the deadline is gone: this would end the request
			select {
			case <-req.Context().Done():
				err = req.Context().Err()
			case <-passed:
			}
		}
		res.End(fmt.Sprint(n, " ", err != nil))
	}))
	for rest, want := range map[string]string{"": "5 true", "-rest": "10 false"} {
		text := make(chan string)
		go func() {
			text <- converseUntilReset(t, s.addresses[0], "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 10\r\n\r\n12345"+rest)
		}()
		<-begun
		Pass(s.Server, 2*patience)
		select {
		case passed <- struct{}{}:
		default: // it has failed
		}
		if _, body := statusAndBody(t, <-text); body != want {
			t.Errorf("%q: %q, want %q", rest, body, want)
		}
	}
}

// TestLongRequests keeps requests under way for longer than ConnectionTimeout.
func TestLongRequests(t *testing.T) {
	const timeout = 50 * time.Millisecond
	s := runServer(t, Options{ConnectionTimeout: timeout}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		select {
		case <-time.After(3 * timeout):
			res.End("ok")
		case <-req.Context().Done():
			t.Errorf("%s: cut off", req.Proto)
		}
	}))
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		tr := transport(set)
		response, err := (&http.Client{Transport: tr}).Get("http://" + s.addr())
		if err != nil {
			t.Fatal(name, err)
		}
		response.Body.Close()
		tr.CloseIdleConnections()
	}
}

func TestMethods(t *testing.T) {
	method := func(req *Request, res *Response) { res.End(req.Method) }
	s := runServer(t, Options{},
		new(Host).Name("a").Expose("127.0.0.1", 0).Use(Router().Route("ZANZIBAR", "/zanzibar", method), method))
	kept := runServer(t, Options{KeepMethodCase: true, AllowedMethods: []string{"GET", "get"}},
		new(Host).Expose("127.0.0.1", 0).Use(method))
	for _, test := range []struct {
		server *testServer
		method string
		status int
		body   string
	}{
		{s, "GET", 200, "GET"}, {s, "get", 200, "GET"}, {s, "pAtCh", 200, "PATCH"},
		{s, "ZANZIBAR", 200, "ZANZIBAR"}, {s, "zanzibar", 200, "ZANZIBAR"},
		{s, "BREW", 501, ""}, {s, "TRACE", 405, ""}, {s, "head", 501, ""},
		{kept, "get", 200, "get"}, {kept, "Get", 501, ""}, {kept, "POST", 405, ""},
	} {
		text := converse(t, test.server.addresses[0], test.method+" /"+strings.ToLower(test.method)+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		status, body := statusAndBody(t, text)
		if status != test.status || test.body != "" && body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.method, status, body, test.status, test.body)
		}
		if allow := strings.Contains(text, "\r\nAllow: "); allow != (test.status > 400) {
			t.Errorf("%s: Allow in %q", test.method, text)
		}
	}
}

func TestDefaultMaxConnectionsLeavesReserve(t *testing.T) {
	if n := newConnections(Options{}.withDefaults()).limit; n < 1 || n > 1<<31 {
		t.Errorf("%d connections", n)
	}
}

// However a connection is counted, nothing of it is left when it is over.
func TestCountedConnectionsLeaveNothing(t *testing.T) {
	for _, perIP := range []int{0, 1} {
		for _, upgrades := range []bool{false, true} {
			c := newConnections(Options{ConnectionsPerIP: perIP}.withDefaults())
			c.room(c.each)
			c.open.Add(1)
			var counted http1.Counted = &c.whole
			if perIP > 0 {
				network := clientNetwork(netip.MustParseAddr("192.0.2.1"))
				c.enterNetwork(network)
				counted = &neighbour{counted, c, network}
			}
			if upgrades {
				if counted = counted.Upgraded(); c.weight.Load() != 1 {
					t.Errorf("%d an address: an upgraded connection weighs %d", perIP, c.weight.Load())
				}
			}
			counted.Over()
			if c.weight.Load() != 0 || c.open.Load() != 0 || len(c.perIP) != 0 {
				t.Errorf("%d an address, upgraded %v: weight %d, %d open, %d networks", perIP, upgrades, c.weight.Load(), c.open.Load(), len(c.perIP))
			}
		}
	}
}
