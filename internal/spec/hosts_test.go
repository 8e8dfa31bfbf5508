package spec

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"aerys"
)

func TestHostIsChosenByName(t *testing.T) {
	port := func(s *server) int { return s.addresses[0].(*net.TCPAddr).Port }
	free := freePort(t)
	s := run(t, aerys.Options{},
		local("any"),
		local("www").Name("WWW.Example.com"),
		local("six").Name("[::1]"),
		local("all ports").Name("all.example:*"),
		local("below").Name("*.Example.com"),
		local("below that").Name("*.b.example.com:*"),
		local("books").Name("Bücher.de"),
		local("below the books").Name("*.bücher.de"),
		new(aerys.Host).Name("*:"+fmt.Sprint(free)).Expose("127.0.0.1", free).Expose("127.0.0.1", 0).Use(says("any on a port")),
		new(aerys.Host).Name(fmt.Sprint("api.example:", free)).Expose("127.0.0.1", free).Use(says("api on a port")),
	)
	for _, test := range []struct {
		address int
		host    string
		want    string
	}{
		{0, "www.example.com", "www"},
		{0, "WWW.EXAMPLE.COM", "www"},
		{0, "www.example.com.", "www"},
		{0, fmt.Sprint("www.example.com:", port(s)), "www"},
		{0, "www.example.com:1", "www"}, // the local port counts, not this one
		{0, "[::1]", "six"},
		{0, "[::1]:80", "six"},
		{0, "all.example", "all ports"},
		{0, "a.example.com", "below"},
		{0, "A.B.C.Example.Com.:80", "below"},
		{0, "b.example.com", "below"},
		{0, "a.b.example.com", "below that"},
		{0, "example.com", "any"},
		{0, "aexample.com", "any"},
		{0, ".example.com", "below"},
		{0, strings.Repeat("a.", 121) + "example.com", "below"},
		{0, strings.Repeat("a.", 123) + "example.com", "any"}, // no name is that long
		{0, "xn--bcher-kva.de", "books"},
		{0, "XN--BCHER-KVA.de:1", "books"},
		{0, "www.xn--bcher-kva.de", "below the books"},
		{0, "api.example", "any"},
		{0, "other", "any"},
		{0, "", "any"},
		{1, "api.example", "api on a port"},
		{1, "www.example.com", "any on a port"},
	} {
		_, body := statusAndBody(t, converse(t, s.addresses[test.address], request(test.host, "/")))
		if body != test.want {
			t.Errorf("address %d, Host %q: %q answered, want %q", test.address, test.host, body, test.want)
		}
	}
}

func TestUnknownNameIsRefused(t *testing.T) {
	s := run(t, aerys.Options{}, local("a").Name("a.example"))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a.example/../b\r\nConnection: close\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
	} {
		if status, _ := statusAndBody(t, converse(t, s.addresses[0], request)); status != 400 {
			t.Errorf("%q: status %d, want 400", request, status)
		}
	}
	// The target's authority outweighs the Host header (RFC 9112 §3.2.2).
	if _, body := statusAndBody(t, converse(t, s.addresses[0], "GET http://a.example/ HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")); body != "a" {
		t.Errorf("absolute target: %q", body)
	}
}

func TestContradictionsAreErrorsAtStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	cert, key := writeCertificate(t, t.TempDir(), "a.example")
	ended := says("")
	for _, test := range []struct {
		name    string
		options aerys.Options
		hosts   []*aerys.Host
		want    string
	}{
		{"no hosts", aerys.Options{}, nil, "without Hosts"},
		{"two wildcards", aerys.Options{}, []*aerys.Host{local("a"), local("b").Name("*")},
			"aerys: host * on 127.0.0.1:0: there is a host without a name already"},
		{"one name twice", aerys.Options{}, []*aerys.Host{local("a").Name("a.example"), local("b").Name("A.example.")},
			"aerys: host a.example on 127.0.0.1:0: there is a host of that name already"},
		{"names below one twice", aerys.Options{}, []*aerys.Host{local("a").Name("*.a.example"), local("b").Name("*.A.example.")},
			"aerys: host *.a.example on 127.0.0.1:0: there is a host of that name already"},
		{"encrypted and plain", aerys.Options{}, []*aerys.Host{local("a").Name("a"), local("b").Name("b").Encrypt(cert, key)},
			"aerys: host b on 127.0.0.1:0: encrypted and plain hosts cannot share an address (the other is a)"},
		{"port in use", aerys.Options{}, []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", port).Use(ended)},
			fmt.Sprintf("aerys: host * on 127.0.0.1:%d: listen", port)},
		{"port of the name not exposed", aerys.Options{}, []*aerys.Host{local("a").Name("a:81")},
			"aerys: host a:81: not exposed on the port in its name, but on [127.0.0.1:0]"},
		{"no certificate", aerys.Options{}, []*aerys.Host{local("a").Encrypt("missing.pem", "")}, "aerys: host * on [127.0.0.1:0]: cannot use its certificate: open missing.pem"},
		{"no certificate at the default address", aerys.Options{}, []*aerys.Host{new(aerys.Host).Encrypt("missing.pem", "")}, "aerys: host * on [*:443]: cannot use its certificate"},
		{"no key", aerys.Options{}, []*aerys.Host{local("a").Encrypt(cert, "")}, "aerys: host * on [127.0.0.1:0]: cannot use its certificate: tls: "},
		{"unknown user", aerys.Options{User: "no such user"}, []*aerys.Host{local("a")}, "aerys: Options.User"},
		{"negative limit", aerys.Options{MaxHeaderSize: -1}, []*aerys.Host{local("a")}, "aerys: Options.MaxHeaderSize is negative"},
		{"no method", aerys.Options{AllowedMethods: []string{"GET POST"}}, []*aerys.Host{local("a")}, `aerys: Options.AllowedMethods: "GET POST" is no method`},
		{"no content type", aerys.Options{DefaultContentType: "/"}, []*aerys.Host{local("a")}, `aerys: Options.DefaultContentType "/"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := &aerys.Server{Options: test.options, Hosts: test.hosts}
			if err := server.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Serve returned %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestListensOnEveryKindOfAddress(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "aerys.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	any(stale).(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	stale.Close() // its file stays, as after a crash
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) { res.End(fmt.Sprint(req.RemoteAddr != "")) })
	host.Expose("127.0.0.1", 0).Expose("::1", 0).Expose("*", 0).Expose("0.0.0.0", 0).Expose("::", 0).Expose(socket, 0).Expose(socket, 0)
	s := run(t, aerys.Options{}, host)
	if len(s.addresses) != 6 {
		t.Fatalf("listens on %v", s.addresses)
	}
	for _, address := range s.addresses {
		if status, _ := statusAndBody(t, converse(t, address, request("a", "/"))); status != 200 {
			t.Errorf("%v: status %d", address, status)
		}
	}
	second := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose(socket, 0)}}
	if err := second.Serve(context.Background()); err == nil || !strings.Contains(err.Error(), "host * on "+socket) {
		t.Errorf("a socket in use was taken: %v", err)
	}
}

// listening is a listener of the test's own.
func listening(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// hidden is a listener that is no socket to whoever looks.
type hidden struct{ net.Listener }

func TestListensOnWhatIsGiven(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		socket := filepath.Join(t.TempDir(), "given.sock")
		tcp, unix, wrapped := listening(t, "tcp", "127.0.0.1:0"), listening(t, "unix", socket), &hidden{listening(t, "tcp", "127.0.0.1:0")}
		port := tcp.Addr().(*net.TCPAddr).Port
		first := secured(t, new(aerys.Host).Listen(tcp).Listen(unix).Listen(wrapped).Listen(tcp).Use(says("first")), encrypted)
		second := secured(t, new(aerys.Host).Name(fmt.Sprint("second:", port)).Listen(tcp).Expose("127.0.0.1", 0).Use(says("second")), encrypted)
		s := run(t, aerys.Options{}, first, second)
		is(t, s.addresses[:3], fmt.Sprint([]net.Addr{tcp.Addr(), unix.Addr(), wrapped.Addr()}))
		is(t, s.state().Hosts[0].Addresses, fmt.Sprint([]string{tcp.Addr().String(), socket, wrapped.Addr().String()}))
		for i, want := range []string{"first", "first", "first"} {
			connect := func() net.Conn {
				if encrypted {
					return dialTLS(t, s.addresses[i])
				}
				return dial(t, s.addresses[i])
			}
			_, body := statusAndBody(t, exchange(t, connect(), request("localhost", "/")))
			is(t, body, want)
			if _, body = statusAndBody(t, exchange(t, connect(), request("second", "/"))); i == 0 {
				is(t, body, "second")
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if _, err := wrapped.Accept(); err == nil {
			t.Error("is open after the end")
		}
		if conn, err := net.Dial("tcp", tcp.Addr().String()); err == nil {
			conn.Close()
			t.Error("somebody listens after the end")
		}
	}
}
