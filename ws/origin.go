package ws

import (
	"net/url"
	"slices"
	"strings"
)

// origin is a web origin (RFC 6454 §4), its host in lower case and the port
// of its scheme left out.
type origin struct{ scheme, host string }

func parseOrigin(s string) (o origin, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return o, false
	}
	return origin{strings.ToLower(u.Scheme), bareHost(u.Host, u.Scheme)}, true
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
	o, ok := parseOrigin(pattern)
	return ok && !strings.Contains(strings.TrimPrefix(o.host, "*."), "*")
}

// originAllowed reports whether a request to a host, which has sent these Origin
// fields, may connect: it is no browser's, or of the host's own pages, or of an
// origin that a pattern of Options.Origins allows. Pages of others would connect
// with the user's cookies (RFC 6455 §10.2).
func originAllowed(sent []string, host string, patterns []string) bool {
	if len(sent) != 1 {
		return len(sent) == 0
	}
	if _, from, ok := strings.Cut(sent[0], "://"); ok && from != "" && strings.EqualFold(from, host) {
		return true // as most are; only a port that goes without saying needs parsing
	}
	from, ok := parseOrigin(sent[0])
	return ok && from.host == bareHost(host, from.scheme) || slices.ContainsFunc(patterns, func(pattern string) bool {
		return pattern == "*" || nameless(pattern) && pattern == sent[0] || ok && from.matches(pattern)
	})
}

// matches reports whether o is, or is a subdomain of, what the pattern allows.
func (o origin) matches(pattern string) bool {
	allowed, ok := parseOrigin(pattern)
	if domain, wild := strings.CutPrefix(allowed.host, "*"); wild {
		return allowed.scheme == o.scheme && strings.HasSuffix(o.host, domain) && len(o.host) > len(domain)
	}
	return ok && allowed == o
}
