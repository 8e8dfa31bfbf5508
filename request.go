package aerys

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
)

// Request is what a client asked for. It embeds the *http.Request, so Method,
// URL, Header, RemoteAddr and Context are there; only Body differs, which is
// limited by Options.MaxBodySize and can raise that (the field of net/http is
// req.Request.Body, and is limited as well).
//
// A Request belongs to the goroutine that serves it, and is used again for
// another client once its handler returned. What may be kept: the embedded
// *http.Request as net/http allows it, and whatever the methods return, save
// for the readers of the body. With Options.Debug, use after the end panics.
type Request struct {
	*http.Request

	options *Options
	params  params
	input   *limitedBody // nil when there is no body
	query   url.Values
	form    *ParsedBody
	locals  map[any]any
}

// exchange is a Request and its Response, pooled together.
type exchange struct {
	request  Request
	response Response
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// acquire takes an exchange from the pool for one request.
func acquire(w http.ResponseWriter, r *http.Request, options *Options) *exchange {
	x := exchanges.Get().(*exchange)
	x.request.Request, x.request.options = r, options
	if r.ContentLength != 0 && r.Body != nil && r.Method != http.MethodConnect { // that one opens a tunnel
		x.request.input = limit(w, r, options.MaxBodySize)
	}
	x.response.reset(x, w)
	return x
}

// release returns x to the pool; in debug mode never, so that whoever still
// holds a part of it panics.
func (x *exchange) release() {
	q, debug := &x.request, x.request.options.Debug
	q.Request, q.input, q.query, q.form, q.locals = nil, nil, nil, nil, nil
	q.params.reset()
	x.response.release(debug)
	if !debug {
		exchanges.Put(x)
	}
}

const misuse = "aerys: a Request or Response was used after its handler returned: " +
	"wait for your goroutines before you return, or hand them copies of what they need"

// live panics when the request is over.
func (r *Request) live() {
	if r.Request == nil {
		panic(misuse)
	}
}

// Param returns the first value of a parameter of the query string, or "".
func (r *Request) Param(name string) string { return r.AllParams().Get(name) }

// Params returns all values of a parameter of the query string, in order.
func (r *Request) Params(name string) []string { return r.AllParams()[name] }

// AllParams returns the parameters of the query string, which is parsed once.
// Malformed pairs are left out, as by [url.URL.Query].
func (r *Request) AllParams() url.Values {
	r.live()
	if r.query == nil {
		r.query = r.URL.Query()
	}
	return r.query
}

// CookieValue returns the value of the first cookie of that name, or "".
func (r *Request) CookieValue(name string) string {
	r.live()
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Local returns what SetLocal stored for this request, or nil.
func (r *Request) Local(key any) any {
	r.live()
	return r.locals[key]
}

// SetLocal stores a value for the actions that follow. As with
// [context.WithValue], keys should be of a type of your own.
func (r *Request) SetLocal(key, value any) {
	r.live()
	if r.locals == nil {
		r.locals = make(map[any]any)
	}
	r.locals[key] = value
}

// ConnectionInfo tells how a request arrived.
type ConnectionInfo struct {
	Client    netip.AddrPort       // as in RemoteAddr; not valid on a Unix socket
	Server    netip.AddrPort       // where it was accepted; not valid on a Unix socket
	Socket    string               // path of the Unix socket, or ""
	Encrypted bool                 // by TLS, up to this server
	TLS       *tls.ConnectionState // nil when not encrypted
	Protocol  string               // "HTTP/1.0", "HTTP/1.1" or "HTTP/2.0"
}

// Info returns what is known of the connection.
func (r *Request) Info() ConnectionInfo {
	r.live()
	info := ConnectionInfo{Encrypted: r.TLS != nil, TLS: r.TLS, Protocol: r.Proto}
	switch local := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		info.Socket = local.Name
	case *net.TCPAddr:
		info.Server = unmapped(local.AddrPort())
	}
	if client, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		info.Client = unmapped(client)
	}
	return info
}

// unmapped writes an IPv4 address that a dual-stack socket reports as IPv6 as
// the IPv4 address it is.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
