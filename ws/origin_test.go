package ws_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"aerys"
	"aerys/ws"
)

// Pages of the host's own origin may connect, and those of Options.Origins; others would
// come with the user's cookies (RFC 6455 §10.2). The host is server.example.com.
func TestOrigins(t *testing.T) {
	t.Parallel()
	own := "Origin: http://server.example.com"
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}
	backend := "Host: backend:8080"
	for _, test := range []struct {
		name    string
		allowed bool
		fields  []string
		origins []string
		proxies []netip.Prefix
	}{
		{name: "no browser's", allowed: true},
		{name: "the host's own", allowed: true, fields: []string{own}},
		{name: "behind a proxy that ends TLS", allowed: true, fields: []string{"Origin: https://server.example.com"}},
		{name: "in capitals", allowed: true, fields: []string{"Origin: HTTP://Server.Example.COM"}},
		{name: "at a port", allowed: true, fields: []string{"Host: server.example.com:8080", own + ":8080"}},
		{name: "at another port", fields: []string{"Host: server.example.com:8080", own}},
		{name: "at the port of HTTP", allowed: true, fields: []string{own + ":80"}},
		{name: "at the port of HTTPS", allowed: true, fields: []string{"Host: server.example.com:443", "Origin: https://server.example.com"}},
		{name: "at HTTPS's port by HTTP", fields: []string{own + ":443"}},
		{name: "an IPv6 address", allowed: true, fields: []string{"Host: [::1]:8080", "Origin: http://[::1]:8080"}},
		{name: "null", fields: []string{"Origin: null"}},
		{name: "empty", fields: []string{"Origin: "}},
		{name: "no host", fields: []string{"Origin: https://"}},
		{name: "no scheme", fields: []string{"Origin: server.example.com"}},
		{name: "another host", fields: []string{"Origin: https://evil"}},
		{name: "the host as a subdomain", fields: []string{own + ".evil"}},
		{name: "the host as an end", fields: []string{"Origin: http://evilserver.example.com"}},
		{name: "the host's subdomain", fields: []string{"Origin: http://evil.server.example.com"}},
		{name: "the host's parent", fields: []string{"Origin: http://example.com"}},
		{name: "the host as a path", fields: []string{"Origin: http://evil/server.example.com"}},
		{name: "the host as a query", fields: []string{"Origin: http://evil?://server.example.com"}},
		{name: "the host as a user", fields: []string{"Origin: http://server.example.com@evil"}},
		{name: "a user", fields: []string{"Origin: http://evil@server.example.com"}},
		{name: "a URL, not an origin", fields: []string{own + "/"}},
		{name: "twice", fields: []string{own, "+" + own}},
		{name: "two in one", fields: []string{own + " http://evil"}},

		{name: "listed", allowed: true, fields: []string{"Origin: https://a.org"}, origins: []string{"http://b.org", "https://a.org"}},
		{name: "the own besides those listed", allowed: true, fields: []string{own}, origins: []string{"https://a.org"}},
		{name: "listed in capitals", allowed: true, fields: []string{"Origin: https://a.org"}, origins: []string{"HTTPS://A.org:443"}},
		{name: "listed, the scheme not", fields: []string{"Origin: http://a.org"}, origins: []string{"https://a.org"}},
		{name: "listed, the port not", fields: []string{"Origin: https://a.org:8443"}, origins: []string{"https://a.org", "https://*.org"}},
		{name: "listed, its subdomain not", fields: []string{"Origin: https://x.a.org"}, origins: []string{"https://a.org"}},
		{name: "a subdomain", allowed: true, fields: []string{"Origin: https://x.y.a.org"}, origins: []string{"https://*.a.org"}},
		{name: "a subdomain at a port", allowed: true, fields: []string{"Origin: https://x.a.org:8443"}, origins: []string{"https://*.a.org:8443"}},
		{name: "the domain of the subdomains", fields: []string{"Origin: https://a.org"}, origins: []string{"https://*.a.org"}},
		{name: "a nameless subdomain", fields: []string{"Origin: https://.a.org"}, origins: []string{"https://*.a.org"}},
		{name: "an end that is no subdomain", fields: []string{"Origin: https://evila.org"}, origins: []string{"https://*.a.org"}},
		{name: "a subdomain by HTTP", fields: []string{"Origin: http://x.a.org"}, origins: []string{"https://*.a.org"}},
		{name: "any", allowed: true, fields: []string{"Origin: https://evil"}, origins: []string{"*"}},
		{name: "any, null too", allowed: true, fields: []string{"Origin: null"}, origins: []string{"*"}},
		{name: "any, but one", fields: []string{own, "+" + own}, origins: []string{"*"}},

		{name: "the proxy's host", allowed: true, fields: []string{backend, own, "X-Forwarded-Host: server.example.com"}, proxies: loopback},
		{name: "the proxy's host with its port", allowed: true, fields: []string{backend, own + ":81", "X-Forwarded-Host: server.example.com:81"}, proxies: loopback},
		{name: "not that of the proxy's host", fields: []string{backend, "Origin: http://backend:8080", "X-Forwarded-Host: server.example.com"}, proxies: loopback},
		{name: "a proxy that says nothing", allowed: true, fields: []string{backend, "Origin: http://backend:8080"}, proxies: loopback},
		{name: "a forged host without a proxy", fields: []string{"Origin: http://evil", "X-Forwarded-Host: evil"}},
		{name: "a forged host past the proxy", fields: []string{"Origin: http://evil", "X-Forwarded-Host: evil"}, proxies: elsewhere},
		{name: "past the proxy", allowed: true, fields: []string{own, "X-Forwarded-Host: evil"}, proxies: elsewhere},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			s := serve(t, byHTTP, &recorder{onHandshake: func(*aerys.Request, *aerys.Response) {
				if !test.allowed {
					t.Error("OnHandshake was called")
				}
			}}, ws.Options{Origins: test.origins, TrustedProxies: test.proxies, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			p := s.connect(t)
			p.write([]byte(upgrade(test.fields...)))
			if test.allowed {
				p.expectSwitch()
				return
			}
			if res := p.response(); res.StatusCode != http.StatusForbidden {
				t.Errorf("%s, want 403", res.Status)
			}
			s.stop(t)
			checkOriginLog(t, log.String(), upgrade(test.fields...))
		})
	}
}

// checkOriginLog finds both hosts in the log, and what to do.
func checkOriginLog(t *testing.T, log, request string) {
	for _, line := range strings.Split(request, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Origin" && !strings.Contains(log, value) || name == "Host" && !strings.Contains(request, "X-Forwarded-Host") && !strings.Contains(log, value) {
			t.Errorf("the log does not name %s %q: %s", name, value, log)
		}
	}
	if !strings.Contains(log, "Options.Origins") {
		t.Errorf("the log does not name the option: %s", log)
	}
}

// Where the Host trusts a proxy, the endpoint does.
func TestOriginBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	at := byHost
	at.mount = func(g *ws.Gateway) aerys.Action {
		return aerys.Router().Use(aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.1/32"))).Get("/chat", g)
	}
	s := serve(t, at, &recorder{}, ws.Options{})
	s.connect(t).expectHandshake("Origin: https://public.example", "X-Forwarded-Host: evil, public.example")
	p := s.connect(t)
	p.write([]byte(upgrade("Origin: https://evil", "X-Forwarded-Host: evil, public.example")))
	if res := p.response(); res.StatusCode != http.StatusForbidden {
		t.Errorf("%s, want 403", res.Status)
	}
}
