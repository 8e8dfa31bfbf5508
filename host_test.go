package aerys

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aerys/internal/listen"
	"aerys/internal/serve"
)

// answer is an action that answers with a text.
func answer(text string) func(*Request, *Response) {
	return func(_ *Request, res *Response) { res.End(text) }
}

func TestHostPanicsAtWrongArguments(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(h *Host)
		want string
	}{
		{"empty name", func(h *Host) { h.Name("") }, `aerys: Host.Name(""): want a host name`},
		{"space", func(h *Host) { h.Name("a b") }, `Host.Name("a b")`},
		{"slash", func(h *Host) { h.Name("http://a") }, `Host.Name("http://a")`},
		{"partial wildcard", func(h *Host) { h.Name("a*.example") }, `Host.Name("a*.example")`},
		{"wildcard of nothing", func(h *Host) { h.Name("*.") }, `Host.Name("*."): want a host name, "*.example.com" or "*"`},
		{"wildcard of an address", func(h *Host) { h.Name("*.[::1]") }, `Host.Name("*.[::1]")`},
		{"letters in pieces", func(h *Host) { h.Name("bu\u0308cher.de") }, `want a host name`},
		{"signs", func(h *Host) { h.Name("a→b.de") }, `want a host name`},
		{"a letter whose lower case is ASCII", func(h *Host) { h.Name("\u0130.de") }, `want a host name`},
		{"letters of full width", func(h *Host) { h.Name("ａｂｃ.de") }, `want a host name`},
		{"bytes that are no letters", func(h *Host) { h.Name("\xff.de") }, `want a host name`},
		{"nothing before a dot", func(h *Host) { h.Name(".de") }, `want a host name`},
		{"nothing between two", func(h *Host) { h.Name("*.a..de") }, `want a host name`},
		{"another dot", func(h *Host) { h.Name("a。de") }, `want a host name`},
		{"a label too long", func(h *Host) { h.Name(strings.Repeat("ü", 70) + ".de") }, `want a host name`},
		{"no IPv6", func(h *Host) { h.Name("[x]") }, `Host.Name("[x]")`},
		{"port 0", func(h *Host) { h.Name("a:0") }, `Host.Name("a:0")`},
		{"port 65536", func(h *Host) { h.Name("a:65536") }, `Host.Name("a:65536")`},
		{"port http", func(h *Host) { h.Name("a:http") }, `Host.Name("a:http")`},
		{"port too high", func(h *Host) { h.Expose("*", 65536) }, `Host.Expose("*", 65536): want a port from 0 to 65535`},
		{"negative port", func(h *Host) { h.Expose("::", -1) }, `Host.Expose("::", -1)`},
		{"a name to listen on", func(h *Host) { h.Expose("example.com", 80) }, `want "*", "localhost", an IP address`},
		{"socket with port", func(h *Host) { h.Expose("/run/a.sock", 80) }, `a Unix socket has port 0`},
		{"no listener", func(h *Host) { h.Listen(nil) }, `Host.Listen(<nil>): want a listener`},
		{"a nil one", func(h *Host) { h.Listen((*net.TCPListener)(nil)) }, `Host.Listen(*net.TCPListener): want a listener`},
		{"one that cannot be compared", func(h *Host) { h.Listen(listeners{}) }, `Host.Listen(aerys.listeners): want a listener, by its pointer`},
		{"a port that is none", func(h *Host) { h.RedirectToHTTPS(0) }, `aerys: Host.RedirectToHTTPS([0]): want a port from 1 to 65535`},
		{"two ports", func(h *Host) { h.RedirectToHTTPS(1, 2) }, `Host.RedirectToHTTPS([1 2])`},
		{"no certificate", func(h *Host) { h.Encrypt("", "") }, `aerys: Host.Encrypt("", ""): want a certificate file, or a tls.Config with GetCertificate`},
		{"none in the config", func(h *Host) { h.Encrypt("", "", &tls.Config{NextProtos: []string{"h2"}}) }, `want a certificate file, or a tls.Config with GetCertificate`},
		{"no config", func(h *Host) { h.Encrypt("", "", nil) }, `want a certificate file, or a tls.Config with GetCertificate`},
		{"a key alone", func(h *Host) {
			h.Encrypt("", "a.key", &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }})
		}, `want the file with the certificate that the key is for`},
		{"two configs", func(h *Host) { h.Encrypt("a", "b", nil, nil) }, `at most one tls.Config`},
		{"no action", func(h *Host) { h.Use(1) }, `Host.Use: action 1 of 1 is of type int`},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, test.want) {
					t.Errorf("panic %q, want %q in it", text, test.want)
				}
			}()
			test.call(new(Host))
		})
	}
}

func TestAddressesAreShownAndOpened(t *testing.T) {
	for _, test := range []struct {
		host *Host
		url  string
	}{
		{new(Host).Expose("*", 8080), "http://localhost:8080/"},
		{new(Host), "http://localhost/"},
		{new(Host).Encrypt("x", "y"), "https://localhost/"},
		{new(Host).Expose("0.0.0.0", 80), "http://localhost/"},
		{new(Host).Expose("[::1]", 81), "http://localhost:81/"},
		{new(Host).Expose("2001:db8::1", 443), "http://[2001:db8::1]:443/"},
		{new(Host).Expose("::ffff:192.0.2.1", 80), "http://192.0.2.1/"},
		{new(Host).Name("www.example.com").Expose("*", 80), "http://www.example.com/"},
		{new(Host).Name("[::1]").Expose("*", 80), "http://[::1]/"},
		{new(Host).Expose("/run/aerys.sock", 0), "unix:/run/aerys.sock"},
		{new(Host).Listen(&boundTo{&net.TCPAddr{Port: 81}}), "http://localhost:81/"},
		{new(Host).Listen(&boundTo{&net.TCPAddr{IP: net.IPv6loopback, Port: 80}}), "http://localhost/"},
		{new(Host).Listen(&boundTo{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}}), "http://192.0.2.1/"},
		{new(Host).Listen(&boundTo{&net.UnixAddr{Net: "unix", Name: "/x"}}), "unix:/x"},
		{new(Host).Listen(&boundTo{&net.IPAddr{IP: net.IPv4(192, 0, 2, 1)}}), "ip:192.0.2.1"},
	} {
		options := Options{}.withDefaults()
		sv := &service{options: options, serving: serve.New(limitsOf(options), options.Logger)}
		s := newSite(test.host, options)
		if test.host.encryption != nil {
			s.tls = new(listen.Rules)
		}
		if err := sv.expose(s); err != nil {
			t.Fatal(err)
		}
		l := sv.listeners[0]
		l.Bound = boundTo{&net.TCPAddr{Port: l.Address.Port}}
		if url := l.url(); url != test.url {
			t.Errorf("%v: %s, want %s", l.Address, url, test.url)
		}
	}
}

// listeners is a listener whose values cannot be compared.
type listeners struct {
	net.Listener
	_ []net.Listener
}

// boundTo is a listener that only has an address.
type boundTo struct{ address net.Addr }

func (b boundTo) Addr() net.Addr { return b.address }

func (b boundTo) Accept() (net.Conn, error) { return nil, net.ErrClosed }

func (b boundTo) Close() error { return nil }

func TestHostIsAnHTTPHandler(t *testing.T) {
	server := httptest.NewServer(new(Host).Name("ignored.example").Use(Router().Get("/", answer("hello"))))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "hello" {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}
