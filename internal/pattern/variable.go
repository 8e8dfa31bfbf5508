package pattern

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// variable is all of a segment from its first variable on. Without class and
// regexp it is plain: one value, which is not empty.
type variable struct {
	any    bool           // plain and without suffix: all that is not empty
	key    string         // the same for all that match the same
	class  *byteSet       // the bytes that the one value consists of, or nil
	regexp *regexp.Regexp // of all values, where a class will not do, or nil
	groups []int          // of the regexp, one for each value
	suffix string         // the literal at the end of the segment
	next   node           // what follows the segment
}

// newVariable makes one regexp of the pieces of a segment, for that divides it
// among several variables in linear time, and something faster if it can.
func newVariable(pieces []piece) *variable {
	v := new(variable)
	last := len(pieces)
	for !pieces[last-1].isVariable() {
		last--
	}
	v.suffix = strings.ReplaceAll(join(pieces[last:]), encodedSlash, "/")
	expression, groups := "", 0
	for _, piece := range pieces[:last] {
		if !piece.isVariable() {
			expression += regexp.QuoteMeta(strings.ReplaceAll(piece.literal, encodedSlash, "/"))
			continue
		}
		expression += "(" + piece.regexp + ")"
		v.groups = append(v.groups, groups+1)
		groups += 1 + regexp.MustCompile(piece.regexp).NumSubexp()
	}
	switch v.class = byteClass(expression); {
	case v.class == nil:
		v.regexp = regexp.MustCompile(`\A` + expression + `\z`)
		v.key = expression
	case *v.class == plain:
		v.class = nil
		v.any = v.suffix == ""
	default:
		v.key = string(v.class[:])
	}
	v.key += "/" + v.suffix
	return v
}

// byteSet has 1 for each byte that a value may have.
type byteSet [256]byte

func (set *byteSet) matches(value string) bool {
	for i := range len(value) {
		if set[value[i]] == 0 {
			return false
		}
	}
	return value != ""
}

// byteClass returns the bytes of which expression matches one or more, or nil
// if it cannot be said so. Those of runes beyond ASCII go together.
func byteClass(expression string) *byteSet {
	group, err := syntax.Parse(expression, syntax.Perl)
	if err != nil || group.Op != syntax.OpCapture || group.Sub[0].Op != syntax.OpPlus {
		return nil
	}
	class := new(byteSet)
	var ranges []rune
	switch one := group.Sub[0].Sub[0]; one.Op {
	case syntax.OpAnyChar:
		ranges = []rune{0, unicode.MaxRune}
	case syntax.OpCharClass:
		ranges = one.Rune
	default:
		return nil
	}
	for i := 0; i < len(ranges); i += 2 {
		low, high := ranges[i], ranges[i+1]
		if high >= utf8.RuneSelf && (low > utf8.RuneSelf || high < unicode.MaxRune) {
			return nil
		}
		for b := low; b <= min(high, 255); b++ {
			class[b] = 1
		}
	}
	return class
}

// plain is the class of a variable without a regexp.
var plain = *byteClass("(" + anySegment + ")")

// match reports whether the rest of a segment is one that v stands for, and
// stores its values.
func (v *variable) match(segment string, values []string) bool {
	value, ok := strings.CutSuffix(segment, v.suffix)
	values[0] = value
	switch {
	case !ok:
		return false
	case v.class != nil:
		return v.class.matches(value)
	case v.regexp == nil:
		return value != ""
	case len(v.groups) == 1:
		return v.regexp.MatchString(value)
	}
	found := v.regexp.FindStringSubmatch(value)
	if found == nil {
		return false
	}
	for i, group := range v.groups {
		values[i] = found[group]
	}
	return true
}

// precedes reports whether v is tried before other: that has the longer
// literal at its end, or is not plain.
func (v *variable) precedes(other *variable) bool {
	if len(v.suffix) != len(other.suffix) {
		return len(v.suffix) > len(other.suffix)
	}
	return !v.isPlain() && other.isPlain()
}

func (v *variable) isPlain() bool { return v.class == nil && v.regexp == nil }
