package aerys

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// params is what routing keeps in a Request.
type params struct {
	names       []string // of the variables of the matched route
	values      []string // theirs; before them, those of the routers around this one
	fellThrough bool     // net/http's middleware called what follows it in vain
}

// reset forgets the arguments, and keeps the memory.
func (p *params) reset() {
	clear(p.values[:cap(p.values)])
	*p = params{values: p.values[:0]}
}

// current returns the values that belong to the names.
func (p *params) current() []string { return p.values[len(p.values)-len(p.names):] }

// PathValue returns what the matched route's variable of that name stands for,
// percent-decoded, or "" if there is none. It is unlike that of net/http only
// in taking no memory; what http.ServeMux found in front of the Host is found too.
func (r *Request) PathValue(name string) string {
	r.live()
	for i, n := range r.params.names {
		if n == name {
			return r.params.current()[i]
		}
	}
	return r.Request.PathValue(name)
}

// Serve implements [Handler].
func (r *Routes) Serve(req *Request, res *Response) {
	r.once.Do(r.compile)
	path := req.URL.Path
	if req.URL.RawPath != "" {
		path = treePath(req.URL)
	}
	outer := req.params
	mine := len(outer.values)
	values := slices.Grow(outer.values, r.variables)[:mine+r.variables]
	s := search{method: req.Method, values: values[mine:]}
	if s.method == http.MethodConnect && req.Header[":protocol"] != nil {
		s.method = http.MethodGet // a WebSocket handshake (RFC 8441 §4)
	}
	found := r.root.find(path, 0, &s)
	if found != nil {
		req.params.names, req.params.values = found.names, values[:mine+len(found.names)]
		if req.URL.RawPath != "" {
			decodeSlashes(req.params.current())
		}
		found.route.handler.Serve(req, res)
	} else if s.refused != nil {
		refuse(s.refused, req, res)
	}
	req.params.names, req.params.values = outer.names, values[:mine]
}

// encodedSlash stands in the tree for a slash within a segment. It is one of
// the code points that Unicode sets aside for internal use.
const encodedSlash = "\uFDD0"

// treePath returns the decoded path of a URL, except for its encoded slashes.
func treePath(u *url.URL) string {
	escaped := u.EscapedPath()
	if !strings.Contains(escaped, "%2F") && !strings.Contains(escaped, "%2f") {
		return u.Path
	}
	path, err := unescape(escaped)
	if err != nil || strings.Contains(u.Path, encodedSlash) {
		return "" // no route matches
	}
	return path
}

// unescape decodes a path, and its encoded slashes to encodedSlash.
func unescape(escaped string) (string, error) {
	return url.PathUnescape(strings.NewReplacer("%2F", encodedSlash, "%2f", encodedSlash).Replace(escaped))
}

func decodeSlashes(values []string) {
	for i, value := range values {
		values[i] = strings.ReplaceAll(value, encodedSlash, "/")
	}
}

// refuse answers a request for a path whose routes are all for other methods.
func refuse(matched []*node, req *Request, res *Response) {
	allowed := []string{http.MethodOptions}
	for _, n := range matched {
		for _, e := range n.endpoints {
			allowed = append(allowed, e.method)
			if e.method == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
	}
	slices.Sort(allowed)
	res.SetHeader("Allow", strings.Join(slices.Compact(allowed), ", "))
	if req.Method == http.MethodOptions {
		res.SetStatus(http.StatusNoContent).End()
		return
	}
	res.page(http.StatusMethodNotAllowed, "")
}

// redirect answers a path that ends in a slash with the one that does not. A
// browser takes //name, and /\name, for another site: only one leading slash
// stays, and EscapedPath leaves no backslash.
func redirect(req *Request, res *Response) {
	location := "/" + strings.TrimLeft(strings.TrimSuffix(req.URL.EscapedPath(), "/"), "/")
	if req.URL.RawQuery != "" {
		location += "?" + req.URL.RawQuery
	}
	res.SetHeader("Location", location).SetStatus(http.StatusFound).End()
}
