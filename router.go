package aerys

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Routes is a router: an action that picks others by method and path, and
// falls through when none of its patterns matches the path. It is set up first,
// by one goroutine, and serves afterwards, in any number of them: to register
// something panics once the router was started, has served, or was merged into
// another. The zero value is ready to use.
//
// At each point of the path a literal is tried before a variable, a variable
// with a longer literal behind it in its segment before one with a shorter, one
// with a regexp before one without, and the earlier registered before the
// later. A choice that leads to no route for the method is taken back. Two
// routes that no request can tell apart panic.
//
// A path that has routes, but none for the method, is answered here: HEAD by
// the route for GET, OPTIONS with 204, and any other method with 405, both with
// the methods there are in Allow. That runs none of the router's actions: what
// has to see such requests, as a CORS middleware has, belongs to the Host, in
// front of the router.
type Routes struct {
	root       node
	variables  int // that a pattern has at most
	routes     []*route
	used       []Action // by Use, so far
	registered []Action // all of them, in order
	sealed     string   // why the router must not change any more, or ""
	once       sync.Once
}

// route is what one call of Route registered.
type route struct {
	method, pattern string
	actions         []Action
	handler         Handler // compiled from actions
}

func (r *route) String() string { return r.method + " " + r.pattern }

// Router returns a new router.
func Router() *Routes { return new(Routes) }

// Get registers actions for GET, and for HEAD where that has no route.
func (r *Routes) Get(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodGet, pattern, actions...)
}

// Head registers actions for HEAD.
func (r *Routes) Head(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodHead, pattern, actions...)
}

// Post registers actions for POST.
func (r *Routes) Post(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodPost, pattern, actions...)
}

// Put registers actions for PUT.
func (r *Routes) Put(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodPut, pattern, actions...)
}

// Patch registers actions for PATCH.
func (r *Routes) Patch(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodPatch, pattern, actions...)
}

// Delete registers actions for DELETE.
func (r *Routes) Delete(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodDelete, pattern, actions...)
}

// Options registers actions for OPTIONS.
func (r *Routes) Options(pattern string, actions ...Action) *Routes {
	return r.Route(http.MethodOptions, pattern, actions...)
}

// Route registers actions for a method, which may be any, and a pattern:
//
//	/users/{id}                  {id} is one segment of the path, not empty
//	/file-{name}.html            or a part of one
//	/users/{id:\d+}              or what the regexp (regexp/syntax) matches of one
//	/log[/{year}[/{month}]]      what is in brackets may be missing
//	/about/?                     /about; and /about/ is redirected there, with 302
//
// A missing leading slash is added, and "/?" is "/". Percent-encoding stands
// for the byte itself: %7B for a brace, %2F for a slash within a segment.
// [Request.PathValue] has the values. When no action starts the response, the
// request falls through to what follows the router.
//
// Methods are compared as they are written; requests arrive in upper case,
// unless [Options].KeepMethodCase is set. Route panics at a method that is no
// token, at no or wrong actions, and at a pattern that is malformed or matches
// the same as another.
func (r *Routes) Route(method, pattern string, actions ...Action) *Routes {
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/" + pattern
	}
	added := &route{method: method, pattern: pattern, actions: slices.Concat(r.used, actions)}
	r.check(added.String(), actions)
	if len(actions) == 0 {
		panic(fmt.Sprintf("aerys: %s: there is no action; put at least one after the pattern", added))
	}
	if !validFieldName(method) { // both are tokens
		panic(fmt.Sprintf("aerys: %s: the method %q is not a token (RFC 9110 §9.1), such as GET", added, method))
	}
	r.add(added)
	r.registered = append(r.registered, actions...)
	return r
}

// Use registers actions that run before those of the routes added later, and
// after those of the routes added earlier, as their fallback. A router is
// merged instead: its routes become routes of this one, after which it must
// not change; what this one uses so far runs before them.
func (r *Routes) Use(actions ...Action) *Routes {
	r.check("Routes.Use", actions)
	for _, action := range actions {
		if other, ok := action.(*Routes); ok {
			r.merge(other)
			continue
		}
		for _, route := range r.routes {
			route.actions = append(route.actions, action)
		}
		r.used = append(r.used, action)
		r.registered = append(r.registered, action)
	}
	return r
}

func (r *Routes) merge(other *Routes) {
	for _, theirs := range other.routes {
		r.add(&route{method: theirs.method, pattern: theirs.pattern, actions: slices.Concat(r.used, theirs.actions)})
	}
	r.registered = append(r.registered, other.registered...)
	other.sealed = "it was merged into another"
}

// Prefix puts p, which may have variables, in front of the patterns of all
// routes so far.
func (r *Routes) Prefix(p string) *Routes {
	r.check("Routes.Prefix", nil)
	routes := r.routes
	r.root, r.routes = node{}, nil
	for _, route := range routes {
		if p := strings.Trim(p, "/"); p != "" {
			route.pattern = "/" + p + route.pattern
		}
		r.add(route)
	}
	return r
}

// check panics at actions that are none, and when it is too late for any.
func (r *Routes) check(place string, actions []Action) {
	if r.sealed != "" {
		panic(fmt.Sprintf("aerys: %s: the router must not change any more: %s", place, r.sealed))
	}
	checkActions(place, actions)
	if slices.Contains(actions, Action(r)) {
		panic(fmt.Sprintf("aerys: %s: a router cannot be an action of its own", place))
	}
}

// add enters a route in the tree.
func (r *Routes) add(added *route) {
	pattern, err := parsePattern(added.pattern)
	if err != nil {
		panic(fmt.Sprintf("aerys: %s: %v", added, err))
	}
	for _, form := range pattern.forms() {
		r.variables = max(r.variables, len(form.names))
		end := r.root.addSteps(form.steps)
		if other := end.endpoint(added.method); other != nil {
			panic(fmt.Sprintf("aerys: %s: matches the same as %s", added, other.route))
		}
		target := added
		if form.redirect {
			target = &route{method: added.method, pattern: added.pattern, handler: HandlerFunc(redirect)}
		}
		end.endpoints = append(end.endpoints, endpoint{added.method, form.names, target})
	}
	r.routes = append(r.routes, added)
}

// Start implements [Starter]: it calls the middleware of all routes, which the
// first request does otherwise.
func (r *Routes) Start(context.Context) error {
	r.once.Do(r.compile)
	return nil
}

func (r *Routes) compile() {
	r.sealed = "it serves"
	for _, route := range r.routes {
		route.handler = compile(route.actions)
	}
}

// Monitor implements [Monitor]: it returns, by method and pattern, what those
// of the route's actions that are Monitors return, in order.
func (r *Routes) Monitor() any {
	states := make(map[string]map[string][]any)
	for _, route := range r.routes {
		if states[route.method] == nil {
			states[route.method] = make(map[string][]any)
		}
		of := []any{}
		for _, action := range route.actions {
			if monitor, ok := action.(Monitor); ok {
				of = append(of, monitor.Monitor())
			}
		}
		states[route.method][route.pattern] = of
	}
	return states
}

// methods returns the methods that have routes, sorted.
func (r *Routes) methods() (methods []string) {
	for _, route := range r.routes {
		methods = append(methods, route.method)
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}
