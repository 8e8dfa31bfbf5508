package aerys

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
)

func TestTrustedProxies(t *testing.T) {
	host := func(prefixes ...string) *Host {
		var trusted []netip.Prefix
		for _, prefix := range prefixes {
			trusted = append(trusted, netip.MustParsePrefix(prefix))
		}
		return new(Host).Expose("127.0.0.1", 0).Use(TrustedProxies(trusted...), func(req *Request, res *Response) {
			address, _, _ := strings.Cut(req.RemoteAddr, ":")
			if strings.HasSuffix(req.RemoteAddr, ":0") {
				address = req.RemoteAddr
			}
			res.End(fmt.Sprint(address, " ", req.Host, " ", req.URL.Scheme, " ", len(req.Header)))
		})
	}
	trusting := runServer(t, Options{}, host("127.0.0.0/8", "10.0.0.0/8").Expose(filepath.Join(t.TempDir(), "s"), 0))
	wary := runServer(t, Options{}, host("10.0.0.0/8"))
	all := "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\n"
	for _, test := range []struct {
		name, header, want string
	}{
		{"all of them", all, "192.0.2.1:0 www.example.com https 3"},
		{"none", "", "127.0.0.1 a  0"},
		{"forged beginning", "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1:0 a  1"},
		{"several lines", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0 a  1"},
		{"a second proxy", "X-Forwarded-For: 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1:0 a  1"},
		{"proxies only", "X-Forwarded-For: 10.0.0.1, 10.1.2.3\r\n", "10.0.0.1:0 a  1"},
		{"with ports", "X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1:0 a  1"},
		{"IPv6", "X-Forwarded-For: [2001:db8::1]:4711\r\n", "[2001:db8::1]:0 a  1"},
		{"IPv6 without port", "X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0 a  1"},
		{"no address", "X-Forwarded-For: unknown\r\n", "127.0.0.1 a  1"},
		{"no address before a proxy", "X-Forwarded-For: <script>, 10.0.0.1\r\n", "10.0.0.1:0 a  1"},
		{"no scheme", "X-Forwarded-Proto: gopher\r\n", "127.0.0.1 a  1"},
		{"the nearest proxy's word", "X-Forwarded-Proto: https, HTTP\r\n", "127.0.0.1 a http 1"},
	} {
		request := "GET / HTTP/1.0\r\nHost: a\r\n" + test.header + "\r\n"
		if _, body := statusAndBody(t, converse(t, trusting.addresses[0], request)); body != test.want {
			t.Errorf("%s: %q, want %q", test.name, body, test.want)
		}
		if _, body := statusAndBody(t, converse(t, wary.addresses[0], request)); body != "127.0.0.1 a  0" {
			t.Errorf("%s, from a stranger: %q", test.name, body)
		}
	}
	request := "GET / HTTP/1.0\r\nHost: a\r\n" + all + "\r\n"
	if _, body := statusAndBody(t, converse(t, trusting.addresses[1], request)); body != "192.0.2.1:0 www.example.com https 3" {
		t.Errorf("over a Unix socket: %q", body)
	}
}
