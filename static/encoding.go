package static

import (
	"strconv"
	"strings"
)

// codings are the content codings of precompressed siblings, best first.
var codings = [...]struct{ name, extension string }{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// choose returns the representation that the lists of Accept-Encoding prefer
// (RFC 9110 §12.5.3): the highest weight, then our own order. The uncoded one
// is always acceptable, and the choice of a client that says nothing.
func (r *resource) choose(accept []string) *representation {
	last := len(r.representations) - 1
	best := r.representations[last]
	if last == 0 || len(accept) == 0 {
		return best
	}
	highest := 0
	for _, representation := range r.representations {
		coding := "identity"
		if representation.contentEncoding != nil {
			coding = representation.contentEncoding[0]
		}
		if weight := weight(accept, coding); weight > highest {
			best, highest = representation, weight
		}
	}
	return best
}

// weight returns what the lists say about coding, in thousandths.
func weight(accept []string, coding string) int {
	others := 0
	for _, list := range accept {
		for item := range strings.SplitSeq(list, ",") {
			name, parameters, _ := strings.Cut(item, ";")
			name = strings.Trim(name, " \t")
			if strings.EqualFold(name, coding) || coding == "gzip" && strings.EqualFold(name, "x-gzip") {
				return quality(parameters)
			}
			if name == "*" && coding != "identity" {
				others = quality(parameters)
			}
		}
	}
	return others
}

// quality reads a weight (RFC 9110 §12.4.2); one that is not valid is 0.
func quality(parameter string) int {
	parameter = strings.Trim(parameter, " \t")
	if parameter == "" {
		return 1000
	}
	name, value, _ := strings.Cut(parameter, "=")
	weight, err := strconv.ParseFloat(strings.Trim(value, " \t"), 64)
	if !strings.EqualFold(strings.Trim(name, " \t"), "q") || err != nil || !(weight >= 0 && weight <= 1) {
		return 0
	}
	return int(weight*1000 + 0.5)
}

// lists reports whether the lists of a field contain name, whatever its
// parameters.
func lists(values []string, name string) bool {
	for _, list := range values {
		for item := range strings.SplitSeq(list, ",") {
			item, _, _ = strings.Cut(item, ";")
			if strings.EqualFold(strings.Trim(item, " \t"), name) {
				return true
			}
		}
	}
	return false
}
