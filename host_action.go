package aerys

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync/atomic"
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
// Actions run in the order given until one starts the response
// ([Response.State] is no longer None); the rest are skipped.
//
// An http.Handler knows nothing of falling through: when it returns, it has
// answered, be it with an empty 200, as in net/http. An [http.ServeMux] thus
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
// be used after Serve returned.
type Handler interface {
	Serve(*Request, *Response)
}

// Middleware wraps all actions that follow it in its list; next falls through
// when none of them starts the response, and does nothing when there are none.
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
// It is called from any goroutine.
type Monitor interface {
	Monitor() any
}

// HandlerFunc makes a func a [Handler], as [Middleware] has to return one.
type HandlerFunc func(*Request, *Response)

// Serve calls f.
func (f HandlerFunc) Serve(req *Request, res *Response) { f(req, res) }

// sequence runs its handlers until one starts the response.
type sequence []Handler

func (s sequence) Serve(req *Request, res *Response) {
	for _, handler := range s {
		handler.Serve(req, res)
		if res.State() != None {
			return
		}
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
// falls through when none starts the response.
func compile(actions []Action) Handler {
	var handlers sequence
	for i, action := range actions {
		handler, middleware := adapt(action)
		if middleware != nil {
			handler = middleware(compile(actions[i+1:]))
		}
		if handler == nil {
			panic(fmt.Sprintf("aerys: the middleware of type %T returned nil; it has to return a handler", action))
		}
		handlers = append(handlers, handler)
		if middleware != nil {
			break
		}
	}
	if len(handlers) == 1 {
		return handlers[0]
	}
	return handlers
}

// standard runs a handler of net/http as an action.
type standard struct{ handler http.Handler }

func (s standard) Serve(req *Request, res *Response) {
	for i, name := range req.params.names {
		req.SetPathValue(name, req.params.current()[i])
	}
	call := &res.exchange.standard
	if outer := res.standard; outer {
		call = new(standardCall)
	} else {
		res.standard = true
		defer func() { res.standard = false }()
	}
	call.Response, call.request, call.before = res, req, res.given()
	call.passed.Store(0)
	s.handler.ServeHTTP(standardWriter{call}, req.Request)
	if res.State() != None {
		return
	}
	if passed := call.passed.Load(); passed > 0 {
		res.resume(passed - 1)
	} else {
		res.End()
	}
}

// standardCall is one call of a handler of net/http.
type standardCall struct {
	*Response
	request *Request
	before  int32        // the status that was set before it
	passed  atomic.Int32 // 1 + the status when what follows it fell through
}

// pass tells that what follows fell through, if it did. A goroutine that the
// handler no longer waits for may get here.
func (c *standardCall) pass(r *Response) {
	if r.State() == None {
		c.passed.Store(1 + r.given())
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
		f.next.Serve(call.request.with(r), call.Response)
		call.pass(call.Response)
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
	x.response.status = int(outer.before)
	f.next.Serve(&x.request, &x.response)
	if x.response.State() == None && x.response.Err() == nil {
		outer.pass(&x.response)
		return
	}
	x.finish()
}

// serveAlone is for a w that hides what it wraps. That of http.TimeoutHandler
// does, and is used by another goroutine, which the exchange may not wait for:
// nothing of it may be touched. For the same reason this cannot fall through.
func (f following) serveAlone(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r, optionsOf(r))
	defer x.close()
	f.next.Serve(&x.request, &x.response)
	x.finish()
}

// optionsOf returns the options of the server that r came to.
func optionsOf(r *http.Request) *Options {
	if server, ok := handlerOf(r).(interface{ serverOptions() *Options }); ok {
		return server.serverOptions()
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
