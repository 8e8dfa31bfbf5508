// Package aerys is a minimal web framework after PHP's Aerys.
package aerys

// Routes is a router.
type Routes struct{ actions []Action }

// Router returns a new router.
func Router() *Routes { return new(Routes) }

// Serve implements [Handler].
func (r *Routes) Serve(req *Request, res *Response) {}

func (r *Routes) registered() []Action { return r.actions }

// params are the arguments of a matched route.
type params struct {
	names       []string
	values      []string
	fellThrough bool
}

// exportPathValues gives the arguments of the route to net/http's handlers.
func (r *Request) exportPathValues() {
	for i, name := range r.params.names {
		r.SetPathValue(name, r.params.values[i])
	}
}
