package aerys

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"aerys/internal/listen"
	"aerys/internal/outlet"
)

// Host is a virtual host: where it listens, the name it goes by, and the
// actions that answer its requests. The zero value is ready to use; without
// Expose it listens on every interface at port 80, or 443 when encrypted.
//
// A Host is set up first and serves afterwards: its setters, which all return
// it, must not be called once it serves. A wrong argument panics; what only
// shows in company, such as two hosts that claim one name, is an error of
// Server.Serve.
//
// A Host is also an http.Handler, with default Options and whatever its name:
// for httptest, or for mounting on another server. Nobody runs the Starters
// and Stoppers of its actions then.
type Host struct {
	name       string // "" and "*" stand for every name
	port       int    // of the name; 0 stands for every port
	addresses  []listen.Address
	encryption *encryption
	actions    []Action

	once  sync.Once
	alone *site // made by the first ServeHTTP
}

// Name sets the name that a request must ask for, in its Host header or
// :authority, to reach the host: "www.example.com", or "*", the default, for
// requests that no other host on the listener is named in. Upper and lower
// case are one. "name:8080" and "*:8080" count only on listeners whose local
// port is 8080, "name:*" is "name". A request for an unknown name is answered
// with 400 when no host on that listener is called "*".
func (h *Host) Name(name string) *Host {
	host, port := name, "*"
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		host, port = name[:i], name[i+1:]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if !validHostName(host) || port != "*" && (err != nil || number == 0) {
		panic(fmt.Sprintf("aerys: Host.Name(%q): want a host name or \"*\", and perhaps \":\" and a port or \"*\"", name))
	}
	h.name, h.port = canonicalName(host), int(number)
	return h
}

// validHostName reports whether name is "*" or could be a name in a Host header.
func validHostName(name string) bool {
	if name == "*" {
		return true
	}
	if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' {
		_, err := netip.ParseAddr(name[1 : len(name)-1])
		return err == nil
	}
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// canonicalName turns the value of a Host header into what hosts are looked
// up by: no port, no final dot, lower case.
func canonicalName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && host[len(host)-1] != ']' {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Expose adds an address to listen on: "*" for every interface, "0.0.0.0" for
// those of IPv4, "::" for those of IPv6, or one IP address, with a port, where
// "localhost" is 127.0.0.1; or, with port 0, a path for a Unix socket ("@name" for Linux's abstract ones).
// Port 0 with an IP address lets the system choose: Server.Ready tells what it
// chose. Hosts that expose the same address share its listener.
func (h *Host) Expose(addr string, port int) *Host {
	a, err := listen.ParseAddress(addr, port)
	if err != nil {
		panic(fmt.Sprintf("aerys: Host.Expose(%q, %d): %v", addr, port, err))
	}
	if !slices.Contains(h.addresses, a) {
		h.addresses = append(h.addresses, a)
	}
	return h
}

// exposedOn returns the addresses of the host, or the one that is the default.
func (h *Host) exposedOn() []listen.Address {
	switch {
	case len(h.addresses) > 0:
		return h.addresses
	case h.encryption != nil:
		return []listen.Address{{Network: "tcp", Port: 443}}
	}
	return []listen.Address{{Network: "tcp", Port: 80}}
}

// Encrypt serves the host over TLS, HTTP/2 included, with the certificate
// chain and the key in two PEM files; an empty keyFile means that certFile
// holds both. The server name that the client sends (SNI) picks the host, and
// the first host of the listener is taken when it names none. The files are
// read at start, and again when they change: at most a second later new
// connections get the new certificate. Files that turn out broken, or cannot be
// read, are logged and the old certificate stays; the latter are tried again
// every second.
//
// A config, of which a copy is used, adds what else is wanted: versions, client
// certificates, or where certificates come from, such as an ACME client, for
// which certFile may be empty. GetCertificate is asked first, as crypto/tls does
// where the client names a server; then comes the certificate of the files, and
// those in Certificates for clients that do not support it. What
// GetConfigForClient returns is used in place of config, with the certificate
// of the files if it has none. NextProtos is kept; "h2" and "http/1.1" are
// added if it has neither.
//
// A client resumes a session with the host that it was opened with, and with no
// other: each verifies its clients itself. The keys of the tickets are rotated
// as in crypto/tls, unless config sets them. What GetConfigForClient returns has
// keys of its own: no session is resumed where it returns a new one each time
// that has none set. A request for a host that may refuse clients in the
// handshake, and that came over another's connection, gets 421.
func (h *Host) Encrypt(certFile, keyFile string, config ...*tls.Config) *Host {
	e, err := newEncryption(certFile, keyFile, config)
	if err != nil {
		panic(fmt.Sprintf("aerys: Host.Encrypt(%q, %q): %v", certFile, keyFile, err))
	}
	h.encryption = e
	return h
}

// Use adds actions, which are tried in order until one starts the response;
// when none does, the answer is 404. See Action for what they may be.
func (h *Host) Use(actions ...Action) *Host {
	checkActions("Host.Use", actions)
	h.actions = append(h.actions, actions...)
	return h
}

// String returns the host's name, as given to Name.
func (h *Host) String() string {
	if h.port != 0 {
		return or(h.name, "*") + ":" + strconv.Itoa(h.port)
	}
	return or(h.name, "*")
}

// wildcard reports whether the host goes by every name.
func (h *Host) wildcard() bool { return h.name == "" || h.name == "*" }

// ServeHTTP implements http.Handler.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(func() { h.alone = newSite(h, Options{}.withDefaults()) })
	h.alone.serve(w, r, nil)
}

// site is a Host made ready to serve under one set of options.
type site struct {
	host        *Host
	options     *Options
	handler     Handler
	methods     []string
	allow       string
	tls         *tls.Config         // nil without Encrypt
	certificate *listen.Certificate // nil without its files
	traffic     traffic
}

func newSite(h *Host, options *Options) *site {
	methods := slices.Clone(options.AllowedMethods)
	walk(h.actions, func(action any) {
		if routes, ok := action.(*Routes); ok {
			methods = append(methods, routes.methods()...)
		}
	})
	slices.Sort(methods)
	methods = slices.Compact(methods)
	return &site{host: h, options: options, handler: compile(h.actions), methods: methods, allow: strings.Join(methods, ", ")}
}

// newErrorSite is a site that gives one answer to all requests.
func newErrorSite(options *Options, status int, text string) *site {
	s := newSite(new(Host).Use(func(_ *Request, res *Response) {
		if text != "" {
			res.SetHeader("Content-Type", "text/plain; charset=utf-8").SetHeader("X-Content-Type-Options", "nosniff")
		}
		res.SetStatus(status).End(text)
	}), options)
	s.methods = nil
	return s
}

// serve runs the host's actions on one request. sv is the server whose
// ResponseWriter w is, and nil where it is another's. The actions get a copy of a
// request that is net/http's: by what is in its own, that decides how the answer
// is framed and what it reads next.
func (s *site) serve(w http.ResponseWriter, r *http.Request, sv *service) {
	if sv != nil && r.ProtoMajor == 1 {
		s.answer(w, r, nil, sv)
		return
	}
	own := *r
	var body *outlet.Body
	if _, inner := r.Body.(*limitedBody); !inner {
		body = outlet.Mount(r, &own)
	}
	defer removeForm(&own)
	defer body.End()
	s.answer(w, &own, body, sv)
}

// answer runs the host's actions on a request that is theirs.
func (s *site) answer(w http.ResponseWriter, r *http.Request, body *outlet.Body, sv *service) {
	if !s.options.KeepMethodCase {
		r.Method = normalMethod(r.Method)
	}
	x := newExchange(w, r, s.options)
	x.response.out.Body = body
	if sv != nil {
		x.response.out.Connect(s.pace(r))
	}
	defer s.end(x, s.traffic.begin())
	if s.allows(r) {
		s.handler.Serve(&x.request, &x.response)
	} else {
		s.refuseMethod(r, &x.response)
	}
	x.finish()
}

// pace is in half of what time a client has to take some of an answer, if that is
// net/http's to see to.
func (s *site) pace(r *http.Request) time.Duration {
	if r.ProtoMajor == 1 {
		return 0
	}
	return patience * s.options.ConnectionTimeout
}

// removeForm removes the files of a form that a handler has parsed. net/http does
// it for its own request.
func removeForm(r *http.Request) {
	if r.MultipartForm != nil {
		r.MultipartForm.RemoveAll()
	}
}

// end accounts for a request, also for one whose action panicked.
func (s *site) end(x *exchange, began time.Duration) {
	defer x.close()
	cause := recover()
	if cause == nil {
		s.traffic.end(began, x.response.Status())
		return
	}
	defer s.traffic.end(began, http.StatusInternalServerError)
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	s.failed(x, cause, debug.Stack())
}

// failed logs a panic and answers it with 500, or aborts the connection when
// that is too late.
func (s *site) failed(x *exchange, cause any, stack []byte) {
	r := x.request.Request
	s.options.Logger.Error("aerys: panic in an action", "host", s.host.String(), "method", r.Method,
		"path", r.URL.Path, "client", r.RemoteAddr, "panic", fmt.Sprint(cause), "stack", string(stack))
	if !x.fail(cause, stack) {
		panic(http.ErrAbortHandler)
	}
}

// normalMethod returns method in upper case. A misspelt HEAD or CONNECT stays:
// whoever relays it expects a body, which the upper-case methods do not have.
func normalMethod(method string) string {
	upper := strings.ToUpper(method)
	if upper == "HEAD" || upper == "CONNECT" {
		return method
	}
	return upper
}

// allows reports whether the request's method is one of the host's.
func (s *site) allows(r *http.Request) bool {
	return s.methods == nil || slices.Contains(s.methods, r.Method) && !isExtendedConnect(r)
}

// isExtendedConnect reports whether a request opens a tunnel for another
// protocol (RFC 8441 §4). Its 2xx would be an open WebSocket to a browser, and
// the body of the answer frames that a page of any origin may read.
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && r.Header[":protocol"] != nil
}

// refuseMethod answers 405 to a method that HTTP defines, and 501 to one that
// nobody here knows (RFC 9110 §15.5.6, §15.6.2), an extended CONNECT among them.
func (s *site) refuseMethod(r *http.Request, response *Response) {
	status := http.StatusNotImplemented
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE":
		status = http.StatusMethodNotAllowed
	}
	if isExtendedConnect(r) {
		status = http.StatusNotImplemented
	}
	response.SetHeader("Allow", s.allow).page(status)
}
