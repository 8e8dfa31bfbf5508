package aerys

import (
	"net"
	"net/netip"
	"strings"
)

// TrustedProxies makes requests that come through a reverse proxy look as they
// did to the proxy: the client's address is in RemoteAddr (with port 0), the
// name it asked for in Host, and "http" or "https" in URL.Scheme. They are
// taken from X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto, and only
// when the peer's address lies in prefixes or it came over a Unix socket; a
// list is read from its end, past further trusted proxies. From everyone else
// these headers mean nothing and are removed.
//
// The proxy must set or remove all three, since whatever it merely passes on
// was written by the client. This is also why RFC 7239's Forwarded is not
// read: proxies that do not know it pass it on.
//
// Hosts are chosen by the Host header before any action runs.
func TrustedProxies(prefixes ...netip.Prefix) Middleware {
	return func(next Handler) Handler { return &proxied{prefixes, next} }
}

type proxied struct {
	prefixes []netip.Prefix
	next     Handler
}

func (p *proxied) Serve(req *Request, res *Response) {
	if p.trustsPeer(req) {
		p.readHeader(req)
	} else {
		for _, name := range [...]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			delete(req.Header, name)
		}
	}
	p.next.Serve(req, res)
}

// trustsPeer reports whether the connection is from a trusted proxy. The peer
// of a Unix socket has no address; its file's permissions say who that can be.
func (p *proxied) trustsPeer(req *Request) bool {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return req.Info().Socket != ""
	}
	return p.trusts(peer.Addr())
}

func (p *proxied) trusts(ip netip.Addr) bool {
	for _, prefix := range p.prefixes {
		if prefix.Contains(ip.Unmap()) || prefix.Contains(ip) {
			return true
		}
	}
	return false
}

func (p *proxied) readHeader(req *Request) {
	if client, ok := p.client(req.Header["X-Forwarded-For"]); ok {
		req.RemoteAddr = net.JoinHostPort(client.String(), "0")
	}
	if host := last(req.Header["X-Forwarded-Host"]); host != "" {
		req.Host = host
	}
	if scheme := strings.ToLower(last(req.Header["X-Forwarded-Proto"])); scheme == "http" || scheme == "https" {
		req.URL.Scheme = scheme
	}
}

// client returns the last address that is no trusted proxy's; if all are, the
// first of them. What comes before something that is no address proves nothing.
func (p *proxied) client(values []string) (client netip.Addr, ok bool) {
	list := strings.Split(strings.Join(values, ","), ",")
	for i := len(list) - 1; i >= 0; i-- {
		ip, err := parseForwarded(strings.TrimSpace(list[i]))
		if err != nil {
			return client, ok
		}
		if client, ok = ip, true; !p.trusts(ip) {
			return client, ok
		}
	}
	return client, ok
}

// parseForwarded reads an address that may have a port.
func parseForwarded(text string) (netip.Addr, error) {
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap(), nil
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return ip.Unmap(), err
}

// last returns the last element of a list that may span several lines.
func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	value := values[len(values)-1]
	return strings.TrimSpace(value[strings.LastIndexByte(value, ',')+1:])
}
