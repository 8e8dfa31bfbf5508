// Package pattern finds, for a request's path, the pattern that matches it: text
// in, values out.
package pattern

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// The grammar of patterns, in the notation of the Go specification:
//
//	Pattern  = Path [ "/?" ] .
//	Path     = "/" { Literal | Variable } [ Tail ] .
//	Tail     = "[" ( Literal | Variable ) { Literal | Variable } [ Tail ] "]" .
//	Literal  = byte { byte } .                     // none of {}[]?*, no : after a slash; %XX is decoded
//	Variable = "{" Name [ ":" Regexp ] "}" .       // no Name twice
//	Name     = letter { letter | digit | "-" } .   // ASCII, _ is a letter
//	Regexp   = char { char } .                     // braces in pairs, or after a \
//
// All tails are closed at the end, so each form that a pattern matches is the
// beginning of a longer one, and one list of pieces cut at several lengths. A
// regexp that can match a slash is that of the last variable, which then is for
// the rest of the path: no slash follows.

// encodedSlash stands in literals and outlines for a %2F, a slash within a
// segment. It is no UTF-8, which the rest of a literal is.
const encodedSlash = "\xff"

// anySegment is the regexp of a variable that has none, and the same as [^/]+,
// with the encoded slashes that a segment may have.
const anySegment = "(?s:.+)"

// allBelow is what follows a mount. No regexp that was parsed is spelt so.
var allBelow = func() piece {
	p := piece{regexp: `[\s\S]*`, slash: true}
	p.parsed, _ = syntax.Parse(p.regexp, syntax.Perl)
	return p
}()

// piece is a variable, or a literal with a slash as its first byte at most.
type piece struct {
	literal, name string
	regexp        string         // anySegment, or that of parsed
	parsed        *syntax.Regexp // nil where there is none
	slash         bool           // parsed can match one
}

// Pattern is what Parse made of a text.
type Pattern struct {
	text   string // without the "/?"
	pieces []piece
	cuts   []int // how many of the pieces belong to each form
	slash  bool  // there is a "/?"
}

// form is one of the forms of path that a pattern matches.
type form struct {
	pieces   []piece
	names    []string
	redirect bool // to the same without its final slash
}

// Parse parses a pattern, which begins with a slash. An error names the offset.
func Parse(text string) (*Pattern, error) {
	p := new(Pattern)
	if p.text, p.slash = strings.CutSuffix(text, "/?"); p.text == "" {
		p.text, p.slash = "/", false
	}
	if method, path, ok := strings.Cut(text, " /"); ok && len(method) > 1 && strings.Trim(method[1:], upperCase) == "" {
		return nil, fmt.Errorf("the method is no part of the pattern: write Route(%q, %q, …)", method[1:], "/"+path)
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
	return p, p.checkRest()
}

// checkRest says what is wrong with a variable that could take more than its
// segment of the path.
func (p *Pattern) checkRest() error {
	i := slices.IndexFunc(p.pieces, func(piece piece) bool { return piece.slash })
	if i < 0 {
		return nil
	}
	follows := func(other piece) bool { return other.isVariable() || other.beginsSegment() }
	if p.slash || slices.ContainsFunc(p.pieces[i+1:], follows) {
		return fmt.Errorf("the regexp of %q can match a slash, and so take the rest of the path, but more follows: "+
			"put [^/] for what matches one, such as . or \\D", p.pieces[i].name)
	}
	return nil
}

// ParseMount parses the beginning of all paths that a mount is for. Its pattern
// has one value more than it has names: what follows.
func ParseMount(prefix string) (*Pattern, error) {
	if strings.HasSuffix(prefix, "/*") {
		return nil, errors.New("a mount is for all that is below: leave the * out")
	}
	p, err := Parse(strings.TrimSuffix(prefix, "/") + "/")
	if err != nil {
		return nil, err
	}
	n := len(p.pieces)
	p.pieces = append(p.pieces, allBelow)
	if p.cuts = []int{n + 1}; n > 1 {
		p.cuts = []int{n - 1, n + 1}
	}
	return p, nil
}

// Segments returns how many segments the prefix of a mount has.
func (p *Pattern) Segments() (n int) {
	for _, piece := range p.pieces[:len(p.pieces)-2] { // but for the last slash, and what follows
		if piece.beginsSegment() {
			n++
		}
	}
	return n
}

// parse parses what is at an offset, and returns the offset after it.
func (p *Pattern) parse(at int) (int, error) {
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

func (p *Pattern) literal(at int) (int, error) {
	end := at + 1
	for end < len(p.text) && strings.IndexByte("{}[]?/", p.text[end]) < 0 {
		end++
	}
	if text := p.text[at:end]; strings.HasPrefix(text, "/:") {
		return 0, fmt.Errorf("write {%s} for %q, and %%3A for a colon", namePrefix(text[2:]), text[1:])
	} else if strings.Contains(text, "*") {
		return 0, errors.New("write {path:.+} for the rest of the path, {path:.*} if that may be nothing, and %2A for an asterisk")
	}
	literal, err := unescape(p.text[at:end])
	p.pieces = append(p.pieces, piece{literal: literal})
	return end, err
}

// unescape decodes a literal, save for its encoded slashes.
func unescape(escaped string) (string, error) {
	if isPlainText(escaped) {
		return escaped, nil
	}
	decoded, err := url.PathUnescape(escaped)
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(decoded) {
		return "", errors.New("a path is written in UTF-8")
	}
	return url.PathUnescape(strings.NewReplacer("%2F", encodedSlash, "%2f", encodedSlash).Replace(escaped))
}

func (p *Pattern) variable(at int) (int, error) {
	end := closingBrace(p.text, at)
	if end < 0 {
		return 0, errors.New("the variable has no closing brace")
	}
	name, expression, constrained := strings.Cut(p.text[at+1:end], ":")
	if err := checkName(name); err != nil {
		return 0, err
	}
	if slices.ContainsFunc(p.pieces, func(other piece) bool { return other.name == name }) {
		return 0, fmt.Errorf("there is another variable %q", name)
	}
	added := piece{name: name, regexp: anySegment}
	if constrained && expression != "[^/]+" {
		if err := added.constrain(expression); err != nil {
			return 0, fmt.Errorf("variable %q: %w", name, err)
		}
	}
	p.pieces = append(p.pieces, added)
	return end + 1, nil
}

// constrain gives a variable a regexp, in the spelling that all have that match
// the same.
func (p *piece) constrain(expression string) (err error) {
	if expression == "" {
		return errors.New("its regexp is empty")
	}
	if p.parsed, err = syntax.Parse(expression, syntax.Perl); err != nil {
		return err
	}
	p.regexp, p.slash = p.parsed.String(), matchesSlash(p.parsed)
	return nil
}

// checkName tells what is wrong with the name of a variable.
func checkName(name string) error {
	switch {
	case isName(name):
		return nil
	case strings.HasSuffix(name, "..."):
		return fmt.Errorf("write {%s:.+} for the rest of the path, or {%[1]s:.*} if that may be nothing", strings.TrimSuffix(name, "..."))
	case name == "$":
		return errors.New("leave {$} out: a pattern that ends in a slash matches nothing below it")
	}
	return fmt.Errorf("%q is no name; one has letters, digits, _ and -, a letter first", name)
}

const upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isName(name string) bool {
	const letters = upperCase + "_abcdefghijklmnopqrstuvwxyz"
	return name != "" && strings.Trim(name[:1], letters) == "" && strings.Trim(name, letters+"0123456789-") == ""
}

// namePrefix returns the name that a text begins with, or one that could be meant.
func namePrefix(text string) string {
	end := 0
	for end < len(text) && isName(text[:end+1]) {
		end++
	}
	return cmp.Or(text[:end], "id")
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
func (p *Pattern) forms() []form {
	var forms []form
	for _, cut := range p.cuts {
		f := form{pieces: p.pieces[:cut:cut]}
		for _, piece := range f.pieces {
			if piece.name != "" {
				f.names = append(f.names, piece.name)
			}
		}
		forms = append(forms, f)
		if p.slash && f.pieces[cut-1].literal != "/" {
			forms = append(forms, form{append(f.pieces, piece{literal: "/"}), f.names, true})
		}
	}
	return forms
}

func (p piece) isVariable() bool    { return p.regexp != "" }
func (p piece) beginsSegment() bool { return strings.HasPrefix(p.literal, "/") }

func (p piece) hasEncodedSlash() bool { return strings.Contains(p.literal, encodedSlash) }

// until returns how many pieces there are before the first that is to stop at.
func until(pieces []piece, stop func(piece) bool) int {
	if i := slices.IndexFunc(pieces, stop); i >= 0 {
		return i
	}
	return len(pieces)
}

func join(literals []piece) string {
	if len(literals) == 1 {
		return literals[0].literal
	}
	var joined strings.Builder
	for _, piece := range literals {
		joined.WriteString(piece.literal)
	}
	return joined.String()
}

// isPlainText reports whether a literal is ASCII without any escape.
func isPlainText(literal string) bool {
	for i := range len(literal) {
		if literal[i] == '%' || literal[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
