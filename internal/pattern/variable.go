package pattern

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// variable is all of a segment from its first variable on, or all of the path.
type variable struct {
	*matcher
	any    bool // plain and without suffix: all that is not empty
	rank   rank
	suffix string // the literal at the end
	next   node   // what follows
}

// rank is what of the path a variable is for, in the order of trial.
type rank int

const (
	segment rank = iota
	rest         // of the path, slashes included
	below        // a mount
)

func rankOf(last piece) rank {
	switch {
	case last.name == "":
		return below
	case last.slash:
		return rest
	}
	return segment
}

// matcher tells what the values of variables are. Without class and regexp it is
// plain: one value, which is not empty.
type matcher struct {
	class  *byteSet       // the bytes that the one value consists of, or nil
	empty  bool           // the class has the value of none, too
	regexp *regexp.Regexp // of all values, where a class will not do, or nil
	groups []int          // of the regexp, one for each value
}

// newMatcher makes one regexp of variables and what is between them, for that
// divides it among them in linear time, and something faster if it can.
func newMatcher(pieces []piece, expression string) *matcher {
	m := new(matcher)
	groups := 0
	for _, piece := range pieces {
		if piece.isVariable() {
			m.groups = append(m.groups, groups+1)
			groups++
			if piece.parsed != nil {
				groups += piece.parsed.MaxCap()
			}
		}
	}
	if len(pieces) == 1 {
		if m.class, m.empty = byteClass(pieces[0].parsed); m.class != nil || pieces[0].regexp == anySegment {
			return m
		}
	}
	m.regexp = regexp.MustCompile(`\A` + expression + `\z`)
	return m
}

// expressionOf returns the regexp of variables and what is between them, in which
// nothing but the last variable matches a slash if that is for the rest.
func expressionOf(pieces []piece, rest bool) string {
	var expression strings.Builder
	for _, piece := range pieces {
		switch {
		case !piece.isVariable():
			expression.WriteString(regexp.QuoteMeta(strings.ReplaceAll(piece.literal, encodedSlash, "/")))
		case rest && piece.regexp == anySegment:
			expression.WriteString("([^/]+)")
		default:
			expression.WriteString("(" + piece.regexp + ")")
		}
	}
	return expression.String()
}

// byteSet has 1 for each byte that a value may have.
type byteSet [256]byte

func (set *byteSet) matches(value string) bool {
	for i := range len(value) {
		if set[value[i]] == 0 {
			return false
		}
	}
	return true
}

// byteClass returns the bytes of which a regexp matches one or more, or any
// number, or nil if it cannot be said so. Those of runes beyond ASCII go together.
func byteClass(of *syntax.Regexp) (class *byteSet, empty bool) {
	if of == nil || of.Op != syntax.OpPlus && of.Op != syntax.OpStar {
		return nil, false
	}
	ranges := runesOf(of.Sub[0])
	if ranges == nil {
		return nil, false
	}
	class = new(byteSet)
	for i := 0; i < len(ranges); i += 2 {
		low, high := ranges[i], ranges[i+1]
		if high >= utf8.RuneSelf && (low > utf8.RuneSelf || high < unicode.MaxRune) {
			return nil, false
		}
		for b := low; b <= min(high, 255); b++ {
			class[b] = 1
		}
	}
	return class, of.Op == syntax.OpStar
}

// runesOf returns the runes that a regexp matches one of, as ranges, or nil if it
// is for something else.
func runesOf(r *syntax.Regexp) []rune {
	switch r.Op {
	case syntax.OpAnyChar:
		return []rune{0, unicode.MaxRune}
	case syntax.OpAnyCharNotNL:
		return []rune{0, '\n' - 1, '\n' + 1, unicode.MaxRune}
	case syntax.OpCharClass:
		return r.Rune
	}
	return nil
}

// matchesSlash reports whether there is a slash among what a regexp consists of.
func matchesSlash(r *syntax.Regexp) bool {
	if r.Op == syntax.OpLiteral {
		return strings.ContainsRune(string(r.Rune), '/')
	}
	ranges := runesOf(r)
	for i := 0; i < len(ranges); i += 2 {
		if ranges[i] <= '/' && '/' <= ranges[i+1] {
			return true
		}
	}
	for _, part := range r.Sub {
		if matchesSlash(part) {
			return true
		}
	}
	return false
}

// match reports whether a text is one that v stands for, and stores its values.
func (v *variable) match(text string, values []string) bool {
	value, ok := strings.CutSuffix(text, v.suffix)
	values[0] = value
	switch {
	case !ok:
		return false
	case v.class != nil:
		return (value != "" || v.empty) && v.class.matches(value)
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

// compare returns less than 0 if v is tried before other: that of one segment,
// which has the longer literal at its end, or is not plain.
func (v *variable) compare(other *variable) int {
	return cmp.Or(int(v.rank-other.rank), len(other.suffix)-len(v.suffix), v.openness()-other.openness())
}

// openness is 1 for what is plain.
func (v *variable) openness() int {
	if v.isPlain() {
		return 1
	}
	return 0
}

func (v *variable) isPlain() bool { return v.class == nil && v.regexp == nil }
