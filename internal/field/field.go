// Package field reads and checks the fields of a header (RFC 9110 §5).
package field

import (
	"iter"
	"strings"
)

// IsToken reports whether s is a token (RFC 9110 §5.6.2), as the name of a field
// and a method are.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0:
			return false
		}
	}
	return s != ""
}

// ValidValue reports whether value has no control characters (RFC 9110 §5.5).
func ValidValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// TrimSpace cuts the optional whitespace around s (RFC 9110 §5.6.3).
func TrimSpace(s string) string { return strings.Trim(s, " \t") }

// Elements are the elements of a list; values are its lines. Empty ones are
// ignored (RFC 9110 §5.6.1.2). What is quoted must not have a comma.
func Elements(values []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, rest := range values {
			for more := true; more; {
				var element string
				element, rest, more = strings.Cut(rest, ",")
				if element = TrimSpace(element); element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// HasToken reports whether the list in values has a token as an element, in
// upper or lower case.
func HasToken(values []string, token string) bool {
	for element := range Elements(values) {
		if equal(element, token) {
			return true
		}
	}
	return false
}

// HasItem is HasToken for elements that may have parameters, whatever those are.
func HasItem(values []string, name string) bool {
	for element := range Elements(values) {
		element, _, _ = strings.Cut(element, ";")
		if equal(TrimSpace(element), name) {
			return true
		}
	}
	return false
}

// equal is strings.EqualFold of ASCII: the lengths differ where that would take
// the Kelvin sign for a k.
func equal(element, token string) bool {
	return len(element) == len(token) && strings.EqualFold(element, token)
}
