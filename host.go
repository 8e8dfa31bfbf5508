package aerys

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"aerys/internal/listen"
	"aerys/internal/outlet"
	"aerys/internal/pattern"
	"aerys/internal/serve"
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
	encryption *listen.Encryption
	actions    []Action
	errors     func(*Request, *Response, *Error)

	once  sync.Once
	alone *site // made by the first ServeHTTP
}

// Name sets the name that a request must ask for, in its Host header or
// :authority, to reach the host: "www.example.com"; "*.example.com" for all below
// example.com, at whatever depth, that no other host has a longer name for; or
// "*", the default, for requests that no other host on the listener is named in.
// Upper and lower case are one, and "bücher.de" is "xn--bcher-kva.de", as requests
// have it. "name:8080" and "*:8080" count only on listeners whose local port is
// 8080, "name:*" is "name". A request for an unknown name is answered with 400
// when no host on that listener is called "*".
func (h *Host) Name(name string) *Host {
	host, port, err := listen.ParseName(name)
	if err != nil {
		panic(fmt.Sprintf("aerys: Host.Name(%q): %v", name, err))
	}
	h.name, h.port = host, port
	return h
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
	return h.exposeOn(a)
}

// Listen adds a listener of the caller's, of whatever network, to the addresses
// that the host is exposed on: one that listens already, or that is no socket of
// the system. The server accepts from it from when it is ready, encrypted if the
// host is, and closes it in the end: it serves once. Hosts may share one. A program
// with such a listener cannot hand its sockets over (see [Server.Run]).
func (h *Host) Listen(listener net.Listener) *Host {
	if v := reflect.ValueOf(listener); !v.IsValid() || !v.Comparable() || v.Kind() == reflect.Pointer && v.IsNil() {
		panic(fmt.Sprintf("aerys: Host.Listen(%T): want a listener, by its pointer", listener))
	}
	return h.exposeOn(listen.AddressOf(listener))
}

func (h *Host) exposeOn(a listen.Address) *Host {
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
	e, err := listen.NewEncryption(certFile, keyFile, config)
	if err != nil {
		panic(fmt.Sprintf("aerys: Host.Encrypt(%q, %q): %v", certFile, keyFile, err))
	}
	h.encryption = e
	return h
}

// Use adds actions, which are tried in order until one answers; when none does,
// the answer is 404. See Action for what they may be.
func (h *Host) Use(actions ...Action) *Host {
	checkActions("Host.Use", actions)
	h.actions = append(h.actions, actions...)
	return h
}

// Errors says how errors look: what is called answers each that the host's actions
// leave to the server, such as a 404, a panic's 500 and what was given to
// [Response.Fail]. The status is set already, and the header fields stay that
// middleware has set, but those that describe a body. If nothing starts the
// response, and for requests that reach no host, the answer is a page, or plain text
// or application/problem+json (RFC 9457) for clients that prefer it. It is called
// once for a response: what goes wrong in it, or after it, gets the page.
//
//	host.Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) {
//		res.JSON(map[string]any{"status": e.Status, "error": e.Text()})
//	})
func (h *Host) Errors(answer func(*Request, *Response, *Error)) *Host {
	if answer == nil {
		panic("aerys: Host.Errors(nil): want a func that answers; without Errors the default page is sent")
	}
	h.errors = answer
	return h
}

// String returns the host's name, as requests have it.
func (h *Host) String() string {
	if h.port != 0 {
		return cmp.Or(h.name, "*") + ":" + strconv.Itoa(h.port)
	}
	return cmp.Or(h.name, "*")
}

// wildcard reports whether the host goes by every name.
func (h *Host) wildcard() bool { return h.name == "" || h.name == "*" }

// hasOneName reports whether it goes by one and no other.
func (h *Host) hasOneName() bool { return h.name != "" && h.name[0] != '*' }

// ServeHTTP implements http.Handler.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(func() { h.alone = newSite(h, Options{}.withDefaults()) })
	h.alone.serve(w, r, nil)
}

// optionsFor is listener's, where the Host serves alone.
func (h *Host) optionsFor(*http.Request) *Options { return h.alone.options }

// site is a Host made ready to serve under one set of options.
type site struct {
	host    *Host
	options *Options
	actions *list
	methods []string
	tls     *listen.Rules // nil without Encrypt
	traffic serve.Traffic
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
	own := *options
	own.host, own.errors = h.String(), h.errors
	return &site{host: h, options: &own, actions: listOf(h.actions, true), methods: methods}
}

// readRules reads the site's certificate, if it is to have one.
func (s *site) readRules() (err error) {
	if e := s.host.encryption; e != nil {
		owner := fmt.Sprintf("aerys host %v on %v", s.host, s.host.exposedOn())
		s.tls, err = e.Rules(owner, s.options.Logger.With("host", s.host.String()))
	}
	return err
}

// newErrorSite is a site that gives one answer to all requests, which reach no host.
func newErrorSite(options *Options, refusals *serve.Refusals, status int, text string) *site {
	e := &Error{Status: status, Err: errors.New(text), Public: true}
	return &site{host: new(Host), options: options, actions: listOf([]Action{func(_ *Request, res *Response) {
		if status < 400 {
			res.End()
		} else {
			refusals.Add(status)
			res.Fail(e)
		}
	}}, true)}
}

// serve runs the host's actions on one request. sv is the server whose
// ResponseWriter w is, and nil where it is another's.
func (s *site) serve(w http.ResponseWriter, r *http.Request, sv *service) {
	switch {
	case sv != nil && r.ProtoMajor == 1:
		s.answer(w, r, nil, nil, sv)
	case isExtendedConnect(r):
		s.connect(w, r, sv)
	default:
		s.serveCopy(w, r, sv)
	}
}

// serveCopy is serve for a request of net/http's, of which the actions get a copy:
// by what is in its own, that decides how the answer is framed and what it reads
// next.
func (s *site) serveCopy(w http.ResponseWriter, r *http.Request, sv *service) {
	own := *r
	if sv == nil && s.options.errors != nil { // see optionsOf
		own = *r.WithContext(context.WithValue(r.Context(), optionsKey{}, s.options))
	}
	var body *outlet.Body
	if _, inner := r.Body.(*limitedBody); !inner {
		body = outlet.Mount(r, &own)
	}
	defer removeForm(&own)
	defer body.End()
	s.answer(w, &own, body, nil, sv)
}

// connect is serve for an extended CONNECT. Its stream ends when this returns: when
// the actions have, who accepted it is served from here.
func (s *site) connect(w http.ResponseWriter, r *http.Request, sv *service) {
	tunnel := outlet.Dig(w, r)
	if tunnel == nil {
		s.answer(w, withoutBody(r), nil, nil, sv)
		return
	}
	completed := tunnel.Answer(func() { s.answer(w, withoutBody(r), nil, tunnel, sv) })
	if sv != nil {
		*r = http.Request{Method: r.Method} // net/http keeps it, and nobody needs the rest any more
	}
	if tunnel.Stay(); !completed {
		panic(http.ErrAbortHandler)
	}
}

// withoutBody returns a copy of a request that nobody can read the body of.
func withoutBody(r *http.Request) *http.Request {
	own := *r
	own.Body = http.NoBody
	return &own
}

// answer runs the host's actions on a request that is theirs.
func (s *site) answer(w http.ResponseWriter, r *http.Request, body *outlet.Body, tunnel *outlet.Tunnel, sv *service) {
	if !s.options.KeepMethodCase {
		r.Method = normalMethod(r.Method)
	}
	if r.URL.Path == "" && r.Method != http.MethodConnect {
		r.URL = pattern.Root(r.URL)
	}
	x := newExchange(w, r, s.options)
	x.response.out.Body, x.response.out.Tunnel = body, tunnel
	if sv != nil {
		x.response.out.Connect(r, patience*s.options.ConnectionTimeout)
	} else {
		x.response.keep() // of another's middleware
	}
	defer s.end(x, s.traffic.Begin())
	if !s.allows(r) {
		x.response.SetHeader("Allow", strings.Join(s.methods, ", "))
		x.locals.refusal = &Error{Status: refusal(r)}
	}
	if x.locals.refusal != nil && isExtendedConnect(r) { // a 2xx of middleware would open a tunnel
		x.response.Fail(x.locals.refusal)
	} else {
		s.actions.run(&x.request, &x.response, standing{})
	}
	x.finish()
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
		s.traffic.End(began, x.response.Status())
		return
	}
	defer s.traffic.End(began, http.StatusInternalServerError)
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	rescueFrom(cause, &x.response) // of a filter, at the end
	x.response.End()
}

// allows reports whether the request's method is one of the host's.
func (s *site) allows(r *http.Request) bool {
	method := routedMethod(r)
	return s.methods == nil || slices.Contains(s.methods, method) && (method != http.MethodConnect || !isExtendedConnect(r))
}

// HostState counts the requests of a host.
type HostState struct {
	Name      string           `json:"name" label:"host"`
	Addresses []string         `json:"addresses" label:"address"`
	Active    int64            `json:"active" metric:"aerys_requests_active gauge Requests being answered."`
	Requests  map[string]int64 `json:"requests" metric:"aerys_requests_total{class} counter Requests answered, by class of status."` // by "1xx" to "5xx"
	Durations Durations        `json:"durations" metric:"aerys_request_duration_seconds histogram How long requests took."`
	Handlers  []any            `json:"handlers,omitempty"` // what the actions that implement Monitor tell
}

// Durations are how long requests took that were answered, from when their header
// was read until their handler had returned.
type Durations struct {
	Count   int64    `json:"count"`
	Seconds float64  `json:"seconds"` // all together
	Buckets []Bucket `json:"buckets"` // from 10 µs to 10 s, three a decade
}

// Bucket counts what took no longer than a bound, be it shorter than others or not.
type Bucket struct {
	Seconds float64 `json:"le"`
	Count   int64   `json:"count"`
}

func (s *site) state(seen map[any]bool) HostState {
	state := HostState{Name: s.host.String(), Active: s.traffic.Active(), Requests: make(map[string]int64)}
	for class := 1; class <= 5; class++ {
		state.Requests[fmt.Sprintf("%dxx", class)] = s.traffic.Answered(class)
	}
	d := &state.Durations
	d.Seconds = s.traffic.Spent().Seconds()
	d.Count = s.traffic.Within(func(bound time.Duration, answers int64) {
		d.Buckets = append(d.Buckets, Bucket{bound.Seconds(), answers})
	})
	state.Handlers = statesOf(s.host.actions, seen)
	return state
}

// listener is one address that hosts are exposed on.
type listener struct {
	*serve.Listener
	service *service
	names   listen.Names[*site]
	sites   []*site
}

// add exposes a host on the listener.
func (l *listener) add(s *site) error {
	h := s.host
	if len(l.sites) > 0 && (l.sites[0].tls == nil) != (s.tls == nil) {
		return fmt.Errorf("aerys: host %v on %v: encrypted and plain hosts cannot share an address (the other is %v)", h, l.Address, l.sites[0].host)
	}
	switch name := cmp.Or(h.name, "*"); {
	case l.names.Add(name, s):
	case name == "*":
		return fmt.Errorf("aerys: host %v on %v: there is a host without a name already; call Name on one of them", h, l.Address)
	default:
		return fmt.Errorf("aerys: host %v on %v: there is a host of that name already", h, l.Address)
	}
	l.sites = append(l.sites, s)
	return nil
}

// choose returns the host for a request, or what answers in its place.
func (l *listener) choose(r *http.Request) *site {
	s := l.names.Find(r.Host)
	switch {
	case r.Method == "OPTIONS" && (r.RequestURI == "*" || r.URL.Path == ""): // as a last proxy would have sent it (RFC 9112 §3.2.4)
		return l.service.general
	case s == nil:
		return l.service.unknown
	case s.tls != nil && s.tls.Verify() && l.bySNI(r.TLS.ServerName) != s:
		return l.service.misdirected // the connection was opened under the rules of another host
	}
	return s
}

// ServeHTTP implements http.Handler.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		l.choose(r).serve(w, r, l.service)
		return
	}
	l.serveStream(w, r)
}

// serveStream serves a request over HTTP/2.
func (l *listener) serveStream(w http.ResponseWriter, r *http.Request) {
	s := l.choose(r)
	stream, last, room := serve.BeginStream(r)
	if last {
		w.Header().Set("Connection", "close") // this sends GOAWAY
	}
	if room {
		defer stream.End()
	} else {
		s = l.service.busy
	}
	s.serve(w, r, l.service)
}

// bySNI returns the site whose TLS rules hold for a server name.
func (l *listener) bySNI(name string) *site {
	if s := l.names.Find(name); s != nil {
		return s
	}
	return l.sites[0]
}

// rulesFor lets the server name in the client's hello pick the host.
func (l *listener) rulesFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	return l.bySNI(hello.ServerName).tls.For(hello)
}

// url is where a person opens the listener.
func (l *listener) url() string {
	name := l.sites[0].host.name
	for _, s := range l.sites {
		if s.host.wildcard() {
			name = "" // any
		}
	}
	return l.URL(name, l.sites[0].tls != nil)
}

// ending returns what is closed when the server stops.
func (l *listener) ending() <-chan struct{} { return l.service.serving.Ending }

// optionsFor returns those of the host that a request is for.
func (l *listener) optionsFor(r *http.Request) *Options { return l.choose(r).options }
