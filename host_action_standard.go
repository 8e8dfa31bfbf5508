package aerys

import (
	"net/http"
	"sync/atomic"
)

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
	if sv := serviceOf(&Request{Request: r}); sv != nil {
		return sv.options
	}
	return Options{}.withDefaults()
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
