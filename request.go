package aerys

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"aerys/internal/field"
	"aerys/internal/page"
)

// Request is what a client asked for. It embeds the *http.Request, so Method,
// URL, Header, RemoteAddr and Context are there; only Body differs, which is
// limited by Options.MaxBodySize and can raise that (the field of net/http is
// req.Request.Body, and is limited as well).
//
// A Request belongs to the goroutine that serves it. Whoever keeps it finds its
// own data in it, or none, but no body any more: once its handler has returned,
// reading fails.
type Request struct {
	*http.Request

	options *Options
	input   *limitedBody // nil when there is no body
	locals  *locals

	mu      sync.Mutex // guards all below, for those who keep a Request
	params  params
	query   url.Values
	form    *ParsedBody
	formErr error
}

// locals are what all actions have in common: what SetLocal stored, and what is
// wrong with the request.
type locals struct {
	refusal *Error                // set before the actions run: it is not for them
	failure atomic.Pointer[Error] // found by one of them

	mu     sync.Mutex
	values map[any]any
}

// Error is why a request is answered by the server itself, through
// [Host.Errors]. As an error of the application it says how [Response.Fail]
// is to answer.
type Error struct {
	Status int    // of the response, from 400 to 599
	Err    error  // the cause, or nil
	Public bool   // Err is for the client's eyes
	Stack  []byte // of a panic, from the function that panicked on
}

// Error returns the status, with its name, and the cause.
func (e *Error) Error() string {
	text := fmt.Sprint(e.Status, " ", http.StatusText(e.Status))
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Text is what the client may be told: the cause, if that is public, or else a
// sentence about the status.
func (e *Error) Text() string {
	if e.Public && e.Err != nil {
		return strings.TrimPrefix(e.Err.Error(), "aerys: ")
	}
	return page.Sentence(e.Status)
}

// errorOf returns how an error is answered.
func errorOf(err error) *Error {
	var e *Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &e) && e.Status >= 400 && e.Status <= 599:
		return e
	case errors.Is(err, ErrBodyTooLarge), errors.As(err, &tooLarge):
		return &Error{Status: http.StatusRequestEntityTooLarge, Err: err, Public: true}
	case errors.Is(err, ErrNotForm):
		return &Error{Status: http.StatusUnsupportedMediaType, Err: err}
	case err == nil:
		err = errors.New("aerys: Response.Fail without an error")
	}
	return &Error{Status: http.StatusInternalServerError, Err: err}
}

// Fail answers with an error, by way of [Host.Errors], in the place of what was
// written. An [*Error] in err's chain says how. What reading the body failed with is
// answered as if the action had answered nothing: 400, 408 or 413, and 415 for
// ErrNotForm. All else is 500, is logged, and is not shown to the
// client unless Options.Debug is set. When some of the response was sent already, the
// connection is aborted after the handler, so that the client does not take it for
// complete.
func (r *Response) Fail(err error) *Response {
	req := r.asked()
	e := req.errorOf(err)
	if e.Status >= 500 && !e.Public && e.Err != nil && req.Context().Err() == nil {
		req.log(slog.LevelError, "aerys: request failed", "status", e.Status, "error", err)
	}
	r.fail(e)
	return r
}

// errorOf is errorOf for an error that may be about the request's body.
func (r *Request) errorOf(err error) *Error {
	var own *Error
	if known := r.failure(); known != nil && !errors.As(err, &own) && errors.Is(err, known.Err) {
		return known
	}
	return errorOf(err)
}

// asked returns the request as the middleware around the action has made it, with all of
// its path also where the action is below a mount.
func (r *Response) asked() *Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.request, &r.exchange.request)
}

// asks notes how the actions from here on see the request, and returns how they did.
func (r *Response) asks(req *Request) (before *Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before, r.request = r.request, req
	return before
}

// fail is Fail without a line in the log.
func (r *Response) fail(e *Error) {
	req := r.asked()
	first, ok := r.retract(e.Status)
	if !ok {
		return
	}
	if answer := req.options.errors; first && answer != nil {
		r.ask(answer, req, e)
	}
	if r.State() == None {
		r.page(req, e)
	}
}

// ask has Host.Errors answer.
func (r *Response) ask(answer func(*Request, *Response, *Error), req *Request, e *Error) {
	r.setAsking(true)
	defer r.setAsking(false)
	defer rescue(r)
	answer(req, r, e)
}

func (r *Response) setAsking(asking bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asking = asking
}

// errNoTunnel is what an extended CONNECT gets of all that does not accept it.
func errNoTunnel() *Error {
	return &Error{Status: http.StatusNotImplemented, Err: errors.New("There is no WebSocket here."), Public: true}
}

// failRefused answers in the place of what cannot be sent.
func (r *Response) failRefused() {
	r.mu.Lock()
	err := r.fault
	r.mu.Unlock()
	e := errorOf(err)
	if e.Status == http.StatusInternalServerError {
		r.asked().log(slog.LevelError, "aerys: response refused", "error", err)
	}
	r.fail(e)
}

// retract takes back what was not sent, for an error. It reports whether
// Host.Errors is to be asked, and whether there is something to answer.
func (r *Response) retract(status int) (first, ok bool) {
	if !r.enter() {
		return false, false
	}
	defer r.leave()
	if !r.handshake && r.state >= Streaming {
		r.cut = r.cut || r.state == Streaming
		return false, false
	}
	first, r.failed = !r.failed, true
	r.takeBack()
	r.status = status
	return first, true
}

// isCut reports whether the connection is to be aborted.
func (r *Response) isCut() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cut
}

// dropHandshake is for a panic in one: there will be no EndHandshake.
func (r *Response) dropHandshake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handshake {
		r.handshake, r.state = false, Started
	}
}

// page writes the default page of an error.
func (r *Response) page(req *Request, e *Error) {
	p := page.Error{Status: r.Status(), Text: e.Text()}
	if r.options().Debug {
		p.Request, p.Stack = req.Request, string(e.Stack)
		if e.Err != nil {
			p.Text = e.Err.Error()
		}
	}
	kind, text := p.Render(req.Header["Accept"])
	if !field.HasToken(r.Header()["Vary"], "Accept") {
		r.AddHeader("Vary", "Accept")
	}
	r.SetHeader("Content-Type", kind).SetHeader("X-Content-Type-Options", "nosniff").WriteString(text)
}

// failed notes what is wrong with the request: the answer, if there is no other.
func (r *Request) failed(e *Error) *Error {
	r.locals.failure.CompareAndSwap(nil, e)
	return e
}

// failure returns what is known to be wrong with the request, or nil.
func (r *Request) failure() *Error {
	if r.locals.refusal != nil {
		return r.locals.refusal
	}
	if e := r.locals.failure.Load(); e != nil || r.input == nil {
		return e
	}
	return r.input.failure.Load()
}

// log writes a line about the request.
func (r *Request) log(level slog.Level, message string, pairs ...any) {
	pairs = append(pairs, "host", r.options.host, "method", r.Method, "path", r.URL.Path, "client", r.RemoteAddr)
	r.options.Logger.Log(r.Context(), level, message, pairs...)
}

// isExtendedConnect reports whether a request opens a tunnel for another
// protocol (RFC 8441 §4). Its 2xx would be an open WebSocket to a browser, and
// the body of the answer frames that a page of any origin may read: there is none
// but of a WebSocket endpoint.
func isExtendedConnect(r *http.Request) bool {
	return r.Method == http.MethodConnect && r.Header[":protocol"] != nil
}

// routedMethod is the method whose routes are for a request: GET for a WebSocket
// over HTTP/2, as it is over HTTP/1 (RFC 8441 §5).
func routedMethod(r *http.Request) string {
	if isExtendedConnect(r) && r.Header.Get(":protocol") == "websocket" {
		return http.MethodGet
	}
	return r.Method
}

// exchange is a Request and its Response. It is made for one request and never
// used again: whoever keeps a part of it finds nobody else's data there.
type exchange struct {
	request  Request
	response Response
	locals   locals
	values   [4]string // of request.params, if they suffice

	standard standardCall // for the outermost handler of net/http, and those after it
}

// newExchange returns an exchange for one request, whose answer goes to w.
func newExchange(w http.ResponseWriter, r *http.Request, options *Options) *exchange {
	x := new(exchange)
	x.request.Request, x.request.options, x.request.locals = r, options, &x.locals
	x.request.params.values = x.values[:0]
	if r.ContentLength != 0 && r.Body != nil && r.Method != http.MethodConnect { // that one opens a tunnel
		x.request.input = limit(r, options.MaxBodySize)
	}
	x.response.exchange = x
	x.response.out.Open(w, ErrEnded)
	return x
}

// finish completes what the actions left.
func (x *exchange) finish() {
	r := &x.response
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		panic(http.ErrAbortHandler)
	}
	r.end("")
	if r.streamed || r.trailers {
		r.out.SendTrailers()
	}
}

// close makes the response one that is over, and whose writer is another's.
func (x *exchange) close() {
	r := &x.response
	r.mu.Lock()
	r.over, r.state = true, Ended
	r.body, r.filters, r.stages, r.sink = nil, nil, nil, nil
	r.mu.Unlock()
	r.out.Shut()
}

// with returns the request as it is for those that follow a middleware of
// net/http, which has given them another one.
func (r *Request) with(other *http.Request) *Request {
	if other == r.Request {
		return r
	}
	q := &Request{Request: other, options: r.options, input: r.input}
	q.inherit(r)
	if _, ours := other.Body.(*limitedBody); !ours && other.Body != nil && r.input != nil {
		q.input = limit(other, r.options.MaxBodySize)
		q.input.standBefore(r.input)
	}
	return q
}

// inherit takes over what is known of outer.
func (r *Request) inherit(outer *Request) {
	outer.mu.Lock()
	defer outer.mu.Unlock()
	r.locals, r.form, r.formErr = outer.locals, outer.form, outer.formErr
	r.params = params{outer.params.names, append(r.params.values, outer.params.values...)}
	if r.URL == outer.URL {
		r.query = outer.query
	}
}

// Param returns the first value of a parameter of the query string, or "".
func (r *Request) Param(name string) string { return r.AllParams().Get(name) }

// Params returns all values of a parameter of the query string, in order.
func (r *Request) Params(name string) []string { return r.AllParams()[name] }

// AllParams returns the parameters of the query string, which is parsed once.
// Malformed pairs are left out, as by [url.URL.Query].
func (r *Request) AllParams() url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.query == nil {
		r.query = r.URL.Query()
	}
	return r.query
}

// CookieValue returns the value of the first cookie of that name, or "".
func (r *Request) CookieValue(name string) string {
	cookie, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// Local returns what SetLocal stored for this request, or nil.
func (r *Request) Local(key any) any {
	r.locals.mu.Lock()
	defer r.locals.mu.Unlock()
	return r.locals.values[key]
}

// SetLocal stores a value for the actions that follow. As with
// [context.WithValue], keys should be of a type of your own.
func (r *Request) SetLocal(key, value any) {
	r.locals.mu.Lock()
	defer r.locals.mu.Unlock()
	if r.locals.values == nil {
		r.locals.values = make(map[any]any)
	}
	r.locals.values[key] = value
}

// Stopping returns a channel that is closed when the server stops: its ports are
// closed, Options.DrainDelay is over, and Options.ShutdownTimeout runs, after which
// requests under way are cut off. What answers for as long as its client stays,
// such as with server-sent events, ends then; what has answered nothing yet, such as a
// long poll, may say 503, for without an answer it is 404. The channel is nil, and so
// never ready, where no Server has sent the request.
//
//	select {
//	case event := <-events:
//	case <-req.Context().Done(): // the client has gone
//		return
//	case <-req.Stopping():
//		return
//	}
func (r *Request) Stopping() <-chan struct{} {
	if server, ok := handlerOf(r.Request).(interface{ ending() <-chan struct{} }); ok {
		return server.ending()
	}
	return nil
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

// params is what routing keeps in a Request.
type params struct {
	names  []string // of the variables of the matched route, and before them of those around it
	values []string // theirs
}

// PathValue returns what the matched route's variable of that name stands for,
// percent-decoded, or else that of the mount or route around its router; or "" if
// there is none. It is unlike that of net/http only
// in taking no memory; what http.ServeMux found in front of the Host is found too.
func (r *Request) PathValue(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, n := range slices.Backward(r.params.names) {
		if n == name {
			return r.params.values[i]
		}
	}
	return r.Request.PathValue(name)
}

func (r *Request) setParams(names, values []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.params = params{names, values}
}
