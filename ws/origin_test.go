package ws_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

// Pages of the host's own origin may connect, and those of Options.Origins; others would
// come with the user's cookies (RFC 6455 §10.2). The host is server.example.com.
func TestOrigins(t *testing.T) {
	t.Parallel()
	own := "Origin: http://server.example.com"
	for _, test := range []struct {
		name    string
		allowed bool
		fields  []string
		origins []string
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

		{name: "null, listed", allowed: true, fields: []string{"Origin: null"}, origins: []string{"https://a.org", "null"}},
		{name: "null, another listed", fields: []string{"Origin: null"}, origins: []string{"https://null", "file://"}},
		{name: "a file", fields: []string{"Origin: file://"}},
		{name: "a file, listed", allowed: true, fields: []string{"Origin: file://"}, origins: []string{"file://"}},
		{name: "a file, null listed", fields: []string{"Origin: file://"}, origins: []string{"null"}},
		{name: "a file of a host", fields: []string{"Origin: file://evil"}, origins: []string{"file://"}},
		{name: "a file, to no host", fields: []string{"Origin: file://", "Host: "}},
		{name: "an application", allowed: true, fields: []string{"Origin: capacitor://localhost"}, origins: []string{"capacitor://localhost"}},

		{name: "a host that is forwarded by nobody known", fields: []string{"Origin: http://evil", "X-Forwarded-Host: evil"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			s := serve(t, byHTTP, &recorder{onHandshake: func(*aerys.Request, *aerys.Response) {
				if !test.allowed {
					t.Error("OnHandshake was called")
				}
			}}, ws.Options{Origins: test.origins, Logger: slog.New(slog.NewTextHandler(&log, nil))})
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
	t.Helper()
	want := []string{"Options.Origins"}
	for _, line := range strings.Split(request, "\r\n") {
		switch name, value, _ := strings.Cut(line, ": "); name {
		case "Origin", "Host":
			want = append(want, value)
		case "X-Forwarded-Host":
			want = append(want, value, "aerys.TrustedProxies")
		}
	}
	for _, part := range want {
		if !strings.Contains(log, part) {
			t.Errorf("the log does not tell %q: %s", part, log)
		}
	}
}

// The proxies that are trusted are those of aerys.TrustedProxies, wherever the gateway is.
func TestOriginBehindTrustedProxies(t *testing.T) {
	t.Parallel()
	trusting := func(prefixes ...string) func(*ws.Gateway) aerys.Action {
		trusted := make([]netip.Prefix, len(prefixes))
		for i, prefix := range prefixes {
			trusted[i] = netip.MustParsePrefix(prefix)
		}
		return func(g *ws.Gateway) aerys.Action { return new(aerys.Host).Use(aerys.TrustedProxies(trusted...), g) }
	}
	local, elsewhere := trusting("10.0.0.0/8", "127.0.0.0/8"), trusting("192.0.2.0/24", "2001:db8::/32")
	const public, backend = "Origin: https://public.example", "Host: backend:8080"
	for _, test := range []struct {
		name    string
		allowed bool
		network string
		mount   func(*ws.Gateway) aerys.Action
		fields  []string
	}{
		{"the proxy's host", true, "tcp", local, []string{public, "X-Forwarded-Host: public.example"}},
		{"with its port", true, "tcp", local, []string{public + ":81", "X-Forwarded-Host: public.example:81"}},
		{"the end of a list", true, "tcp", local, []string{public, "X-Forwarded-Host: evil, public.example"}},
		{"the last line", true, "tcp", local, []string{public, "X-Forwarded-Host: evil", "+X-Forwarded-Host: public.example"}},
		{"not the first line", false, "tcp", local, []string{"Origin: https://evil", "X-Forwarded-Host: evil", "+X-Forwarded-Host: public.example"}},
		{"nor the beginning of a list", false, "tcp", local, []string{"Origin: https://evil", "X-Forwarded-Host: evil, public.example"}},
		{"not that of the proxy's host", false, "tcp", local, []string{"Origin: http://backend:8080", "X-Forwarded-Host: public.example"}},
		{"a proxy that says nothing", true, "tcp", local, []string{"Origin: http://backend:8080"}},
		{"through a Unix socket", true, "unix", elsewhere, []string{public, "X-Forwarded-Host: public.example"}},
		{"forged through it", false, "unix", elsewhere, []string{"Origin: https://evil", "X-Forwarded-Host: evil", "+X-Forwarded-Host: public.example"}},
		{"past the proxy", false, "tcp", elsewhere, []string{public, "X-Forwarded-Host: public.example"}},
		{"forged past the proxy", true, "tcp", elsewhere, []string{"Origin: http://backend:8080", "X-Forwarded-Host: evil"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := setting{network: test.network, mount: test.mount}
			s := serve(t, at, &recorder{}, ws.Options{Logger: slog.New(slog.DiscardHandler)})
			p := s.connect(t)
			p.write([]byte(upgrade(append(test.fields, backend)...)))
			if res := p.response(); res.StatusCode != http.StatusSwitchingProtocols == test.allowed {
				t.Errorf("%s, allowed should be %v", res.Status, test.allowed)
			}
		})
	}
}

// However often a page that may not connect tries, and whatever it sends, the log
// stays short, and tells how much it left out.
func TestOriginLogIsBounded(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	s := serve(t, byHTTP, &recorder{}, ws.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	p := s.connect(t)
	long := strings.Repeat("\xff", 8<<10)
	refused := 0
	refuse := func() {
		refused++
		p.write([]byte(upgrade("Origin: https://evil.example/"+long, "Host: "+strings.Repeat("x", 8<<10), "X-Forwarded-Host: "+long)))
		if res := p.response(); res.StatusCode != http.StatusForbidden {
			t.Fatal(res.Status)
		}
	}
	for range 50 {
		refuse()
	}
	burst := log.String()
	for deadline := time.Now().Add(patience); log.String() == burst; time.Sleep(10 * time.Millisecond) {
		if refuse(); time.Now().After(deadline) {
			t.Fatal("the log does not tell what it left out")
		}
	}
	lines, told := strings.Split(strings.TrimSpace(log.String()), "\n"), 0
	for _, line := range lines {
		var omitted int
		if _, count, ok := strings.Cut(line, "omitted="); ok {
			fmt.Sscan(count, &omitted)
		}
		if told += 1 + omitted; len(line) > 4<<10 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	if told != refused {
		t.Errorf("%d refusals, of which %d lines tell %d", refused, len(lines), told)
	}
}
