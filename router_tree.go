package aerys

import (
	"net/http"
	"slices"
	"strings"
)

// node is a point in the tree of all routes, in which paths with the same
// beginning share a way: first by literal, then by variable.
type node struct {
	literal   string // that leads here from the parent
	initials  string // the first byte of each child's literal, no two the same
	children  []*node
	variables []*variable // in the order of trial
	endpoints []endpoint  // of the routes that end here, one a method
}

// endpoint is where a route ends.
type endpoint struct {
	method string
	names  []string // of the variables on the way
	route  *route
}

// search is one walk through the tree.
type search struct {
	method  string
	values  []string // of the variables on the way; long enough
	refused []*node  // matched the path, but not the method
}

// find returns where the rest of a path leads from n, which is behind so many
// variables. Since a segment is never divided in two ways, no node is met
// twice, whatever the path.
func (n *node) find(path string, variables int, s *search) *endpoint {
walk:
	for {
		if path == "" {
			if found := s.endpoint(n); found != nil {
				return found
			}
		} else if child := n.child(path); child != nil {
			rest := path[len(child.literal):]
			if len(n.variables) == 0 {
				n, path = child, rest
				continue
			}
			if found := child.find(rest, variables, s); found != nil {
				return found
			}
		}
		for i, v := range n.variables {
			end := segmentEnd(path)
			if v.any {
				if end == 0 {
					continue
				}
				s.values[variables] = path[:end]
			} else if !v.match(path[:end], s.values[variables:]) {
				continue
			}
			if i == len(n.variables)-1 {
				n, path, variables = &v.next, path[end:], variables+len(v.groups)
				continue walk
			}
			if found := v.next.find(path[end:], variables+len(v.groups), s); found != nil {
				return found
			}
		}
		return nil
	}
}

func segmentEnd(path string) int {
	for i := 0; i < len(path); i++ {
		if path[i] == '/' {
			return i
		}
	}
	return len(path)
}

// child returns the child whose literal path begins with, or nil.
func (n *node) child(path string) *node {
	first := path[0]
	for i := range len(n.initials) {
		if n.initials[i] == first {
			child := n.children[i]
			// The commonest literal is a slash.
			if len(child.literal) == 1 || strings.HasPrefix(path, child.literal) {
				return child
			}
			return nil
		}
	}
	return nil
}

// endpoint returns the endpoint of n for the method, or notes that there is none.
func (s *search) endpoint(n *node) *endpoint {
	if len(n.endpoints) == 0 {
		return nil
	}
	found := n.endpoint(s.method)
	if found == nil && s.method == http.MethodHead {
		found = n.endpoint(http.MethodGet)
	}
	if found == nil {
		s.refused = append(s.refused, n)
	}
	return found
}

func (n *node) endpoint(method string) *endpoint {
	for i := range n.endpoints {
		if n.endpoints[i].method == method {
			return &n.endpoints[i]
		}
	}
	return nil
}

// addSteps makes the way for steps, as far as it does not exist, and returns
// its end.
func (n *node) addSteps(steps []step) *node {
	for _, step := range steps {
		if step.variable != nil {
			n = n.addVariable(step.variable)
		} else {
			n = n.addLiteral(step.literal)
		}
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

func (n *node) addVariable(added *variable) *node {
	place := len(n.variables)
	for i, v := range n.variables {
		if v.key == added.key {
			return &v.next
		}
		if place == len(n.variables) && added.precedes(v) {
			place = i
		}
	}
	n.variables = slices.Insert(n.variables, place, added)
	return &added.next
}
