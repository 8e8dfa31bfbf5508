package aerys

import "net/http"

// standard runs a handler of net/http as an action.
type standard struct{ handler http.Handler }

func (s standard) Serve(req *Request, res *Response) {
	req.exportPathValues()
	req.params.fellThrough = false
	s.handler.ServeHTTP(res, req.Request)
	if res.State() == None && !req.params.fellThrough {
		res.End()
	}
}

// standardMiddleware turns middleware of net/http into ours.
func standardMiddleware(m func(http.Handler) http.Handler) Middleware {
	return func(next Handler) Handler {
		handler := m(following{next})
		if handler == nil {
			return nil
		}
		return standard{handler}
	}
}

// following is the next handler as middleware of net/http sees it.
type following struct{ next Handler }

// ServeHTTP goes on with the exchange that the middleware was called for. Where
// the middleware put a writer of its own before the Response, what follows gets
// a Response that writes to that one.
func (f following) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, direct := exchangeOf(w)
	switch {
	case x == nil:
		f.serveDetached(w, r)
	case direct:
		f.serve(&x.request, &x.response, r)
		x.request.params.fellThrough = true
	default:
		f.serveWrapped(x, w, r)
	}
}

// serve runs what follows with r in the place of the request that req embeds.
func (f following) serve(req *Request, res *Response, r *http.Request) {
	if before := req.Request; before != r {
		req.Request = r
		defer func() { req.Request = before }()
	}
	f.next.Serve(req, res)
}

// serveWrapped lends the parameters and local variables of outer to an
// exchange on w.
func (f following) serveWrapped(outer *exchange, w http.ResponseWriter, r *http.Request) {
	x := acquire(w, r, outer.request.options)
	x.request.params, x.request.locals = outer.request.params, outer.request.locals
	f.next.Serve(&x.request, &x.response)
	outer.request.locals = x.request.locals
	outer.request.params.fellThrough = x.response.State() == None
	x.finishInner()
}

// serveDetached is for a writer that hides the one it wraps, as the one of
// http.TimeoutHandler does, which also runs it in another goroutine. Nothing of
// the outer exchange may be used. Nor can this fall through.
func (f following) serveDetached(w http.ResponseWriter, r *http.Request) {
	options, ok := r.Context().Value(optionsKey{}).(*Options)
	if !ok {
		options = Options{}.withDefaults()
	}
	x := acquire(w, r, options)
	f.next.Serve(&x.request, &x.response)
	if x.response.State() == None {
		http.NotFound(&x.response, r)
	}
	x.finishInner()
}

// finish ends the response, if it was started, and lets the exchange go.
func (x *exchange) finishInner() {
	if state := x.response.State(); state == Started || state == Streaming {
		x.response.End()
	}
	x.release()
}

// optionsKey is the key of the server's *Options in the context of a request.
type optionsKey struct{}

// exchangeOf unwraps w until it is a Response. direct is whether w is one.
func exchangeOf(w http.ResponseWriter) (x *exchange, direct bool) {
	for direct = true; ; direct = false {
		switch writer := w.(type) {
		case *Response:
			return writer.exchange, direct
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return nil, false
		}
	}
}
