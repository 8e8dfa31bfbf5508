package aerys

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"runtime/debug"
	"sync/atomic"

	"aerys/internal/page"
)

// Action is what Use and the routes take. It is one of
//
//   - func(*Request, *Response), or any [Handler],
//   - a [Middleware],
//   - a router ([*Routes]),
//   - an [http.Handler] or a func(http.ResponseWriter, *http.Request),
//   - a func(http.Handler) http.Handler, as net/http's middleware is written.
//
// Any other value panics when it is registered. A value that is both a Handler
// and an http.Handler is used as a Handler.
//
// Actions run in the order given until one answers; the rest are skipped. To
// answer is to start the response ([Response.State] is no longer None), or to set
// a status of 300 or more, or to find that the request's body cannot be read.
// What answers nothing itself is answered by [Host.Errors], as are a request
// that none of the host's actions has answered (404), one whose method the host does
// not allow (405, 501), and a panic (500): all that inside the chain, so that the
// middleware around sees status and body. Of a method that is not allowed
// it is the host's middleware alone that is called.
//
// An http.Handler knows nothing of falling through: when it returns, it has
// answered, be it with an empty 200, as in net/http, where the status is still open
// for the middleware around it. An [http.ServeMux] thus
// answers 404 itself, and belongs at the end of a list. Likewise, net/http's
// middleware has answered when it returns without having called the next
// handler.
//
// An action that is also a [Starter], [Stopper] or [Monitor] is told of the
// server's start and stop and asked for its state, once, however often it is
// registered.
type Action any

// Handler answers a request, or leaves it to the next action by not touching
// the response. It is called from many goroutines at once. Neither argument may
// be used after Serve returned. When it panics, that is logged and answered with 500,
// or the connection is aborted where some of the response is on the wire;
// [http.ErrAbortHandler] aborts it always.
type Handler interface {
	Serve(*Request, *Response)
}

// Middleware wraps all actions that follow it in its list. Among a host's, next
// has answered when it returns; among those of a route it falls through when none of
// them answers, and does nothing when there are none. Nothing that panics in
// next panics out of it, but [http.ErrAbortHandler].
// It is called once for every list it is part of, when the server starts or
// with the first request; the Handler it returns must not be nil.
type Middleware = func(next Handler) Handler

// Starter is an action that has something to do before the server listens. An
// error stops the start.
type Starter interface {
	Start(context.Context) error
}

// Stopper is an action that has something to finish when the server stops. The
// context ends with the time that the server grants.
type Stopper interface {
	Stop(context.Context) error
}

// Monitor is an action that can tell its state, as values that encode to JSON.
// It is called from any goroutine. Numbers in a struct whose field has a tag
//
//	metric:"myapp_orders_total counter Orders so far."
//
// (a name, then gauge or counter, then a help text; "name{label}" for a map, whose
// keys are the label's values) are in MonitorHandler's text for Prometheus, too.
type Monitor interface {
	Monitor() any
}

// HandlerFunc makes a func a [Handler], as [Middleware] has to return one.
type HandlerFunc func(*Request, *Response)

// Serve calls f.
func (f HandlerFunc) Serve(req *Request, res *Response) { f(req, res) }

// list runs actions until one answers.
type list struct {
	actions []Handler
	rest    Handler // a middleware behind them, around what follows it; or nil
	last    bool    // nothing follows: what is not answered here is answered with 404
}

// Serve implements Handler, for the middleware around the list: it sees how a
// panic is answered.
func (l *list) Serve(req *Request, res *Response) {
	defer rescue(res)
	before := res.begins()
	before.failure = req.failure()
	l.run(req, res, before)
}

// run runs the actions of a list that begins when things stand as before.
func (l *list) run(req *Request, res *Response, before standing) {
	if req.locals.refusal == nil {
		for _, action := range l.actions {
			action.Serve(req, res)
			if now := standingOf(req, res); now.answers(before) {
				now.settle(req, res)
				return
			}
		}
	}
	if l.rest != nil {
		l.rest.Serve(req, res)
	}
	if now := standingOf(req, res); l.last || now.answers(before) {
		now.settle(req, res)
	}
}

// standing is how things stand between two actions.
type standing struct {
	state   State
	status  int    // that was set, or 0
	refused bool   // for a header that cannot be sent
	failure *Error // what is wrong with the request, or nil
}

func standingOf(req *Request, res *Response) standing {
	now := res.standing()
	if now.state == None {
		now.failure = req.failure()
	}
	return now
}

// answers reports whether an action has answered since things stood as before.
func (s standing) answers(before standing) bool {
	return s.state != None || s.refused || s.failure != before.failure || s.status != before.status && s.status >= 300
}

// settle answers where what an action did says how.
func (s standing) settle(req *Request, res *Response) {
	switch {
	case s.refused:
		res.failRefused()
	case s.state != None:
	case s.status >= 400:
		res.fail(&Error{Status: s.status})
	case s.failure != nil:
		res.fail(s.failure)
	case s.status != 0:
		res.start()
	case req.Context().Err() == context.DeadlineExceeded: // a middleware has set one
		res.fail(&Error{Status: http.StatusGatewayTimeout})
	case isExtendedConnect(req.Request):
		res.fail(errNoTunnel())
	default:
		res.fail(&Error{Status: http.StatusNotFound})
	}
}

func (r *Response) standing() standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == None && len(r.filters) > int(r.kept) { // by an action that is done
		r.keep()
	}
	return r.stands()
}

// begins is standing for a list behind a middleware, which may see to the coding
// of whatever follows.
func (r *Response) begins() standing {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep()
	return r.stands()
}

// keep notes what holds for whatever is answered from here on.
func (r *Response) keep() {
	r.coded, r.kept = r.out.Fields["Content-Encoding"] != nil, uint8(min(len(r.filters), math.MaxUint8))
}

func (r *Response) stands() standing {
	return standing{state: r.state, status: r.status, refused: r.fault != nil && r.state < Streaming}
}

// resume sets the status to one that there was, if nothing was started.
func (r *Response) resume(status int) {
	if r.enter() {
		defer r.leave()
		if r.state == None {
			r.status = status
		}
	}
}

// switchStandard notes whether a handler of net/http runs from now on, and returns
// how things stand, and whether one did.
func (r *Response) switchStandard(runs bool) (now standing, did bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	did, r.standard = r.standard, runs
	return r.stands(), did
}

// begun notes that the response is started, and by whom.
func (r *Response) begun() {
	if r.state == None {
		r.state, r.foreign = Started, r.standard
	}
}

// start starts the response, and leaves open what it is.
func (r *Response) start() {
	if r.enter() {
		defer r.leave()
		r.begun()
	}
}

// open reports whether the response was started, and nothing is said of it yet.
func (r *Response) open() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == Started && !r.explicit && r.status == 0 && r.written == 0 && r.fault == nil && len(r.filters) == 0
}

// rescue answers what panics with 500, or aborts the connection when that is too
// late.
func rescue(res *Response) {
	cause := recover()
	switch {
	case cause == nil:
		return
	case cause == http.ErrAbortHandler:
		panic(cause)
	}
	rescueFrom(cause, res)
}

func rescueFrom(cause any, res *Response) {
	e := &Error{Status: http.StatusInternalServerError, Err: fmt.Errorf("panic: %v", cause), Stack: page.UserStack(debug.Stack())}
	if err, ok := cause.(error); ok {
		e.Err = fmt.Errorf("panic: %w", err)
	}
	res.asked().log(slog.LevelError, "aerys: panic in an action", "panic", fmt.Sprint(cause), "stack", string(e.Stack))
	res.dropHandshake()
	if res.fail(e); res.isCut() {
		panic(http.ErrAbortHandler)
	}
}

// checkActions panics at a value that is no action. place says where the
// actions are registered, such as "GET /users/{id}".
func checkActions(place string, actions []Action) {
	for i, action := range actions {
		kind := fmt.Sprintf("of type %T", action)
		if v := reflect.ValueOf(action); !v.IsValid() || (v.Kind() == reflect.Func || v.Kind() == reflect.Pointer) && v.IsNil() {
			kind = "nil"
		} else if handler, middleware := adapt(action); handler != nil || middleware != nil {
			continue
		}
		panic(fmt.Sprintf("aerys: %s: action %d of %d is %s; it has to be a func(*aerys.Request, *aerys.Response), "+
			"an aerys.Handler, aerys.Middleware, *aerys.Routes, http.Handler, func(http.ResponseWriter, *http.Request) "+
			"or func(http.Handler) http.Handler", place, i+1, len(actions), kind))
	}
}

// adapt returns action as a Handler or as a Middleware, or neither when it is
// no action.
func adapt(action Action) (Handler, Middleware) {
	switch action := action.(type) {
	case Handler:
		return action, nil
	case http.Handler:
		return standard{action}, nil
	}
	if f, ok := as[func(*Request, *Response)](action); ok {
		return HandlerFunc(f), nil
	}
	if f, ok := as[func(http.ResponseWriter, *http.Request)](action); ok {
		return standard{http.HandlerFunc(f)}, nil
	}
	if m, ok := as[Middleware](action); ok {
		return nil, m
	}
	if m, ok := as[func(http.Handler) http.Handler](action); ok {
		return nil, standardMiddleware(m)
	}
	return nil, nil
}

// as returns action as an F, also when its type is another one declared as F.
func as[F any](action Action) (f F, ok bool) {
	if v, t := reflect.ValueOf(action), reflect.TypeFor[F](); v.CanConvert(t) {
		return v.Convert(t).Interface().(F), true
	}
	return f, false
}

// compile turns checked actions into one Handler that runs them in order and
// falls through when none answers.
func compile(actions []Action) Handler {
	l := listOf(actions, false)
	if len(l.actions) == 1 && l.rest == nil {
		return l.actions[0]
	}
	return l
}

// listOf turns checked actions into a list, and what follows a middleware into
// another.
func listOf(actions []Action, last bool) *list {
	l := &list{last: last}
	for i, action := range actions {
		handler, middleware := adapt(action)
		if middleware == nil {
			l.actions = append(l.actions, handler)
			continue
		}
		if l.rest = middleware(listOf(actions[i+1:], last)); l.rest == nil {
			panic(fmt.Sprintf("aerys: the middleware of type %T returned nil; it has to return a handler", action))
		}
		break
	}
	return l
}

// standard runs a handler of net/http as an action.
type standard struct{ handler http.Handler }

func (s standard) Serve(req *Request, res *Response) {
	for i, name := range req.params.names {
		req.SetPathValue(name, req.params.values[i])
	}
	call := &res.exchange.standard
	if call.busy {
		call = new(standardCall)
	}
	failure := req.failure()
	before, outer := res.switchStandard(true)
	call.Response, call.request, call.before, call.busy = res, req, int32(before.status), true
	call.passed.Store(0)
	s.handler.ServeHTTP(standardWriter{call}, req.Request)
	now, _ := res.switchStandard(outer)
	call.busy = false
	if now.state != None {
		return
	}
	if passed := call.passed.Load(); passed > 0 {
		res.resume(int(passed) - 1)
	} else if req.failure() == failure {
		res.start()
	}
}

// standardCall is one call of a handler of net/http.
type standardCall struct {
	*Response
	request *Request
	busy    bool
	before  int32        // the status that was set before it
	passed  atomic.Int32 // 1 + the status when what follows it fell through
}

// pass tells that what follows fell through, if it did. A goroutine that the
// handler no longer waits for may get here.
func (c *standardCall) pass(now standing) {
	if now.state == None {
		c.passed.Store(1 + int32(now.status))
	}
}

// standardWriter is a Response as net/http's handlers know it: its Flush has the
// signature of http.Flusher's.
type standardWriter struct{ *standardCall }

func (w standardWriter) Flush() { w.Response.Flush() }

// Unwrap returns the Response, past which no one is to write.
func (w standardWriter) Unwrap() http.ResponseWriter { return w.Response }

// standardMiddleware turns middleware of net/http into ours.
func standardMiddleware(m func(http.Handler) http.Handler) Middleware {
	return func(next Handler) Handler {
		if handler := m(following{next}); handler != nil {
			return standard{handler}
		}
		return nil
	}
}

// following is the next handler as middleware of net/http knows it.
type following struct{ next Handler }

// ServeHTTP goes on with the call that the middleware got, which it finds
// behind w.
func (f following) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch call, direct := callBehind(w); {
	case call == nil:
		f.serveAlone(w, r)
	case direct:
		req := call.request.with(r)
		if req != call.request {
			defer call.asks(call.asks(req))
		}
		_, outer := call.switchStandard(false)
		f.next.Serve(req, call.Response)
		now, _ := call.switchStandard(outer)
		call.pass(now)
	default:
		f.serveWrapped(call, w, r)
	}
}

// serveWrapped runs what follows with a Response of its own, for one that
// writes to w, which the middleware put in front of the outer one. It may be run
// by another goroutine, which the outer exchange may not wait for.
func (f following) serveWrapped(outer *standardCall, w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r, outer.request.options)
	defer x.close()
	x.request.inherit(outer.request)
	if input := x.request.input; input != nil && input != outer.request.input {
		input.standBefore(outer.request.input)
	}
	x.response.status = int(outer.before)
	f.next.Serve(&x.request, &x.response)
	switch {
	case x.response.open(): // for the middleware to decide
	case x.response.State() == None && x.response.Err() == nil:
		outer.pass(x.response.standing())
	default:
		x.finish()
	}
}

// serveAlone is for a w that hides what it wraps. That of http.TimeoutHandler
// does, and is used by another goroutine, which the exchange may not wait for:
// nothing of it may be touched. For the same reason this cannot fall through.
func (f following) serveAlone(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r, optionsOf(r))
	defer x.close()
	(&list{rest: f.next, last: true}).Serve(&x.request, &x.response)
	if !x.response.open() {
		x.finish()
	}
}

// optionsKey is of the context of a request that came to a Host alone, and has the
// Options by which that answers.
type optionsKey struct{}

// optionsOf returns the options of the host that r came to.
func optionsOf(r *http.Request) *Options {
	if options, ok := r.Context().Value(optionsKey{}).(*Options); ok {
		return options
	}
	if server, ok := handlerOf(r).(interface{ optionsFor(*http.Request) *Options }); ok {
		return server.optionsFor(r)
	}
	return Options{}.withDefaults()
}

// handlerOf returns what answers all requests of the server that r came to, or nil.
func handlerOf(r *http.Request) http.Handler {
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		return server.Handler
	}
	return nil
}

// callBehind unwraps w until it finds a Response that a handler of net/http was
// called with. direct tells that w is one.
func callBehind(w http.ResponseWriter) (call *standardCall, direct bool) {
	for direct = true; ; direct = false {
		switch writer := w.(type) {
		case standardWriter:
			return writer.standardCall, direct
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return nil, false
		}
	}
}
