package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"aerys"
	"aerys/internal/field"
	"aerys/ws/internal/deflate"
)

// refusal is a handshake that is answered by a plain HTTP reply.
type refusal struct {
	status int
	reason string
}

// check examines an upgrade request as RFC 6455 §4.2.1 asks, and more.
func (e *Endpoint) check(r *http.Request, a *agreement) *refusal {
	h := r.Header
	if h[":protocol"] != nil {
		return e.checkConnect(r, a)
	}
	switch {
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "a WebSocket handshake is a GET request"}
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1:
		return &refusal{http.StatusUpgradeRequired, "a WebSocket handshake needs HTTP/1.1"}
	case !field.HasToken(h["Upgrade"], "websocket"), !field.HasToken(h["Connection"], "upgrade"):
		return &refusal{http.StatusUpgradeRequired, "this is a WebSocket endpoint: Connection: Upgrade and Upgrade: websocket are missing"}
	case len(h["Sec-Websocket-Version"]) != 1 || h["Sec-Websocket-Version"][0] != "13":
		return &refusal{http.StatusUpgradeRequired, "the WebSocket version is not 13"}
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return &refusal{http.StatusBadRequest, "a WebSocket handshake has no body"}
	case len(h["Sec-Websocket-Key"]) != 1 || !validKey(h["Sec-Websocket-Key"][0]):
		return &refusal{http.StatusBadRequest, "Sec-WebSocket-Key is not one value of 16 bytes in base64"}
	case !originAllowed(h["Origin"], r.Host, e.options.Origins):
		e.logOrigin(r)
		return &refusal{http.StatusForbidden, "pages of this origin may not connect"}
	}
	a.key = h["Sec-Websocket-Key"][0]
	return e.negotiate(h, a)
}

// checkConnect is check for an extended CONNECT, which has neither Upgrade nor a key
// (RFC 8441 §5).
func (e *Endpoint) checkConnect(r *http.Request, a *agreement) *refusal {
	h := r.Header
	switch {
	case r.Method != http.MethodConnect || len(h[":protocol"]) != 1 || h[":protocol"][0] != "websocket":
		return &refusal{http.StatusNotImplemented, "the protocol of this endpoint is websocket"} // RFC 9220 §3
	case len(h["Sec-Websocket-Version"]) != 1 || h["Sec-Websocket-Version"][0] != "13":
		return &refusal{http.StatusUpgradeRequired, "the WebSocket version is not 13"}
	case r.ContentLength > 0:
		return &refusal{http.StatusBadRequest, "a WebSocket handshake has no body"}
	case !originAllowed(h["Origin"], r.Host, e.options.Origins):
		e.logOrigin(r)
		return &refusal{http.StatusForbidden, "pages of this origin may not connect"}
	}
	return e.negotiate(h, a)
}

// logOrigin tells of an origin that was refused, and what to do about it. The host
// is what the client asked for: behind a proxy that is known to the
// aerys.TrustedProxies in front, what it said.
func (e *Endpoint) logOrigin(r *http.Request) {
	what := []any{slog.String("origin", clip(strings.Join(r.Header["Origin"], ", "))), slog.String("host", clip(r.Host))}
	if forwarded := r.Header["X-Forwarded-Host"]; len(forwarded) > 0 {
		what = append(what, slog.String("X-Forwarded-Host", clip(strings.Join(forwarded, ", "))),
			slog.String("hint", "what a proxy forwards is believed behind aerys.TrustedProxies"))
	}
	e.foreign.log(e.options.Logger, slog.LevelWarn, "ws: origin refused: add it to Options.Origins if its pages may connect", what...)
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
		terms, answer, ok := deflate.Accept(offers, e.options.CompressionTakeover)
		if !ok {
			return &refusal{http.StatusBadRequest, "Sec-WebSocket-Extensions is malformed"}
		}
		if e.options.Compression {
			a.deflate, a.extensions = terms, answer
		}
	}
	return nil
}

// parseTokens returns the tokens of Sec-WebSocket-Protocol, in order. It fails
// at one that is repeated or no token (RFC 6455 §4.1, item 10).
func parseTokens(values []string) (tokens []string, ok bool) {
	tokens = slices.Collect(field.Elements(values))
	return tokens, areTokens(tokens)
}

// areTokens reports whether all are tokens, each different.
func areTokens(names []string) bool {
	seen := make(map[string]bool)
	for _, name := range names {
		if !field.IsToken(name) || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// chooseSubprotocol returns the server's favourite among those offered.
func (e *Endpoint) chooseSubprotocol(offered []string) string {
	for _, name := range e.options.Subprotocols {
		if slices.Contains(offered, name) {
			return name
		}
	}
	return ""
}

// overrule settles the subprotocol that OnHandshake chose, if it did: one that
// the client did not offer would fail the connection (RFC 6455 §4.1).
func (e *Endpoint) overrule(req *aerys.Request, res *aerys.Response, a *agreement) {
	chosen := res.Header()["Sec-Websocket-Protocol"]
	if len(chosen) == 0 {
		return
	}
	offered, _ := parseTokens(req.Header["Sec-Websocket-Protocol"])
	if len(chosen) == 1 && slices.Contains(offered, chosen[0]) {
		a.subprotocol = chosen[0]
		return
	}
	e.misled.log(e.options.Logger, slog.LevelError, "ws: the Sec-WebSocket-Protocol that was set in OnHandshake is not sent: the client does not offer it",
		slog.String("set", clip(strings.Join(chosen, ", "))), slog.String("offered", clip(strings.Join(offered, ", "))))
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
		if req.ProtoMajor == 1 { // over HTTP/2 it would end the others, too
			res.SetHeader("Connection", "close")
		}
	}
	res.Fail(&aerys.Error{Status: no.status, Err: errors.New(no.reason), Public: true})
}

// appendSwitch appends the 101 response: ours, and the fields that the
// application set.
func appendSwitch(p []byte, a *agreement, header http.Header) []byte {
	p = append(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	p = acceptKey(p, a.key)
	if a.subprotocol != "" {
		p = appendField(p, "Sec-WebSocket-Protocol", a.subprotocol)
	}
	if a.extensions != "" {
		p = appendField(p, "Sec-WebSocket-Extensions", a.extensions)
	}
	for name, values := range header {
		if reservedField(name) {
			continue
		}
		for _, value := range values {
			p = appendField(p, name, value)
		}
	}
	return append(p, "\r\n\r\n"...)
}

// agree makes a header that of the 200 that accepts an extended CONNECT.
func (a *agreement) agree(header http.Header) {
	for name := range header {
		if reservedField(name) {
			delete(header, name)
		}
	}
	if a.subprotocol != "" {
		header.Set("Sec-WebSocket-Protocol", a.subprotocol)
	}
	if a.extensions != "" {
		header.Set("Sec-WebSocket-Extensions", a.extensions)
	}
}

func appendField(p []byte, name, value string) []byte {
	return append(append(append(append(p, "\r\n"...), name...), ": "...), value...)
}

// reservedField reports whether a field of the 101 is not the application's.
func reservedField(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Upgrade", "Connection", "Content-Length", "Content-Type", "Transfer-Encoding", "Trailer",
		"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions":
		return true
	}
	return false
}
