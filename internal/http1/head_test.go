package http1

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// heads says what becomes of a head: the status it is refused with, or 0.
var heads = []struct {
	section string
	head    string
	status  int
}{
	{"RFC 9112 §2.1", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0},
	{"§2.2, lines that end with LF", "GET / HTTP/1.1\nHost: h\n\n", 0},
	{"§2.2, an empty line first", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§2.2, white space behind the request line", "GET / HTTP/1.1\r\n X: a\r\nHost: h\r\n\r\n", 400},
	{"§2.2, a bare CR", "GET / HTTP/1.1\r\nHost: h\r\n\rX: b\r\n\r\n", 400},
	{"§2.2, a bare CR in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400},
	{"§2.3, the next minor version", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 0},
	{"§2.3, two digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400},
	{"§2.3, another major version", "GET / HTTP/3.7\r\nHost: h\r\n\r\n", 505},
	{"§2.3, HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
	{"§2.3, HTTP/0.9", "GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505},
	{"§2.3, lower case", "GET / http/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3, no version", "GET /\r\n\r\n", 400},
	{"§3, two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3, a word more", "GET / HTTP/1.1 x\r\nHost: h\r\n\r\n", 400},
	{"§3.1, any token is a method", "M-SEARCH / HTTP/1.1\r\nHost: h\r\n\r\n", 0},
	{"§3.1, no token", "G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3.2, no Host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"§3.2, no Host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0},
	{"§3.2, an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
	{"§3.2, two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", 400},
	{"§3.2, a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"§3.2, a space in Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"§3.2, an address and a port", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
	{"§3.2.1, no slash", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3.2.1, NUL", "GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3.2.1, DEL", "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 400},
	{"§3.2.2, absolute form", "GET http://other/x HTTP/1.1\r\nHost: h\r\n\r\n", 0},
	{"§3.2.3, authority form", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 0},
	{"§3.2.4, asterisk form", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 0},
	{"§5.1, white space before the colon", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 4\r\n\r\n", 400},
	{"§5.1, white space before the colon", "GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
	{"§5.1, a tab before the colon", "GET / HTTP/1.1\r\nHost: h\r\nX\t: 4\r\n\r\n", 400},
	{"§5.1, a space in a name", "GET / HTTP/1.1\r\nHost: h\r\nX y: a\r\n\r\n", 400},
	{"§5.1, no name", "GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n", 400},
	{"§5.1, no colon", "GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400},
	{"§5.1, no token", "GET / HTTP/1.1\r\nHost: h\r\nX(: a\r\n\r\n", 400},
	{"§5.1, NUL in a name", "GET / HTTP/1.1\r\nHost: h\r\nX\x00: a\r\n\r\n", 400},
	{"§5.2, folding by a space", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400},
	{"§5.2, folding by a tab", "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n", 400},
	{"§5.2, a length that is folded", "GET / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n 4\r\n\r\n", 400},
	{"RFC 9110 §5.5, NUL in a value", "GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n", 400},
	{"RFC 9110 §5.5, bytes beyond ASCII", "GET / HTTP/1.1\r\nHost: h\r\nX: \xff\r\n\r\n", 0},
	{"§6.1, chunked", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
	{"§6.1, in any case", "POST / HTTP/1.1\r\nHost: h\r\ntransfer-ENCODING: ChunkeD \r\n\r\n", 0},
	{"§6.1, twice", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501},
	{"§6.1, not the last", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501},
	{"§6.1, not the only one", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
	{"§6.1, not known", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
	{"§6.1, with a parameter", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", 501},
	{"§6.1, quoted", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 501},
	{"§6.1, empty", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n", 501},
	{"§6.1, a vertical tab", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 501},
	{"§6.1, identity with a length", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 4\r\n\r\n", 501},
	{"§6.1, with a length", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"§6.1, with a length that is none", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: nope\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"§6.1, HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
	{"§6.1, HTTP/1.0, unknown", "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n", 400},
	{"§6.3, two lengths", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 35\r\n\r\n", 400},
	{"§6.3, the same twice", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\ncontent-length: 4\r\n\r\n", 400},
	{"§6.3, a list", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 4\r\n\r\n", 400},
	{"§6.3, a list", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 5\r\n\r\n", 400},
	{"RFC 9110 §8.6, a sign", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\n", 400},
	{"RFC 9110 §8.6, a sign", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -4\r\n\r\n", 400},
	{"RFC 9110 §8.6, empty", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", 400},
	{"RFC 9110 §8.6, hexadecimal", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x4\r\n\r\n", 400},
	{"RFC 9110 §8.6, beyond 64 bits", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 21000000000000000000\r\n\r\n", 400},
	{"RFC 9110 §8.6, 4 modulo 2^64", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551620\r\n\r\n", 400},
	{"RFC 9110 §6.5.1, a length as a trailer", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n", 400},
	{"RFC 9113 §3.4, without the rest of the preface", "PRI * HTTP/2.0\r\n\r\n", 505},
}

func TestHeads(t *testing.T) {
	for _, row := range heads {
		if _, status := parseHead(t, row.head, 100); status != row.status {
			t.Errorf("%s: %q: %d, not %d", row.section, row.head, status, row.status)
		}
	}
}

// parseHead scans a head byte by byte, and at once, and parses it.
func parseHead(t *testing.T, raw string, maxFields int) (*http.Request, int) {
	t.Helper()
	var whole, stepwise head
	found, err := whole.scan([]byte(raw+"more"), maxFields)
	for i := range len(raw) {
		found, err := stepwise.scan([]byte(raw[:i]), maxFields)
		if found && raw[0] != '\r' {
			t.Errorf("%q ends after %d bytes", raw, i)
		}
		if err != nil {
			break
		}
	}
	if err == nil && (!found || whole.next != len(raw)) && raw[0] != '\r' {
		t.Errorf("%q: found %v, at %d", raw, found, whole.next)
	}
	var request *http.Request
	if err == nil {
		request, err = whole.parse(t.Context(), []byte(raw[:whole.next]))
	}
	var refused *Error
	if errors.As(err, &refused) {
		return nil, refused.Status
	}
	if err != nil {
		t.Errorf("%q: %v", raw, err)
	}
	return request, 0
}

func TestFieldsAreCounted(t *testing.T) {
	field := "X: y\r\n"
	for n, status := range map[int]int{9: 0, 10: 431} {
		raw := "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat(field, n) + "\r\n"
		if _, got := parseHead(t, raw, 10); got != status {
			t.Errorf("Host and %d more of 10: %d", n, got)
		}
	}
}

func TestAbsoluteTargetOverridesHost(t *testing.T) { // RFC 9112 §3.2.2
	r, _ := parseHead(t, "GET http://other/x?y HTTP/1.1\r\nHost: h\r\n\r\n", 10)
	if r.Host != "other" || r.URL.Path != "/x" || r.URL.RawQuery != "y" {
		t.Error(r.Host, r.URL)
	}
}

// FuzzHead holds that scanning does not depend on how the bytes come, and that
// what is parsed has no field that net/http's server would refuse.
func FuzzHead(f *testing.F) {
	for _, row := range heads {
		f.Add([]byte(row.head), 7)
	}
	f.Fuzz(func(t *testing.T, raw []byte, cut int) {
		var whole, pieces head
		found, err := whole.scan(raw, 50)
		if cut >= 0 && cut < len(raw) {
			if early, e := pieces.scan(raw[:cut], 50); early || e != nil {
				if early != found || whole != pieces {
					t.Fatalf("%+v, %+v", whole, pieces)
				}
			} else if again, e := pieces.scan(raw, 50); again != found || (e == nil) != (err == nil) || whole != pieces {
				t.Fatalf("%+v, %+v", whole, pieces)
			}
		}
		if !found {
			return
		}
		request, err := whole.parse(t.Context(), raw[:whole.next])
		if err != nil {
			return
		}
		for name, values := range request.Header {
			if !isToken(name) || name == "Host" || name == "Transfer-Encoding" {
				t.Fatalf("field %q", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Fatalf("value %q", v)
				}
			}
		}
	})
}
