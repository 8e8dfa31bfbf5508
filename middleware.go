package aerys

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"aerys/internal/listen"
)

// AccessLog writes a line at level Info about every request that passes it, once it
// was answered: method, path (decoded, without the query), status, bytes (of the
// body, before compression), duration, client (the address in RemoteAddr, as
// [TrustedProxies] leaves it), the id in X-Request-Id, the response's or else the
// request's, and the error that [Response.Err] tells. A WebSocket has its line when
// it is open, with status 101; an answer that was aborted has "aborted", and status
// 0 if nothing of it was sent. nil is the server's Options.Logger.
//
// It belongs in front of a Host's actions: a request that falls through all that
// follows it in a router has no line, for its answer is not known there.
func AccessLog(logger *slog.Logger) Middleware {
	return func(next Handler) Handler { return &accessLog{logger, next} }
}

type accessLog struct {
	logger *slog.Logger
	next   Handler
}

// Serve implements [Handler].
func (a *accessLog) Serve(req *Request, res *Response) {
	handler := cmp.Or(a.logger, req.options.Logger).Handler()
	if !handler.Enabled(req.Context(), slog.LevelInfo) {
		a.next.Serve(req, res)
		return
	}
	method, path, began, aborted := req.Method, req.URL.Path, time.Now(), true
	defer func() {
		if aborted = aborted || res.isCut(); aborted || res.State() != None {
			now := time.Now()
			line := slog.NewRecord(now, slog.LevelInfo, "request", 0) // without a place in the code, which takes long to find
			line.AddAttrs(slog.String("method", method), slog.String("path", path), slog.Int("status", statusSent(res, aborted)),
				slog.Int64("bytes", res.Written()), slog.Duration("duration", now.Sub(began)), slog.String("client", req.RemoteAddr))
			addRest(&line, req, res, aborted)
			handler.Handle(req.Context(), line)
		}
	}()
	a.next.Serve(req, res)
	aborted = false
}

// statusSent returns the status that the client got, or 0.
func statusSent(res *Response, aborted bool) int {
	if aborted && res.State() < Streaming {
		return 0
	}
	return res.Status()
}

// addRest adds to a line what not every request has.
func addRest(line *slog.Record, req *Request, res *Response, aborted bool) {
	if id := cmp.Or(res.Header().Get("X-Request-Id"), req.Header.Get("X-Request-Id")); id != "" {
		line.AddAttrs(slog.String("id", id[:min(len(id), mostOfID)]))
	}
	if err := res.Err(); err != nil {
		line.AddAttrs(slog.Any("error", err))
	}
	if aborted {
		line.AddAttrs(slog.Bool("aborted", true))
	}
}

// mostOfID is how much of an id is logged, which any client may make up.
const mostOfID = 128

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
	if hasWholeURL(req) {
		req.URL.Scheme, req.URL.Host = "", ""
	}
	if p.trustsPeer(req) {
		p.readHeader(req)
	} else {
		for _, name := range [...]string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			delete(req.Header, name)
		}
	}
	p.next.Serve(req, res)
}

// hasWholeURL reports whether a request's scheme is one that the client wrote, in front
// of its path (RFC 9112 §3.2.2).
func hasWholeURL(req *Request) bool { return req.URL.Scheme != "" && req.URL.Host != "" }

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

// RedirectToHTTPS answers every request that did not come over TLS, to this server
// or to a proxy that [TrustedProxies] trusts, with 308: to the same path and query
// of the encrypted host that goes by the name that was asked for, or else the first
// that has a name. Its port is in the address unless it is 443; port, where it is
// given, stands in its place for clients who reach the host by another, as behind a
// container's mapping. Without an encrypted host on the server it is that of the
// same name at 443.
//
// It is an action: what is to be answered in clear text, such as an ACME challenge,
// is registered before it. 308 keeps the method and the body (RFC 9110 §15.4.9), and
// clients may keep the answer.
func (h *Host) RedirectToHTTPS(port ...int) *Host {
	if len(port) > 1 || len(port) == 1 && (port[0] < 1 || port[0] > 65535) {
		panic(fmt.Sprintf("aerys: Host.RedirectToHTTPS(%v): want a port from 1 to 65535, or none for that of the encrypted host", port))
	}
	return h.Use(func(req *Request, res *Response) {
		if req.TLS == nil && (req.URL.Scheme != "https" || hasWholeURL(req)) {
			h.redirectToHTTPS(req, res, port)
		}
	})
}

func (h *Host) redirectToHTTPS(req *Request, res *Response, ports []int) {
	name, port := listen.CanonicalName(req.Host), standardPort
	if h.hasOneName() {
		name = h.name
	}
	if sv := serviceOf(req); sv != nil {
		name, port = sv.encrypted(name)
	}
	if !listen.ValidName(name) {
		res.Fail(&Error{Status: http.StatusBadRequest, Err: errNoName, Public: true})
		return
	}
	if len(ports) > 0 {
		port = ports[0]
	}
	if port != standardPort {
		name += ":" + strconv.Itoa(port)
	}
	res.SetHeader("Location", "https://"+name+withQuery(askedPath(req), req)).SetStatus(http.StatusPermanentRedirect).End()
}

// standardPort is that of https (RFC 9110 §4.2.2).
const standardPort = 443

var errNoName = errors.New("the request does not say which host it is for")

// encrypted returns the name and port of the encrypted host that goes by a name, or
// else of the first that has one. A name that is nowhere encrypted stays.
func (sv *service) encrypted(name string) (string, int) {
	other, otherPort := "", standardPort
	for _, l := range sv.listeners {
		bound, ok := l.Bound.Addr().(*net.TCPAddr)
		if !ok || l.sites[0].tls == nil {
			continue
		}
		if l.names.Find(name) != nil {
			return name, bound.Port
		}
		for _, s := range l.sites {
			if other == "" && s.host.hasOneName() {
				other, otherPort = s.host.name, bound.Port
			}
		}
	}
	return cmp.Or(other, name), otherPort
}
