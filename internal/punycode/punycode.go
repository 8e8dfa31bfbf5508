// Package punycode writes text in the letters, digits and hyphens that a domain
// name may have (RFC 3492).
package punycode

import (
	"strings"
	"unicode/utf8"
)

// The parameters that domain names have (RFC 3492 §5).
const (
	base        = 36
	least       = 1 // tmin
	most        = 26
	skew        = 38
	damp        = 700
	initialBias = 72
)

// Encode encodes a label as in RFC 3492 §6.3, without the "xn--" in front. It has
// to be a label of some length: beyond a thousand runes, numbers overflow on small
// machines.
func Encode(label string) string {
	var encoded strings.Builder
	for _, r := range label {
		if r < utf8.RuneSelf {
			encoded.WriteByte(byte(r))
		}
	}
	basic := encoded.Len()
	if basic > 0 {
		encoded.WriteByte('-')
	}
	delta, bias := 0, initialBias
	for done, from := basic, rune(utf8.RuneSelf); done < utf8.RuneCountInString(label); from++ {
		next := nextRune(label, from)
		delta += int(next-from) * (done + 1)
		from = next
		for _, r := range label {
			if r < from {
				delta++
			}
			if r == from {
				writeNumber(&encoded, delta, bias)
				bias = adapt(delta, done+1, done == basic)
				delta, done = 0, done+1
			}
		}
		delta++
	}
	return encoded.String()
}

// nextRune returns the smallest rune of text that is not below from.
func nextRune(text string, from rune) rune {
	next := rune(utf8.MaxRune)
	for _, r := range text {
		if r >= from {
			next = min(next, r)
		}
	}
	return next
}

// writeNumber writes n in digits whose weights the bias decides (§3.3).
func writeNumber(to *strings.Builder, n, bias int) {
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	for k := base; ; k += base {
		threshold := max(least, min(most, k-bias))
		if n < threshold {
			to.WriteByte(digits[n])
			return
		}
		to.WriteByte(digits[threshold+(n-threshold)%(base-threshold)])
		n = (n - threshold) / (base - threshold)
	}
}

// adapt returns the bias for the number after delta (§3.4).
func adapt(delta, count int, first bool) int {
	if first {
		delta /= damp
	} else {
		delta /= 2
	}
	delta += delta / count
	k := 0
	for ; delta > (base-least)*most/2; k += base {
		delta /= base - least
	}
	return k + (base-least+1)*delta/(delta+skew)
}
