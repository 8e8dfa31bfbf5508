package static

import "aerys/internal/field"

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
		if weight := field.Weight(accept, coding); weight > highest {
			best, highest = representation, weight
		}
	}
	return best
}
