package aerys

import (
	"net/http"
	"sync"
)

// Request is what a client asked for. It embeds the *http.Request, so Method,
// URL, Header, RemoteAddr and Context are there.
type Request struct {
	*http.Request

	options *Options
	params  params
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
	x.response.reset(w, r, options)
	x.response.exchange = x
	return x
}

// release returns x to the pool.
func (x *exchange) release() {
	*x = exchange{}
	exchanges.Put(x)
}
