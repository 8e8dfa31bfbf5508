package aerys

// Action is what Use and the routes take.
type Action any

// Handler answers a request, or leaves it to the next action.
type Handler interface {
	Serve(*Request, *Response)
}

// Middleware wraps the actions that follow it.
type Middleware = func(next Handler) Handler

// compile turns checked actions into one Handler.
func compile(actions []Action) Handler { return nil }

// checkActions panics at a value that is no action, naming the place.
func checkActions(place string, actions []Action) {}
