package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"aerys"
)

// refusal is a handshake that is answered by a plain HTTP reply.
type refusal struct {
	status int
	reason string
}

// agreement is what a handshake settled.
type agreement struct {
	key         string
	subprotocol uint8 // index into Options.Subprotocols, from 1
	deflate     deflateParams
	extensions  string // the value of Sec-WebSocket-Extensions
}

// check examines an upgrade request as RFC 6455 §4.2.1 asks, and more.
func (e *Endpoint) check(r *http.Request, a *agreement) *refusal {
	h := r.Header
	switch {
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "a WebSocket handshake is a GET request"}
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1:
		return &refusal{http.StatusUpgradeRequired, "a WebSocket handshake needs HTTP/1.1"}
	case !headerHasToken(h["Upgrade"], "websocket"), !headerHasToken(h["Connection"], "upgrade"):
		return &refusal{http.StatusUpgradeRequired, "this is a WebSocket endpoint: Connection: Upgrade and Upgrade: websocket are missing"}
	case len(h["Sec-Websocket-Version"]) != 1 || h["Sec-Websocket-Version"][0] != "13":
		return &refusal{http.StatusUpgradeRequired, "the WebSocket version is not 13"}
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return &refusal{http.StatusBadRequest, "a WebSocket handshake has no body"}
	case len(h["Sec-Websocket-Key"]) != 1 || !validKey(h["Sec-Websocket-Key"][0]):
		return &refusal{http.StatusBadRequest, "Sec-WebSocket-Key is not one value of 16 bytes in base64"}
	}
	if no := e.checkOrigin(r); no != nil {
		return no
	}
	a.key = h["Sec-Websocket-Key"][0]
	return e.negotiate(h, a)
}

// negotiate settles subprotocol and extensions (RFC 6455 §4.2.2).
func (e *Endpoint) negotiate(h http.Header, a *agreement) *refusal {
	if offers := h["Sec-Websocket-Protocol"]; len(offers) > 0 {
		names, ok := parseTokens(offers)
		if !ok {
			return &refusal{http.StatusBadRequest, "Sec-WebSocket-Protocol is malformed"}
		}
		a.subprotocol = e.chooseSubprotocol(names)
	}
	if offers := h["Sec-Websocket-Extensions"]; len(offers) > 0 {
		extensions, ok := parseExtensions(offers)
		if !ok {
			return &refusal{http.StatusBadRequest, "Sec-WebSocket-Extensions is malformed"}
		}
		if e.options.Compression {
			a.deflate, a.extensions, _ = acceptDeflate(extensions, e.options.CompressionTakeover)
		}
	}
	return nil
}

// chooseSubprotocol returns the server's favourite among those offered.
func (e *Endpoint) chooseSubprotocol(offered []string) uint8 {
	for i, name := range e.options.Subprotocols {
		for _, offer := range offered {
			if offer == name {
				return uint8(i + 1)
			}
		}
	}
	return 0
}

// validKey reports whether a key is 16 bytes in base64 (RFC 6455 §4.2.1).
func validKey(key string) bool {
	var decoded [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(decoded[:], []byte(key))
	return err == nil && n == 16
}

// acceptKey proves that the key was read (RFC 6455 §4.2.2).
func acceptKey(dst []byte, key string) []byte {
	var p [64]byte
	sum := sha1.Sum(append(append(p[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

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

// checkOrigin refuses pages of foreign origins, which would connect with the
// user's cookies (RFC 6455 §10.2).
func (e *Endpoint) checkOrigin(r *http.Request) *refusal {
	sent := r.Header["Origin"]
	if len(sent) == 0 {
		return nil
	}
	host := e.hostOf(r)
	if len(sent) == 1 {
		if _, from, ok := strings.Cut(sent[0], "://"); ok && strings.EqualFold(from, host) {
			return nil // as most do; only a port that goes without saying needs parsing
		}
		from, err := parseOrigin(sent[0])
		if err == nil && from.host == bareHost(host, from.scheme) {
			return nil
		}
		for _, pattern := range e.options.Origins {
			if pattern == "*" || err == nil && from.matches(pattern) {
				return nil
			}
		}
	}
	e.options.Logger.Warn("ws: origin refused: add it to Options.Origins if its pages may connect",
		slog.Any("origin", sent), slog.String("host", host))
	return &refusal{http.StatusForbidden, "pages of this origin may not connect"}
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

// hostOf is the host that the client asked for: that of X-Forwarded-Host if a
// trusted proxy says so.
func (e *Endpoint) hostOf(r *http.Request) string {
	forwarded := r.Header.Get("X-Forwarded-Host")
	if forwarded == "" {
		return r.Host
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.Host
	}
	for _, network := range e.options.TrustedProxies {
		if network.Contains(peer.Addr().Unmap()) {
			return forwarded
		}
	}
	return r.Host
}

// refuse answers a handshake that broke a rule.
func (e *Endpoint) refuse(req *aerys.Request, res *aerys.Response, no *refusal) {
	e.counters.rejects(no.reason)
	switch no.status {
	case http.StatusUpgradeRequired:
		res.SetHeader("Sec-WebSocket-Version", "13")
		if req.ProtoMajor == 1 { // HTTP/2 must not name it (RFC 9113 §8.2.2)
			res.SetHeader("Upgrade", "websocket").SetHeader("Connection", "Upgrade")
		}
	case http.StatusMethodNotAllowed:
		res.SetHeader("Allow", http.MethodGet)
	case http.StatusBadRequest:
		res.SetHeader("Connection", "close")
	}
	res.SetStatus(no.status).SetHeader("Content-Type", "text/plain; charset=utf-8").End(no.reason + "\n")
}

// appendSwitch appends the 101 response: ours, and the fields that the
// application set.
func (e *Endpoint) appendSwitch(p []byte, o *arrival) []byte {
	p = append(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	p = acceptKey(p, o.key)
	if o.subprotocol > 0 {
		p = appendField(p, "Sec-WebSocket-Protocol", e.options.Subprotocols[o.subprotocol-1])
	}
	if o.extensions != "" {
		p = appendField(p, "Sec-WebSocket-Extensions", o.extensions)
	}
	for name, values := range o.header {
		if reservedField(name) {
			continue
		}
		for _, value := range values {
			p = appendField(p, name, value)
		}
	}
	return append(p, "\r\n\r\n"...)
}

func appendField(p []byte, name, value string) []byte {
	return append(append(append(append(p, "\r\n"...), name...), ": "...), value...)
}

// reservedField reports whether a field of the 101 is not the application's.
func reservedField(name string) bool {
	switch name {
	case "Upgrade", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Trailer",
		"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions":
		return true
	}
	return false
}
