package aerys

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"

	"aerys/internal/field"
	"aerys/internal/pattern"
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
// later; then one that takes the rest of the path, and a mount last. A choice that
// leads to no route for the method is taken back. Two routes that no request can
// tell apart panic.
//
// A path that has routes, but none for the method, is answered here: HEAD by
// the route for GET, OPTIONS with 204, and any other method with 405, both with
// the methods there are in Allow. That runs none of the router's actions: what
// has to see such requests, as a CORS middleware has, belongs to the Host, in
// front of the router.
type Routes struct {
	tree       pattern.Tree
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
	mount           *mount  // for every method, which is then ""; or nil
}

func (r *route) String() string {
	if r.mount != nil {
		return "Mount " + r.pattern
	}
	return r.method + " " + r.pattern
}

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
//	/files/{path:.+}             at the end: the rest of the path, slashes included
//	/log[/{year}[/{month}]]      what is in brackets may be missing
//	/about/?                     /about; and /about/ is redirected there, with 302
//
// A missing leading slash is added, and "/?" is "/". Percent-encoding stands
// for the byte itself: %7B for a brace, %2F for a slash within a segment, %3A for
// a colon that begins one, %2A for an asterisk. A slash that a request has as %2F
// is such a byte of its segment, too: a variable sees it decoded ([^/]+ is what a
// variable without a regexp is). A regexp that can match a slash takes the rest
// of the path, which is what the client sent: there may be ".." in it, and nothing
// between two slashes. [Request.PathValue] has the values. When no action starts
// the response, the request falls through to what follows the router.
//
// Methods are compared as they are written; requests arrive in upper case,
// unless [Options].KeepMethodCase is set. Route panics at a method that is no
// token, at no or wrong actions, and at a pattern that is malformed, has a regexp
// that can match a slash elsewhere than at the end, or matches the same as another.
func (r *Routes) Route(method, pattern string, actions ...Action) *Routes {
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/" + pattern
	}
	added := &route{method: method, pattern: pattern, actions: slices.Concat(r.used, actions)}
	r.checkSome(added.String(), actions)
	if !field.IsToken(method) { // both are tokens
		panic(fmt.Sprintf("aerys: %s: the method %q is not a token (RFC 9110 §9.1), such as GET", added, method))
	}
	r.add(added)
	r.registered = append(r.registered, actions...)
	return r
}

// Mount registers actions for every method that the host allows, and for prefix,
// which may have variables, with every path below: /api, /api/ and /api/users/7
// for "/api". What they find in URL.Path, and RawPath, is without the prefix, as
// behind [http.StripPrefix]: /users/7, and / where nothing is left. That holds for
// handlers of net/http, routers and all others; RequestURI stays what the client
// sent, and [Request.PathValue] has the values of the prefix. Redirects to a
// canonical path keep the prefix. Routes go before mounts, and a longer prefix
// before a shorter.
//
//	router.Mount("/debug", http.DefaultServeMux)
//	router.Mount("/api", authenticate, apiRoutes)
//
// Mount panics where Route does.
func (r *Routes) Mount(prefix string, actions ...Action) *Routes {
	added := &route{pattern: "/" + strings.Trim(prefix, "/"), mount: &mount{actions: actions}}
	r.checkSome(added.String(), actions)
	added.actions = append(slices.Clone(r.used), added.mount)
	r.add(added)
	r.registered = append(r.registered, actions...)
	return r
}

// mount runs its actions with a path that begins behind so many segments.
type mount struct {
	segments int
	actions  []Action
	handler  Handler // compiled from actions
}

// Serve implements Handler.
func (m *mount) Serve(req *Request, res *Response) {
	below := *req.Request
	below.URL = pattern.Below(req.URL, m.segments)
	m.handler.Serve(req.with(&below), res)
	req.MultipartForm = below.MultipartForm // for whoever removes its files
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
		added := &route{method: theirs.method, pattern: theirs.pattern, actions: slices.Concat(r.used, theirs.actions)}
		if theirs.mount != nil { // which may go into further routers, below another prefix
			added.mount = &mount{actions: theirs.mount.actions}
			added.actions[slices.Index(added.actions, Action(theirs.mount))] = added.mount
		}
		r.add(added)
	}
	r.registered = append(r.registered, other.registered...)
	other.sealed = "it was merged into another"
}

// Prefix puts p, which may have variables, in front of the patterns of all
// routes so far. It panics when there are none.
func (r *Routes) Prefix(p string) *Routes {
	r.check("Routes.Prefix", nil)
	if len(r.routes) == 0 {
		panic(fmt.Sprintf("aerys: Routes.Prefix(%q): it is for the routes before it, and there are none; call it after them", p))
	}
	routes := r.routes
	r.tree, r.routes = pattern.Tree{}, nil
	for _, route := range routes {
		if p := strings.Trim(p, "/"); p != "" {
			route.pattern = "/" + p + route.pattern
		}
		if route.mount != nil {
			route.pattern = "/" + strings.Trim(route.pattern, "/")
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

// checkSome is check for a route, which has to have some.
func (r *Routes) checkSome(place string, actions []Action) {
	r.check(place, actions)
	if len(actions) == 0 {
		panic(fmt.Sprintf("aerys: %s: there is no action; put at least one after the pattern", place))
	}
}

// add enters a route in the tree.
func (r *Routes) add(added *route) {
	parse := pattern.Parse
	if added.mount != nil {
		parse = pattern.ParseMount
	}
	parsed, err := parse(added.pattern)
	if err != nil {
		panic(fmt.Sprintf("aerys: %s: %v", added, err))
	}
	if added.mount != nil {
		added.mount.segments = parsed.Segments()
	}
	r.routes = append(r.routes, added)
	if taken := r.tree.Add(parsed, added.method, len(r.routes)-1); taken != nil {
		panic(fmt.Sprintf("aerys: %s: matches the same as %s", added, r.routes[taken.Route]))
	}
}

// Start implements [Starter]: it calls the middleware of all routes, which the
// first request does otherwise.
func (r *Routes) Start(context.Context) error {
	r.once.Do(r.compile)
	return nil
}

func (r *Routes) compile() {
	r.sealed = "it serves"
	r.tree.Order()
	for _, route := range r.routes {
		if route.mount != nil {
			route.mount.handler = compile(route.mount.actions)
		}
		route.handler = compile(route.actions)
	}
}

// Serve implements [Handler].
func (r *Routes) Serve(req *Request, res *Response) {
	r.once.Do(r.compile)
	names, mine := req.params.names, len(req.params.values)
	if handler, allowed := r.find(req); handler != nil {
		handler.Serve(req, res)
	} else if allowed != nil {
		refuse(allowed, req, res)
	}
	req.setParams(names, req.params.values[:mine])
}

// find returns what answers a request, with its parameters set to those of the
// way there, or else the methods that its path is for. What it needs on the stack
// is not there while a handler runs.
func (r *Routes) find(req *Request) (handler Handler, allowed []string) {
	names, mine := req.params.names, len(req.params.values)
	values := slices.Grow(req.params.values, r.tree.Variables())[:mine+r.tree.Variables()]
	s := pattern.Search{Method: routedMethod(req.Request), Values: values[mine:]}
	if found := r.tree.Find(req.URL, &s); found != nil {
		mine, handler = mine+len(found.Names), r.handler(found)
		if names == nil {
			names = found.Names
		} else {
			names = slices.Concat(names, found.Names)
		}
	} else {
		allowed = s.Allowed()
	}
	req.setParams(names, values[:mine])
	return handler, allowed
}

// handler returns what answers at an endpoint.
func (r *Routes) handler(at *pattern.Endpoint) Handler {
	if at.Redirect {
		return HandlerFunc(redirect)
	}
	return r.routes[at.Route].handler
}

// refuse answers a request for a path whose routes are all for other methods.
func refuse(allowed []string, req *Request, res *Response) {
	if isExtendedConnect(req.Request) {
		return // others may accept it
	}
	res.SetHeader("Allow", strings.Join(allowed, ", "))
	if req.Method == http.MethodOptions {
		res.SetStatus(http.StatusNoContent).End()
		return
	}
	res.fail(&Error{Status: http.StatusMethodNotAllowed})
}

// normalMethod returns method in upper case. A misspelt HEAD or CONNECT stays:
// whoever relays it expects a body, which the upper-case methods do not have.
func normalMethod(method string) string {
	upper := strings.ToUpper(method)
	if upper == "HEAD" || upper == "CONNECT" {
		return method
	}
	return upper
}

// refusal is the status for a method that is not served: 405 for one that HTTP
// defines, and 501 for one that nobody here knows (RFC 9110 §15.5.6, §15.6.2), an
// extended CONNECT among them.
func refusal(r *http.Request) int {
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE":
		if !isExtendedConnect(r) {
			return http.StatusMethodNotAllowed
		}
	}
	return http.StatusNotImplemented
}

// redirect answers a path that ends in a slash with the one that does not. A
// browser takes //name, and /\name, for another site: only one leading slash
// stays, and pattern.EscapedPath leaves no backslash.
func redirect(req *Request, res *Response) {
	location := "/" + strings.TrimLeft(strings.TrimSuffix(askedPath(req), "/"), "/")
	res.SetHeader("Location", withQuery(location, req)).SetStatus(http.StatusFound).End()
}

// withQuery returns path with the query of a request.
func withQuery(path string, req *Request) string {
	if req.URL.RawQuery != "" {
		return path + "?" + req.URL.RawQuery
	}
	return path
}

// askedPath returns the path that the client asked for, with what a mount or
// [http.StripPrefix] took off.
func askedPath(req *Request) string {
	path := pattern.EscapedPath(req.URL)
	if asked, err := url.ParseRequestURI(req.RequestURI); err == nil {
		if whole := pattern.EscapedPath(asked); strings.HasSuffix(whole, path) {
			return whole
		}
	}
	return path
}

// Monitor implements [Monitor]: it returns, by method ("*" for mounts) and
// pattern, what those of the route's actions that are Monitors return, in order.
// Routes without any are left out.
func (r *Routes) Monitor() any { return r.states(nil) }

func (r *Routes) states(seen map[any]bool) map[string]map[string][]any {
	states := make(map[string]map[string][]any)
	for _, route := range r.routes {
		of := statesOf(route.actions, seen)
		if of == nil {
			continue
		}
		method := cmp.Or(route.method, "*")
		if states[method] == nil {
			states[method] = make(map[string][]any)
		}
		states[method][route.pattern] = of
	}
	return states
}

// statesOf returns what those that are Monitors tell, and have not been seen.
func statesOf(actions []Action, seen map[any]bool) (states []any) {
	for _, action := range actions {
		switch action := action.(type) {
		case *mount:
			states = append(states, statesOf(action.actions, seen)...)
		case *Routes:
			if of := action.states(seen); len(of) > 0 {
				states = append(states, of)
			}
		case Monitor:
			if isFirst(action, seen) {
				states = append(states, action.Monitor())
			}
		}
	}
	return states
}

// isFirst reports whether an action is not among those seen, and adds it to them. One
// whose type cannot be compared never is.
func isFirst(action any, seen map[any]bool) bool {
	if seen == nil || !reflect.ValueOf(action).Comparable() {
		return true
	}
	known := seen[action]
	seen[action] = true
	return !known
}

// methods returns the methods that have routes, sorted.
func (r *Routes) methods() (methods []string) {
	for _, route := range r.routes {
		if route.mount == nil {
			methods = append(methods, route.method)
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// walk calls visit for every action, and for every action registered in a
// router among them, in order. A value met again is not visited again, unless
// its type cannot be compared.
func walk(actions []Action, visit func(any)) {
	walkUnseen(actions, make(map[any]bool), visit)
}

func walkUnseen(actions []Action, seen map[any]bool, visit func(any)) {
	for _, action := range actions {
		if !isFirst(action, seen) {
			continue
		}
		visit(action)
		if router, ok := action.(*Routes); ok {
			walkUnseen(router.registered, seen, visit)
		}
	}
}
