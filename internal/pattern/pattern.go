// Package pattern finds, for a request's path, the pattern that matches it: text
// in, values out.
package pattern

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
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

// encodedSlash stands in literals and outlines for a %2F, a slash within a
// segment. It is no UTF-8, which the rest of a literal is.
const encodedSlash = "\xff"

// anySegment is the regexp of a variable that has none, and the same as [^/]+,
// with the encoded slashes that a segment may have.
const anySegment = "(?s:.+)"

// piece is a variable, or a literal with a slash as its first byte at most.
type piece struct{ literal, name, regexp string }

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
	literal, err := unescape(p.text[at:end])
	p.pieces = append(p.pieces, piece{literal: literal})
	return end, err
}

// unescape decodes a literal, save for its encoded slashes.
func unescape(escaped string) (string, error) {
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
	if !constrained || expression == "[^/]+" {
		expression = anySegment
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
func (p *Pattern) forms() []form {
	var forms []form
	for _, cut := range p.cuts {
		f := form{pieces: p.pieces[:cut:cut]}
		for _, piece := range f.pieces {
			if piece.isVariable() {
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
