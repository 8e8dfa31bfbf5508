package deflate

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// describe writes extensions as briefly as a header may.
func describe(list []extension) string {
	var elements []string
	for _, e := range list {
		s := e.name
		for _, p := range e.params {
			s += ";" + p.name
			if p.value != "" {
				s += "=" + p.value
			}
		}
		elements = append(elements, s)
	}
	return strings.Join(elements, ",")
}

func TestParseExtensions(t *testing.T) {
	const refused = "refused"
	for _, test := range []struct {
		rule   string
		values []string
		want   string
	}{
		{"RFC 6455 §9.1: an example", []string{"foo, bar; baz=2"}, "foo,bar;baz=2"},
		{"RFC 6455 §9.1: lines are one list", []string{"foo", "bar; baz=2"}, "foo,bar;baz=2"},
		{"RFC 6455 §9.1: several parameters", []string{"x; y=1 ;z\t; y=2"}, "x;y=1;z;y=2"},
		{"RFC 6455 §9.1: a quoted token", []string{`x;y="10"`}, "x;y=10"},
		{"RFC 9110 §5.6.4: a quoted pair", []string{`x;y="1\0"`}, "x;y=10"},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="1 0"`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y=""`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="a,b"`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="a\,b"`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="a;b"`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="a\\b"`}, refused},
		{"RFC 6455 §9.1: what is quoted is a token", []string{`x;y="a"b"`}, refused},
		{"RFC 9110 §5.6.4: a quote that does not end", []string{`x;y="`}, refused},
		{"RFC 9110 §5.6.4: a quote that does not end", []string{`x;y="a`}, refused},
		{"RFC 9110 §5.6.4: a quote that does not end", []string{`x;y="a\"`}, refused},
		{"RFC 9110 §5.6.4: something behind a quote", []string{`x;y="a"b`}, refused},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", []string{"", ", foo ,,", " "}, "foo"},
		{"RFC 2616 §2.1: spaces around the equals sign", []string{"x;y = 1", "x ; y\t=\t\"1\" ; z"}, "x;y=1,x;y=1;z"},
		{"RFC 2616 §2.1: spaces, but no value", []string{"x; y = "}, refused},
		{"RFC 2616 §2.1: no spaces within a token", []string{"x; y = 1 0"}, refused},
		{"RFC 6455 §9.1: a value is not empty", []string{"x;y="}, refused},
		{"RFC 6455 §9.1: one value", []string{"x;y=1=2"}, refused},
		{"RFC 6455 §9.1: a parameter has a name", []string{"x;=1"}, refused},
		{"RFC 6455 §9.1: a parameter is not empty", []string{"x;"}, refused},
		{"RFC 6455 §9.1: a parameter is not empty", []string{"x;;y"}, refused},
		{"RFC 6455 §9.1: an extension has a name", []string{";y"}, refused},
		{"RFC 6455 §9.1: an extension has no value", []string{"x=1"}, refused},
		{"RFC 9110 §5.6.2: tokens", []string{"x y"}, refused},
		{"RFC 9110 §5.6.2: tokens", []string{"\x80\xff"}, refused},
		{"RFC 9110 §5.6.2: tokens", []string{"x;y\x00"}, refused},
		{"RFC 9110 §5.6.3: only spaces and tabs", []string{"x\r\n;y"}, refused},
		{"one fault refuses all", []string{"foo, bar", "(", "baz"}, refused},
	} {
		list, ok := parseExtensions(test.values)
		got := describe(list)
		if !ok {
			got = refused
		}
		if got != test.want {
			t.Errorf("%s: %q: got %q, want %q", test.rule, test.values, got, test.want)
		}
	}
}

// TestParserIsLinear gives the parser much of what made others quadratic. A
// quadratic one takes minutes, so the bound need not be tight.
func TestParserIsLinear(t *testing.T) {
	const n = 1 << 18
	var distinct strings.Builder
	for i := range n / 8 {
		fmt.Fprintf(&distinct, "%x,", i)
	}
	start := time.Now()
	for _, value := range []string{
		"b" + strings.Repeat(" ", n) + "x", // CVE-2021-32640
		strings.Repeat("b ", n), strings.Repeat(",", n), strings.Repeat(";", n), strings.Repeat("b,", n),
		"b" + strings.Repeat(";c", n), "b;c=\"" + strings.Repeat(`\c`, n), "b;c=" + strings.Repeat(`"`, n),
		distinct.String() + "x", strings.Repeat("permessage-deflate;server_max_window_bits=7,", n/64),
	} {
		Accept([]string{value}, true)
	}
	if elapsed := time.Since(start); elapsed > 30*time.Second {
		t.Errorf("took %v", elapsed)
	}
}

func TestAccept(t *testing.T) {
	const none = ""
	const answer = "permessage-deflate; server_no_context_takeover"
	for _, test := range []struct {
		rule   string
		offers string
		want   string // without context takeover
		window int
	}{
		{"RFC 7692 §7.1.3: the simplest offer", "permessage-deflate", answer, 15},
		{"RFC 7692 §7.1.1.1", "permessage-deflate; server_no_context_takeover", answer, 15},
		{"RFC 7692 §7.1.1.2", "permessage-deflate; client_no_context_takeover", answer, 15},
		{"RFC 7692 §7.1.2.2: with no value, as browsers offer it", "permessage-deflate; client_max_window_bits", answer, 15},
		{"RFC 7692 §7.1.2.2: with a value", "permessage-deflate; client_max_window_bits=8", answer, 15},
		{"RFC 7692 §7.1.2.1: answered with the same value", "permessage-deflate; server_max_window_bits=15", answer + "; server_max_window_bits=15", 15},
		{"RFC 7692 §7.1.2.1: answered with the same value", "permessage-deflate; server_max_window_bits=8", answer + "; server_max_window_bits=8", 8},
		{"RFC 2616 §2.1: spaces around the equals sign", "permessage-deflate; server_max_window_bits = 10", answer + "; server_max_window_bits=10", 10},
		{"RFC 6455 §9.1: quoted", `permessage-deflate; server_max_window_bits="12"`, answer + "; server_max_window_bits=12", 12},
		{"RFC 6455 §9.1: quoted, with spaces", `permessage-deflate ; server_max_window_bits= "10" ;client_max_window_bits`, answer + "; server_max_window_bits=10", 10},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", ", permessage-deflate,", answer, 15},
		{"RFC 7692 §7.1.3: the first is preferred", "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits",
			answer + "; server_max_window_bits=10", 10},

		{"RFC 7692 §7.1.2.1: 8 to 15", "permessage-deflate; server_max_window_bits=7", none, 0},
		{"RFC 7692 §7.1.2.1: 8 to 15", "permessage-deflate; server_max_window_bits=16", none, 0},
		{"RFC 7692 §7.1.2.1: a number", "permessage-deflate; server_max_window_bits=x", none, 0},
		{"RFC 7692 §7.1.2.1: a number", "permessage-deflate; server_max_window_bits=+9", none, 0},
		{"RFC 7692 §7.1.2.1: no leading zeros", "permessage-deflate; server_max_window_bits=08", none, 0},
		{"RFC 7692 §7.1.2.1: a value", "permessage-deflate; server_max_window_bits", none, 0},
		{"RFC 7692 §7.1.2.2: 8 to 15", "permessage-deflate; client_max_window_bits=7", none, 0},
		{"RFC 7692 §7.1.2.2: 8 to 15", "permessage-deflate; client_max_window_bits=16", none, 0},
		{"RFC 7692 §7.1.2.2: no leading zeros", "permessage-deflate; client_max_window_bits=015", none, 0},
		{"RFC 7692 §7.1.1: no value", "permessage-deflate; server_no_context_takeover=1", none, 0},
		{"RFC 7692 §7.1.1: no value", "permessage-deflate; client_no_context_takeover=1", none, 0},
		{"RFC 7692 §7: no unknown parameter", "permessage-deflate; level=9", none, 0},
		{"RFC 7692 §7: none twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", none, 0},
		{"RFC 7692 §7: none twice", "permessage-deflate; client_no_context_takeover; client_no_context_takeover", none, 0},
		{"RFC 7692 §7: none twice", "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15", none, 0},
		{"RFC 7692 §7: none twice", "permessage-deflate; client_max_window_bits; client_max_window_bits=15", none, 0},
		{"RFC 6455 §9.1: names are case-sensitive", "PERMESSAGE-DEFLATE", none, 0},
		{"RFC 6455 §9.1: another extension", "x-webkit-deflate-frame", none, 0},
		{"RFC 6455 §9.1: no extension", "", none, 0},
		{"RFC 7692 §5: after one declined, the next", "permessage-deflate; server_max_window_bits=7, foo, permessage-deflate; server_max_window_bits=9",
			answer + "; server_max_window_bits=9", 9},
	} {
		want := test.want
		if want != none {
			want += "; client_no_context_takeover"
		}
		p, got, ok := Accept([]string{test.offers}, false)
		if got != want || !ok || p.Enabled() != (want != none) || p.Takeover() || int(p&windowBits) != test.window {
			t.Errorf("%s: %q: got %q, %x, %v, want %q", test.rule, test.offers, got, p, ok, want)
		}
	}
}

func TestAcceptWithTakeover(t *testing.T) {
	for _, test := range []struct {
		rule, offer, want string
		takeover          bool
	}{
		{"RFC 7692 §7.1.1.2: nothing in the answer forbids it", "permessage-deflate", "permessage-deflate; server_no_context_takeover", true},
		{"RFC 7692 §7.1.1.2: the client will not make use of it", "permessage-deflate; client_no_context_takeover",
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover", false},
	} {
		p, answer, ok := Accept([]string{test.offer}, true)
		if !ok || answer != test.want || p.Takeover() != test.takeover {
			t.Errorf("%s: got %q, %x, %v", test.rule, answer, p, ok)
		}
	}
}

func TestCheckAnswer(t *testing.T) {
	const refused = Terms(0xFF)
	for _, test := range []struct {
		rule, answer string
		want         Terms
	}{
		{"RFC 7692 §5.1: declined", "", 0},
		{"RFC 7692 §7.1.1.1: accepted as it was offered", "permessage-deflate; server_no_context_takeover", 15},
		{"RFC 7692 §7.1.1.1: the server may refer to its messages", "permessage-deflate", 15 | takeover},
		{"RFC 7692 §7.1.1.2: as we do anyway", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", 15},
		{"RFC 7692 §7.1.2.1: any window can be inflated", "permessage-deflate; server_no_context_takeover; server_max_window_bits=8", 15},
		{"RFC 7692 §7.1.2.2: our window", "permessage-deflate; server_no_context_takeover; client_max_window_bits=10", 10},
		{"RFC 7692 §7.1.2.2: a value", "permessage-deflate; client_max_window_bits", refused},
		{"RFC 7692 §7.1.2.2: 8 to 15", "permessage-deflate; client_max_window_bits=16", refused},
		{"RFC 7692 §7: no unknown parameter", "permessage-deflate; level=9", refused},
		{"RFC 7692 §7: none twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", refused},
		{"RFC 6455 §4.1: not offered", "foo", refused},
		{"RFC 6455 §4.1: not offered", "permessage-deflate, foo", refused},
		{"RFC 6455 §4.1: offered once", "permessage-deflate, permessage-deflate", refused},
		{"RFC 6455 §9.1: malformed", "permessage-deflate;;", refused},
	} {
		got, err := CheckAnswer([]string{test.answer}, true)
		if err != nil {
			got |= refused
		}
		if got != test.want {
			t.Errorf("%s: %q: got %x, %v", test.rule, test.answer, got, err)
		}
	}
}

func TestOfferIsAccepted(t *testing.T) {
	_, answer, ok := Accept([]string{Offer}, true)
	p, err := CheckAnswer([]string{answer}, true)
	if !ok || err != nil || p != 15 {
		t.Errorf("answer %q: %x, %v", answer, p, err)
	}
	if _, err := CheckAnswer([]string{answer}, false); err == nil {
		t.Error("accepted though nothing was offered")
	}
}

// TestFits: no more is compressed than the peer's window takes (RFC 7692 §7.1.2).
func TestFits(t *testing.T) {
	for _, test := range []struct {
		params Terms
		size   int
		want   bool
	}{
		{0, 0, false}, {0, 1, false},
		{8, 256, true}, {8, 257, false},
		{14 | takeover, 16384, true}, {14 | takeover, 16385, false},
		{15, 1 << 30, true}, {15 | takeover, 1 << 30, true},
	} {
		if got := test.params.Fits(test.size); got != test.want {
			t.Errorf("%x, %d bytes: got %v", test.params, test.size, got)
		}
	}
}

// The grammar of RFC 9110 §5.6 for what Sec-WebSocket-Extensions lists
// (RFC 6455 §9.1).
const (
	tchar         = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]"
	ows           = `[ \t]*`
	extensionRule = tchar + `+(?:` + ows + `;` + ows + tchar + `+(?:` + ows + `=` + ows + `(?:` + tchar + `+|"(?:\\?` + tchar + `)+"))?)*`
)

func FuzzExtensions(f *testing.F) {
	for _, value := range []string{
		"foo, bar; baz=2", `x;y="1\0"`, "permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate",
		Offer, "\x80\xff", "b    x", `x;y="a\"`, "a,,b ;c\t", "permessage-deflate;server_no_context_takeover;server_max_window_bits=08",
	} {
		f.Add(value, "permessage-deflate")
	}
	grammar := regexp.MustCompile(`\A` + ows + `(?:` + extensionRule + `)?` + ows + `(?:,` + ows + `(?:` + extensionRule + `)?` + ows + `)*\z`)
	f.Fuzz(func(t *testing.T, line, second string) {
		list, ok := parseExtensions([]string{line, second})
		if want := grammar.MatchString(line) && grammar.MatchString(second); ok != want {
			t.Errorf("%q, %q: %v, %v; want %v", line, second, list, ok, want)
		}
		if !ok {
			return
		}
		if again, ok := parseExtensions([]string{describe(list)}); !ok || !reflect.DeepEqual(again, list) {
			t.Errorf("%q: extensions %v, read again %v", line, list, again)
		}
		for _, takeover := range []bool{false, true} {
			p, answer, ok := Accept([]string{line, second}, takeover)
			got, err := CheckAnswer([]string{answer}, true)
			if err != nil || !ok || p.Enabled() != (answer != "") || got.Enabled() != p.Enabled() {
				t.Errorf("%q: answer %q, %x, %v", line, answer, p, err)
			}
		}
	})
}
