package aerys

import "net/http"

// standard runs a handler of net/http as an action.
type standard struct{ handler http.Handler }

func (s standard) Serve(req *Request, res *Response) {
	for i, name := range req.params.names {
		req.SetPathValue(name, req.params.current()[i])
	}
	req.params.fellThrough = false
	s.handler.ServeHTTP(standardWriter{res}, req.Request)
	if res.State() == None && !req.params.fellThrough {
		res.End()
	}
}

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

// ServeHTTP goes on with the exchange that the middleware was called for, which
// it finds behind w.
func (f following) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch x, direct := exchangeBehind(w); {
	case x == nil:
		f.serveAlone(w, r)
	case direct:
		f.serve(x, r)
	default:
		f.serveWrapped(x, w, r)
	}
}

// serve runs what follows with r in the place of the request in x.
func (f following) serve(x *exchange, r *http.Request) {
	before, query := x.request.Request, x.request.query
	x.request.Request = r
	if r.URL != before.URL {
		x.request.query = nil
	}
	defer func() { x.request.Request, x.request.query = before, query }()
	f.next.Serve(&x.request, &x.response)
	x.request.params.fellThrough = true // if State is still None
}

// serveWrapped runs what follows with a Response of its own, for one that
// writes to w, which the middleware put in front of the outer one.
func (f following) serveWrapped(outer *exchange, w http.ResponseWriter, r *http.Request) {
	x := acquire(w, r, outer.request.options)
	x.request.params, x.request.locals = outer.request.params, outer.request.locals
	x.response.status = outer.response.status
	f.next.Serve(&x.request, &x.response)
	outer.request.locals = x.request.locals
	outer.response.status, outer.response.fault = x.response.status, x.response.fault
	outer.request.params.fellThrough = x.response.State() == None
	x.request.params = params{} // outer's
	if !outer.request.params.fellThrough {
		x.finish()
	}
	x.release()
}

// serveAlone is for a w that hides what it wraps. That of http.TimeoutHandler
// does, and is used by another goroutine, which the exchange may not wait for:
// nothing of it may be touched. For the same reason this cannot fall through.
func (f following) serveAlone(w http.ResponseWriter, r *http.Request) {
	x := acquire(w, r, optionsOf(r))
	f.next.Serve(&x.request, &x.response)
	x.finish()
	x.release()
}

// optionsOf returns the options of the server that r came to.
func optionsOf(r *http.Request) *Options {
	if sv := serviceOf(&Request{Request: r}); sv != nil {
		return sv.options
	}
	return Options{}.withDefaults()
}

// exchangeBehind unwraps w until it finds a Response. direct tells that w is one.
func exchangeBehind(w http.ResponseWriter) (x *exchange, direct bool) {
	for direct = true; ; direct = false {
		switch writer := w.(type) {
		case standardWriter:
			return writer.exchange, direct
		case *Response:
			return writer.exchange, direct
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return nil, false
		}
	}
}
