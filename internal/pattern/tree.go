package pattern

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Tree is of all patterns that were added. It may be searched by many at once, as
// long as nothing is added.
type Tree struct {
	root      node
	variables int                 // that a pattern has at most
	slashes   bool                // a literal has encoded ones
	matchers  map[string]*matcher // by regexp
	ways      map[way]*variable
}

// way is from a point over a variable of that text.
type way struct {
	from *node
	text string
}

// node is a point in the tree, in which paths with the same beginning share a
// way: first by literal, then by variable.
type node struct {
	literal   string // that leads here from the parent
	initials  string // the first byte of each child's literal, no two the same
	children  []*node
	variables []*variable // in the order of trial, once that was made
	endpoints []Endpoint  // of the patterns that end here, one a method
}

// Endpoint is where a pattern ends.
type Endpoint struct {
	Method   string   // "" is any that no other is for
	Names    []string // of the variables on the way
	Redirect bool     // to the same path without its final slash
	Route    int      // what Add was told
}

// Search is one walk through the tree.
type Search struct {
	Method string
	Values []string // of the variables on the way; at least Tree.Variables

	path    string
	refused []*node // matched the path, but not the method
}

// Variables returns how many a pattern has at most.
func (t *Tree) Variables() int { return t.variables }

// Add enters a pattern for a method. If there is another that matches the same
// it returns where that ends.
func (t *Tree) Add(p *Pattern, method string, route int) (taken *Endpoint) {
	if t.ways == nil {
		t.ways, t.matchers = make(map[way]*variable), make(map[string]*matcher)
	}
	for _, form := range p.forms() {
		t.variables = max(t.variables, len(form.names)+1) // a mount has one without
		t.slashes = t.slashes || slices.ContainsFunc(form.pieces, piece.hasEncodedSlash)
		end := t.add(form.pieces)
		if taken := end.endpoint(method); taken != nil {
			return taken
		}
		end.endpoints = append(end.endpoints, Endpoint{method, form.names, form.redirect, route})
	}
	return nil
}

// Order puts the variables into the order of trial, before the first search and
// after the last pattern.
func (t *Tree) Order() {
	t.root.order()
	t.ways, t.matchers = nil, nil
}

func (n *node) order() {
	slices.SortStableFunc(n.variables, (*variable).compare)
	for _, v := range n.variables {
		v.next.order()
	}
	for _, child := range n.children {
		child.order()
	}
}

// Find returns where a URL's path leads to, with the first values set, or nil.
func (t *Tree) Find(u *url.URL, s *Search) *Endpoint {
	s.path = u.Path
	if t.slashes || u.RawPath != "" {
		return t.root.find(outline(u), 0, s)
	}
	return t.root.find(s.path, 0, s)
}

// Allowed returns the methods of the patterns that matched the path, if none did
// for its method, sorted: a HEAD is answered by GET, and OPTIONS always.
func (s *Search) Allowed() (methods []string) {
	for _, n := range s.refused {
		methods = append(methods, http.MethodOptions)
		for _, e := range n.endpoints {
			if methods = append(methods, e.Method); e.Method == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// find returns where the rest of an outline leads from n, which is behind so
// many variables. Since a segment is never divided in two ways, no node is met
// twice, whatever the path.
func (n *node) find(outline string, variables int, s *Search) *Endpoint {
walk:
	for {
		if outline == "" {
			if found := s.endpoint(n); found != nil {
				return found
			}
		} else if child := n.child(outline); child != nil {
			rest := outline[len(child.literal):]
			if len(n.variables) == 0 {
				n, outline = child, rest
				continue
			}
			if found := child.find(rest, variables, s); found != nil {
				return found
			}
		}
		for i, v := range n.variables {
			end := len(outline)
			if v.rank == segment {
				end = segmentEnd(outline)
			}
			text := s.path[len(s.path)-len(outline):][:end]
			if v.any {
				if end == 0 {
					continue
				}
				s.Values[variables] = text
			} else if !v.match(text, s.Values[variables:]) {
				continue
			}
			if i == len(n.variables)-1 {
				n, outline, variables = &v.next, outline[end:], variables+len(v.groups)
				continue walk
			}
			if found := v.next.find(outline[end:], variables+len(v.groups), s); found != nil {
				return found
			}
		}
		return nil
	}
}

func segmentEnd(outline string) int {
	for i := 0; i < len(outline); i++ {
		if outline[i] == '/' {
			return i
		}
	}
	return len(outline)
}

// child returns the child whose literal an outline begins with, or nil.
func (n *node) child(outline string) *node {
	first := outline[0]
	for i := range len(n.initials) {
		if n.initials[i] == first {
			child := n.children[i]
			// The commonest literal is a slash.
			if len(child.literal) == 1 || strings.HasPrefix(outline, child.literal) {
				return child
			}
			return nil
		}
	}
	return nil
}

// endpoint returns the endpoint of n for the method, or notes that there is none.
func (s *Search) endpoint(n *node) *Endpoint {
	if len(n.endpoints) == 0 {
		return nil
	}
	found := n.endpoint(s.Method)
	if found == nil && s.Method == http.MethodHead {
		found = n.endpoint(http.MethodGet)
	}
	if found == nil {
		found = n.endpoint("")
	}
	if found == nil {
		s.refused = append(s.refused, n)
	}
	return found
}

func (n *node) endpoint(method string) *Endpoint {
	for i := range n.endpoints {
		if n.endpoints[i].Method == method {
			return &n.endpoints[i]
		}
	}
	return nil
}

// add makes the way for pieces, as far as it does not exist, and returns its end.
func (t *Tree) add(pieces []piece) *node {
	n := &t.root
	for len(pieces) > 0 {
		end := until(pieces, piece.isVariable)
		if end > 0 {
			n = n.addLiteral(join(pieces[:end]))
		} else {
			end = until(pieces, piece.beginsSegment)
			n = t.addVariable(n, pieces[:end])
		}
		pieces = pieces[end:]
	}
	return n
}

func (n *node) addLiteral(text string) *node {
	for text != "" {
		i := strings.IndexByte(n.initials, text[0])
		if i < 0 {
			n.initials += text[:1]
			n.children = append(n.children, &node{literal: text})
			return n.children[len(n.children)-1]
		}
		n.children[i] = n.children[i].split(commonPrefix(n.children[i].literal, text))
		n = n.children[i]
		text = text[len(n.literal):]
	}
	return n
}

// split returns n with a literal cut to length, followed by the rest of n.
func (n *node) split(length int) *node {
	if length == len(n.literal) {
		return n
	}
	head := &node{literal: n.literal[:length], initials: n.literal[length : length+1], children: []*node{n}}
	n.literal = n.literal[length:]
	return head
}

func commonPrefix(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return i
}

func (t *Tree) addVariable(n *node, pieces []piece) *node {
	last := len(pieces)
	for !pieces[last-1].isVariable() {
		last--
	}
	suffix := strings.ReplaceAll(join(pieces[last:]), encodedSlash, "/")
	rank := rankOf(pieces[last-1])
	expression := expressionOf(pieces[:last], rank > segment)
	to := way{n, expression + "/" + suffix}
	if v := t.ways[to]; v != nil {
		return &v.next
	}
	m := t.matchers[expression]
	if m == nil {
		m = newMatcher(pieces[:last], expression)
		t.matchers[expression] = m
	}
	v := &variable{matcher: m, rank: rank, suffix: suffix}
	v.any = suffix == "" && v.isPlain()
	n.variables, t.ways[to] = append(n.variables, v), v
	return &v.next
}
