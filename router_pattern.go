package aerys

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The grammar of patterns, in the notation of the Go specification:
//
//	Pattern  = Path [ "/?" ] .
//	Path     = "/" { Literal | Variable } [ Tail ] .
//	Tail     = "[" ( Literal | Variable ) { Literal | Variable } [ Tail ] "]" .
//	Literal  = byte { byte } .                     // none of {}[]?; %XX is decoded
//	Variable = "{" Name [ ":" Regexp ] "}" .       // no Name twice
//	Name     = letter { letter | digit | "-" } .   // ASCII, _ is a letter
//	Regexp   = char { char } .                     // braces in pairs, or after a \
//
// All tails are closed at the end, so each form that a pattern matches is the
// beginning of a longer one, and one list of pieces cut at several lengths.

// piece is a variable, or a literal with a slash as its first byte at most.
type piece struct{ literal, name, regexp string }

// pattern is what a parser made of a text.
type pattern struct {
	text   string // without the "/?"
	pieces []piece
	cuts   []int // how many of the pieces belong to each form
	slash  bool  // there is a "/?"
}

// form is one of the forms of path that a pattern matches.
type form struct {
	steps    []step
	names    []string
	redirect bool // to the same without its final slash
}

// step is a literal, or all of a segment from its first variable on.
type step struct {
	literal  string
	variable *variable
}

func parsePattern(text string) (*pattern, error) {
	p := new(pattern)
	if p.text, p.slash = strings.CutSuffix(text, "/?"); p.text == "" {
		p.text, p.slash = "/", false
	}
	for at := 0; at < len(p.text); {
		next, err := p.parse(at)
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", at, err)
		}
		at = next
	}
	open := len(p.cuts)
	p.cuts = append(p.cuts, len(p.pieces))
	if open > 0 && !strings.HasSuffix(p.text, strings.Repeat("]", open)) {
		return nil, fmt.Errorf("offset %d: a [ is not closed", len(p.text))
	}
	return p, nil
}

// parse parses what is at an offset, and returns the offset after it.
func (p *pattern) parse(at int) (int, error) {
	switch c := p.text[at]; c {
	case '{':
		return p.variable(at)
	case '[':
		p.cuts = append(p.cuts, len(p.pieces))
		if at+1 < len(p.text) && strings.IndexByte("[]", p.text[at+1]) >= 0 {
			return 0, errors.New("an optional part is empty")
		}
		return at + 1, nil
	case ']':
		if rest := p.text[at:]; strings.Trim(rest, "]") != "" || len(rest) > len(p.cuts) {
			return 0, errors.New("optional parts are closed at the end, by one ] for each [")
		}
		return len(p.text), nil
	case '}', '?':
		return 0, fmt.Errorf("write %%%X for %q; \"/?\" belongs at the end", c, c)
	}
	return p.literal(at)
}

func (p *pattern) literal(at int) (int, error) {
	end := at + 1
	for end < len(p.text) && strings.IndexByte("{}[]?/", p.text[end]) < 0 {
		end++
	}
	literal, err := unescape(p.text[at:end])
	if !utf8.ValidString(literal) {
		err = errors.New("a path is written in UTF-8")
	}
	p.pieces = append(p.pieces, piece{literal: literal})
	return end, err
}

func (p *pattern) variable(at int) (int, error) {
	end := closingBrace(p.text, at)
	if end < 0 {
		return 0, errors.New("the variable has no closing brace")
	}
	name, expression, constrained := strings.Cut(p.text[at+1:end], ":")
	if !constrained {
		expression = "[^/]+"
	}
	if !isName(name) {
		return 0, fmt.Errorf("%q is no name; one has letters, digits, _ and -, a letter first", name)
	}
	if slices.ContainsFunc(p.pieces, func(other piece) bool { return other.name == name }) {
		return 0, fmt.Errorf("there is another variable %q", name)
	}
	if expression == "" {
		return 0, fmt.Errorf("variable %q has an empty regexp", name)
	}
	for _, expression := range []string{expression, "(" + expression + ")"} { // which \Q differs for
		if _, err := regexp.Compile(expression); err != nil {
			return 0, fmt.Errorf("variable %q: %w", name, err)
		}
	}
	p.pieces = append(p.pieces, piece{name: name, regexp: expression})
	return end + 1, nil
}

func isName(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	return name != "" && strings.Trim(name[:1], letters) == "" && strings.Trim(name, letters+"0123456789-") == ""
}

// closingBrace returns the offset of the brace that closes the one at an
// offset, or -1.
func closingBrace(text string, at int) int {
	depth := 0
	for i := at; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

// forms returns all forms of p, the one to redirect to before the one that does.
func (p *pattern) forms() []form {
	var forms []form
	for _, cut := range p.cuts {
		pieces := p.pieces[:cut:cut]
		f := form{steps: steps(pieces)}
		for _, piece := range pieces {
			if piece.isVariable() {
				f.names = append(f.names, piece.name)
			}
		}
		forms = append(forms, f)
		if p.slash && pieces[cut-1].literal != "/" {
			forms = append(forms, form{steps(append(pieces, piece{literal: "/"})), f.names, true})
		}
	}
	return forms
}

// steps joins what belongs together of the pieces.
func steps(pieces []piece) []step {
	var steps []step
	for len(pieces) > 0 {
		var s step
		end := until(pieces, piece.isVariable)
		if end > 0 {
			s.literal = join(pieces[:end])
		} else {
			end = until(pieces, piece.beginsSegment)
			s.variable = newVariable(pieces[:end])
		}
		steps = append(steps, s)
		pieces = pieces[end:]
	}
	return steps
}

func (p piece) isVariable() bool    { return p.name != "" }
func (p piece) beginsSegment() bool { return strings.HasPrefix(p.literal, "/") }

// until returns how many pieces there are before the first that is to stop at.
func until(pieces []piece, stop func(piece) bool) int {
	if i := slices.IndexFunc(pieces, stop); i >= 0 {
		return i
	}
	return len(pieces)
}

func join(literals []piece) (joined string) {
	for _, piece := range literals {
		joined += piece.literal
	}
	return joined
}

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
	v.suffix = join(pieces[last:])
	expression, groups := "", 0
	for _, piece := range pieces[:last] {
		if !piece.isVariable() {
			expression += regexp.QuoteMeta(piece.literal)
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
	if err != nil || group.Op != syntax.OpCapture || group.Sub[0].Op != syntax.OpPlus ||
		group.Sub[0].Sub[0].Op != syntax.OpCharClass {
		return nil
	}
	class := new(byteSet)
	ranges := group.Sub[0].Sub[0].Rune
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
var plain = *byteClass("([^/]+)")

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
