package listen

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"aerys/internal/punycode"
)

// ParseName reads a host's name as requests have it, or "*", or that of all hosts
// below another, and behind a colon a port; 0 and "*" are every port.
func ParseName(text string) (name string, port int, err error) {
	name, digits := text, "*"
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		name, digits = text[:i], text[i+1:]
	}
	number, err := strconv.ParseUint(digits, 10, 16)
	if digits != "*" && (err != nil || number == 0) {
		return "", 0, errors.New(`want a port or "*" behind the colon`)
	}
	parent, wild := strings.CutPrefix(name, "*.")
	ascii, ok := toASCII(parent)
	if name != "*" && !ValidName(ascii) || !ok || wild && ascii[0] == '[' || strings.Contains("."+ascii, "..") {
		return "", 0, errors.New(`want a host name, "*.example.com" or "*"`)
	}
	if wild {
		ascii = "*." + ascii
	}
	return CanonicalName(ascii), int(number), nil
}

// ValidName reports whether a name without a port could be in a Host header.
func ValidName(name string) bool {
	if len(name) > 2 && name[0] == '[' && name[len(name)-1] == ']' {
		_, err := netip.ParseAddr(name[1 : len(name)-1])
		return err == nil
	}
	return name != "" && name != "." && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-._") == ""
}

// toASCII writes the labels of a name that are not ASCII as the domain name system
// has them (RFC 5891 §4.4). It does not compose letters, and takes none that are not.
func toASCII(name string) (ascii string, ok bool) {
	labels := strings.Split(name, ".")
	for i, label := range labels {
		if !strings.ContainsFunc(label, isBeyondASCII) {
			continue
		}
		lower := strings.ToLower(label) // that of İ, and of the sign for kelvin, is ASCII
		if strings.IndexFunc(lower, isNoLabel) >= 0 || len(lower) > 4*mostInLabel || !strings.ContainsFunc(lower, isBeyondASCII) {
			return "", false
		}
		if labels[i] = "xn--" + punycode.Encode(lower); len(labels[i]) > mostInLabel {
			return "", false
		}
	}
	return strings.Join(labels, "."), true
}

const mostInLabel = 63 // bytes (RFC 1035 §2.3.4)

func isBeyondASCII(r rune) bool { return r > unicode.MaxASCII }

// isNoLabel reports whether r has no place in a label, should be one with the letter
// before it, or is another form of one, such as that of full width.
func isNoLabel(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.M, unicode.Nd) && r != '-' || 0x300 <= r && r < 0x370 || 0xFB00 <= r && r <= 0xFFFF
}

// CanonicalName turns the value of a Host header into what names are looked up
// by: no port, no final dot, lower case.
func CanonicalName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && host[len(host)-1] != ']' {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Names finds what goes by the name in a Host header, or in SNI. The zero value
// has none.
type Names[T any] struct {
	named map[string]T // by the name; of "*.example.com", by ".example.com"
	wild  bool         // there are such
	all   bool         // there is what goes by all other names
	other T            // that
}

// Add adds what goes by a name that was parsed, and reports whether it is the
// first that does.
func (n *Names[T]) Add(name string, of T) bool {
	if name == "*" {
		first := !n.all
		n.all, n.other = true, of
		return first
	}
	if n.named == nil {
		n.named = make(map[string]T)
	}
	key, wild := strings.CutPrefix(name, "*")
	_, taken := n.named[key]
	n.named[key], n.wild = of, n.wild || wild
	return !taken
}

// mostInName is how long a name may be (RFC 1035 §2.3.4).
const mostInName = 255

// Find returns what goes by a name: by itself, or by the longest that it is below.
func (n *Names[T]) Find(host string) T {
	if len(n.named) == 0 {
		return n.other
	}
	name := CanonicalName(host)
	if found, ok := n.named[name]; ok {
		return found
	}
	for i := 0; n.wild && i < len(name) && len(name) <= mostInName; i++ {
		if name[i] == '.' {
			if found, ok := n.named[name[i:]]; ok {
				return found
			}
		}
	}
	return n.other
}
