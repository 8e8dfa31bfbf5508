package ws

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"aerys/internal/field"
)

func TestParseTokens(t *testing.T) {
	for _, test := range []struct {
		rule   string
		values []string
		want   []string // nil: refused
	}{
		{"RFC 6455 §11.3.4: in order of preference", []string{"chat, superchat"}, []string{"chat", "superchat"}},
		{"RFC 6455 §11.3.4: may come in several lines", []string{"a ,\tb", "c"}, []string{"a", "b", "c"}},
		{"RFC 9110 §5.6.2: every character of a token", []string{"!#$%&'*+-.^_`|~09azAZ"}, []string{"!#$%&'*+-.^_`|~09azAZ"}},
		{"case makes a difference", []string{"a,A"}, []string{"a", "A"}},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", []string{"a,,b"}, []string{"a", "b"}},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", []string{"", " , a\t,", ""}, []string{"a"}},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", []string{""}, []string{}},
		{"RFC 6455 §4.1: unique", []string{"a,b,a"}, nil},
		{"RFC 6455 §4.1: unique", []string{"a", "a"}, nil},
		{"RFC 6455 §4.1: no bytes above U+007E", []string{"\x80\xff"}, nil},
		{"RFC 6455 §4.1: no bytes below U+0021", []string{"a\x00"}, nil},
		{"RFC 6455 §4.1: no DEL", []string{"a\x7f"}, nil},
		{"RFC 6455 §4.1: no separators", []string{"a b"}, nil},
		{"RFC 6455 §4.1: no separators", []string{"a/1"}, nil},
		{"RFC 6455 §4.1: no separators", []string{`"a"`}, nil},
	} {
		got, ok := parseTokens(test.values)
		if ok != (test.want != nil) || ok && !slices.Equal(got, test.want) {
			t.Errorf("%s: %q: got %q, %v", test.rule, test.values, got, ok)
		}
	}
}

// A list of subprotocols is read in a time that grows with its length. If it grew
// with its square it would take minutes, so the bound need not be tight.
func TestParseTokensIsLinear(t *testing.T) {
	const n = 1 << 18
	var distinct strings.Builder
	for i := range n / 8 {
		fmt.Fprintf(&distinct, "%x,", i)
	}
	start := time.Now()
	for _, value := range []string{
		"b" + strings.Repeat(" ", n) + "x", // CVE-2021-32640
		strings.Repeat("b ", n), strings.Repeat(",", n), strings.Repeat("b,", n), distinct.String() + "x",
	} {
		parseTokens([]string{value})
		field.HasToken([]string{value}, "websocket")
	}
	if elapsed := time.Since(start); elapsed > 30*time.Second {
		t.Errorf("took %v", elapsed)
	}
}

func FuzzSubprotocols(f *testing.F) {
	for _, value := range []string{"chat", "chat, superchat", "chat,chat", "a,", "", "a b", "\x80\xff", "v1.x , \tWebSocket"} {
		f.Add(value, "chat")
	}
	token := regexp.MustCompile("\\A[!#$%&'*+\\-.^_`|~0-9A-Za-z]+\\z")
	f.Fuzz(func(t *testing.T, line, second string) {
		ok, seen := true, []string{}
		for _, element := range strings.Split(line+","+second, ",") {
			if element = strings.Trim(element, " \t"); element == "" {
				continue
			}
			ok = ok && token.MatchString(element) && !slices.Contains(seen, element)
			seen = append(seen, element)
		}
		if tokens, got := parseTokens([]string{line, second}); got != ok || got && !slices.Equal(tokens, seen) {
			t.Errorf("%q, %q: %q, %v; want %q, %v", line, second, tokens, got, seen, ok)
		}
		has := slices.ContainsFunc(seen, func(element string) bool {
			return len(element) == 9 && strings.ToLower(element) == "websocket"
		})
		if got := field.HasToken([]string{line, second}, "websocket"); got != has {
			t.Errorf("%q, %q: %v, want %v", line, second, got, has)
		}
	})
}
