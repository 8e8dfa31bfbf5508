package field

import (
	"strings"
	"testing"
)

func TestHasToken(t *testing.T) {
	for _, test := range []struct {
		rule   string
		values []string
		want   bool
	}{
		{"RFC 6455 §4.2.1: ASCII case does not matter", []string{"WebSocket"}, true},
		{"RFC 9110 §5.6.1: an element of a list", []string{"keep-alive, Upgrade,websocket"}, true},
		{"RFC 9110 §5.3: lines of a field are one list", []string{"keep-alive", "websocket"}, true},
		{"RFC 9110 §5.6.1.2: empty elements are ignored", []string{",, \t,websocket,"}, true},
		{"RFC 9110 §5.6.3: spaces and tabs around", []string{" \twebsocket\t "}, true},
		{"no field", nil, false},
		{"an empty field", []string{""}, false},
		{"a part of a token", []string{"websockets", "web socket", "x-websocket"}, false},
		{"RFC 9110 §7.8: a version makes another protocol", []string{"websocket/13"}, false},
		{"the Kelvin sign is no k", []string{"websoc\u212Aet", "web\u017Focket"}, false},
	} {
		if got := HasToken(test.values, "websocket"); got != test.want {
			t.Errorf("%s: %q: got %v", test.rule, test.values, got)
		}
	}
	values := []string{"keep-alive, Upgrade", "a,b,,c, websocket"}
	if n := testing.AllocsPerRun(100, func() { HasToken(values, "Websocket") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestHasItem(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   bool
	}{
		{[]string{"text/html"}, true},
		{[]string{"image/*, Text/HTML ; q=0.5"}, true},
		{[]string{"image/*", "text/html;level=1"}, true},
		{[]string{"text/html5, text/*;text/html"}, false},
		{nil, false},
	} {
		if got := HasItem(test.values, "text/html"); got != test.want {
			t.Errorf("%q: got %v", test.values, got)
		}
	}
}

func TestIsToken(t *testing.T) {
	for c := range 256 {
		want := c > ' ' && c < 0x7f && !strings.ContainsRune(`"(),/:;<=>?@[\]{}`, rune(c))
		if got := IsToken("a" + string([]byte{byte(c)})); got != want {
			t.Errorf("%#x: got %v", c, got)
		}
	}
	if IsToken("") {
		t.Error("nothing is no token")
	}
}

func TestValidValue(t *testing.T) {
	for c := range 256 {
		want := c == '\t' || c >= ' ' && c != 0x7f
		if got := ValidValue("a" + string([]byte{byte(c)})); got != want {
			t.Errorf("%#x: got %v", c, got)
		}
	}
}

func TestWeight(t *testing.T) {
	for _, test := range []struct {
		accept         string
		gzip, identity int // in thousandths
	}{
		{"", 0, 0},
		{"gzip", 1000, 0},
		{"GZIP;q=0.5, identity;q=0.25", 500, 250},
		{"br, x-gzip ; q=0.123", 123, 0},
		{"*", 1000, 0},
		{"*;q=0.1, gzip;q=0", 0, 0},
		{"gzip;q=2", 0, 0},
		{"gzip;q=-1", 0, 0},
		{"gzip;q=NaN", 0, 0},
		{"gzip;level=1", 0, 0},
		{"gzip;q=", 0, 0},
		{"gzip;", 1000, 0},
	} {
		accept := []string{test.accept}
		if gzip, identity := Weight(accept, "gzip"), Weight(accept, "identity"); gzip != test.gzip || identity != test.identity {
			t.Errorf("%q: got %d and %d", test.accept, gzip, identity)
		}
	}
}

func TestWithCharset(t *testing.T) {
	for given, want := range map[string]string{
		"text/plain":                    "text/plain; charset=utf-8",
		"Text/HTML":                     "Text/HTML; charset=utf-8",
		"text/html; level=1":            "text/html; level=1; charset=utf-8",
		"text/html; charset=iso-8859-1": "text/html; charset=iso-8859-1",
		"text/html; Charset=iso-8859-1": "text/html; Charset=iso-8859-1",
		"text/html; charset=":           "text/html",
		"text/event-stream":             "text/event-stream",
		"application/json":              "application/json",
		"":                              "",
	} {
		if got := WithCharset(given, "utf-8"); got != want {
			t.Errorf("%q: got %q", given, got)
		}
	}
}

// RFC 9110 §8.8.3.2.
func TestAnyTag(t *testing.T) {
	for _, test := range []struct {
		list         string
		strong, weak bool
	}{
		{`"a"`, true, true},
		{`W/"a"`, false, true},
		{`"b", W/"c" ,"a"`, true, true},
		{` , "a,b" ,, "a"`, true, true},
		{`"a" ,`, true, true},
		{`"a", b`, true, true},
		{`b, "a"`, false, false},
		{`"b" "a"`, false, false},
		{`"a" "b"`, false, false},
		{`"a"b`, false, false},
		{`W/ "a"`, false, false},
		{`W/"a`, false, false},
		{"*", true, true},
		{`"b", *`, false, false},
		{`"a`, false, false},
		{"a", false, false},
		{`w/"a"`, false, false},
		{"", false, false},
	} {
		strong, weak := AnyTag([]string{test.list}, `"a"`, false), AnyTag([]string{test.list}, `"a"`, true)
		if strong != test.strong || weak != test.weak {
			t.Errorf("%q: got %v and %v", test.list, strong, weak)
		}
	}
}

// RFC 9110 §12.5.1: the more specific range decides, whatever their order.
func TestMediaWeight(t *testing.T) {
	for _, test := range []struct {
		accept, media string
		want          int
	}{
		{"", "text/html", 0},
		{"*/*", "text/html", 0}, // prefers nothing
		{"text/html", "text/html", 1000},
		{"Text/HTML", "text/html", 1000},
		{"text/html;q=0.5", "text/html", 500},
		{"text/html; level=1; q=0.5", "text/html", 500},
		{"text/html;level=1", "text/html", 1000},
		{"text/html;q=0", "text/html", 0},
		{"text/html;q=x", "text/html", 0},
		{"text/*", "text/html", 1000},
		{"text/html;q=0.2, text/*", "text/html", 200},
		{"text/*, text/html;q=0.2", "text/html", 200},
		{"text/plain, application/json", "text/html", 0},
		{"application/json;q=0.9 , text/html ; q=0.1", "application/json", 900},
		{"text/html,,", "text/html", 1000},
		{";q=1", "text/html", 0},
	} {
		if got := MediaWeight([]string{test.accept}, test.media); got != test.want {
			t.Errorf("%q, %s: %d, want %d", test.accept, test.media, got, test.want)
		}
	}
	if got := MediaWeight([]string{"a/b", "text/html;q=0.3"}, "text/html"); got != 300 {
		t.Errorf("two lines: %d", got)
	}
}
