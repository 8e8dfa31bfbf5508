package ws

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// origin is a web origin (RFC 6454 §4), its host in lower case and the port
// of its scheme left out.
type origin struct{ scheme, host string }

func parseOrigin(s string) (o origin, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return o, fmt.Errorf("ws: %q is not an origin", s)
	}
	return origin{strings.ToLower(u.Scheme), bareHost(u.Host, u.Scheme)}, nil
}

// bareHost is a host in lower case, without the port of its scheme.
func bareHost(host, scheme string) string {
	host = strings.ToLower(host)
	port := ":80"
	if strings.EqualFold(scheme, "https") {
		port = ":443"
	}
	return strings.TrimSuffix(host, port)
}

// nameless reports whether an origin is what browsers send for pages that have
// no host.
func nameless(origin string) bool { return origin == "null" || origin == "file://" }

// isOriginPattern reports whether Options.Origins may hold an element.
func isOriginPattern(pattern string) bool {
	if pattern == "*" || nameless(pattern) {
		return true
	}
	o, err := parseOrigin(pattern)
	return err == nil && !strings.Contains(strings.TrimPrefix(o.host, "*."), "*")
}

// checkOrigin refuses pages of foreign origins, which would connect with the
// user's cookies (RFC 6455 §10.2). The host is what the client asked for: behind
// a proxy that is known to the aerys.TrustedProxies in front, what it said.
func (e *Endpoint) checkOrigin(r *http.Request) *refusal {
	sent := r.Header["Origin"]
	if len(sent) == 0 || len(sent) == 1 && (isOwnOrigin(sent[0], r.Host) || e.allowsOrigin(sent[0])) {
		return nil
	}
	e.logOrigin(r)
	return &refusal{http.StatusForbidden, "pages of this origin may not connect"}
}

// isOwnOrigin reports whether an origin is that of a host's own pages.
func isOwnOrigin(sent, host string) bool {
	if _, from, ok := strings.Cut(sent, "://"); ok && from != "" && strings.EqualFold(from, host) {
		return true // as most are; only a port that goes without saying needs parsing
	}
	from, err := parseOrigin(sent)
	return err == nil && from.host == bareHost(host, from.scheme)
}

// allowsOrigin reports whether Options.Origins lists an origin.
func (e *Endpoint) allowsOrigin(sent string) bool {
	from, err := parseOrigin(sent)
	return slices.ContainsFunc(e.options.Origins, func(pattern string) bool {
		return pattern == "*" || nameless(pattern) && pattern == sent || err == nil && from.matches(pattern)
	})
}

// matches reports whether o is, or is a subdomain of, what the pattern allows.
func (o origin) matches(pattern string) bool {
	allowed, err := parseOrigin(pattern)
	if err != nil || allowed.scheme != o.scheme {
		return false
	}
	if domain, ok := strings.CutPrefix(allowed.host, "*"); ok {
		return strings.HasSuffix(o.host, domain) && len(o.host) > len(domain)
	}
	return allowed.host == o.host
}

// logOrigin tells of an origin that was refused, and what to do about it.
func (e *Endpoint) logOrigin(r *http.Request) {
	what := []any{slog.String("origin", clip(strings.Join(r.Header["Origin"], ", "))), slog.String("host", clip(r.Host))}
	if forwarded := r.Header["X-Forwarded-Host"]; len(forwarded) > 0 {
		what = append(what, slog.String("X-Forwarded-Host", clip(strings.Join(forwarded, ", "))),
			slog.String("hint", "what a proxy forwards is believed behind aerys.TrustedProxies"))
	}
	e.foreign.log(e.options.Logger, slog.LevelWarn, "ws: origin refused: add it to Options.Origins if its pages may connect", what...)
}

// clip cuts what a client sent to what a log can bear.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
