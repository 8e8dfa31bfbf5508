package http1

import (
	"context"
	"flag"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// Execution i of a seed is always the same, so the loop can be stopped, resumed
// and repeated:
//
//	go test ./internal/http1 -run TestPlainHeads -plain.n 100000000
var (
	plainSeed = flag.Uint64("plain.seed", 1, "seed of the comparison with http.ReadRequest")
	plainFrom = flag.Int("plain.from", 0, "its first execution")
	plainN    = flag.Int("plain.n", 50_000, "how many executions")
)

// TestPlainHeads holds that plain makes of each head that it takes what
// http.ReadRequest makes of it.
func TestPlainHeads(t *testing.T) {
	p := parsers.Get().(*parser)
	taken := 0
	for i := *plainFrom; i < *plainFrom+*plainN && !t.Failed(); i++ {
		raw := plainInput(rand.New(rand.NewPCG(*plainSeed, uint64(i))))
		taken += comparePlain(t, p, raw)
		if t.Failed() {
			t.Logf("-plain.seed %d -plain.from %d -plain.n 1", *plainSeed, i)
		}
	}
	t.Logf("%d of %d heads were plain", taken, *plainN)
	if *plainN >= 1000 && taken < *plainN/10 {
		t.Error("hardly any is plain")
	}
}

// comparePlain returns 1 if the head that raw begins with is plain.
func comparePlain(t *testing.T, p *parser, raw string) (taken int) {
	var h head
	whole, err := h.scan([]byte(raw), 50)
	if !whole || err != nil {
		return 0
	}
	ours := h.plain(context.Background(), []byte(raw[:h.next]))
	if ours == nil {
		return 0
	}
	theirs, err := p.parse([]byte(raw[:h.next]))
	if err != nil {
		t.Errorf("%q is refused by http.ReadRequest: %v", raw, err)
		return 1
	}
	if theirs = theirs.WithContext(context.Background()); !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%q\n%+v, %+v\n%+v, %+v", raw, ours, ours.URL, theirs, theirs.URL)
	}
	return 1
}

// plainParts are what heads are made of: those that are plain, and in the end
// those that are not.
var plainParts = struct{ methods, targets, fields []string }{
	methods: []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PRI", "get", ""},
	targets: []string{"/", "/hello", "/a/b-c/d_e.html", "/~user/", "//", "//host/x", "/.", "/../a", "/a//b", "/0123456789/ABC",
		"/?", "/a?b=c", "/a%20b", "/a%2Fb", "/a+b", "/a;b", "/a:b", "/ä", "*", "", "a", "http://h/", "h:443", "/#", "/ x", "/\x00", "/\x7f"},
	fields: []string{"User-Agent: curl/8.5.0", "Accept: */*", "accept-encoding: gzip, deflate, br", "X-A: b", "x-a: c", "X-A: b, c", "COOKIE: a=b; c=d",
		"Connection: keep-alive", "Connection: close", "connection: Close", "Connection: Upgrade", "Content-Length: 0", "Content-Length: 14",
		"content-length: 007", "Content-Type: application/json", "Cache-Control: no-cache", "If-None-Match: \"a\"", "Expect: 100-continue",
		"Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "!#$%&'*+-.^_`|~: a", "1: 2", "-: -", "A-: -a",
		"Host: h", "Host: example.com:80", "host: [::1]:80", "Host: H", "Host: a/b", "Host:",
		"Connection: keep-alive, close", "Connection: ", "Connection: close,", "Connection: Keep-Alive, Upgrade", "Content-Length: 9999999999",
		"Content-Length: +1", "Content-Length: ", "Content-Length: 1 1", "Content-Length: 0x1", "Content-Length: 1_0", "Content-Length: -0",
		"Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Pragma: no-cache", "pragma: x", "Trailer: X", "X:", "X: ", "X:a", "X:  a", "X: a ",
		"X: a\tb", "X: \ta", "X : a", " X: a", ": a", "X", "X: ä", "X: \x00", "X: \x7f", "X: a\rb", "X: a\n b", "X\x00: a", "X(: a", "Ä: a", "X: a: b"},
}

// plainInput makes a head of parts, of which few are not plain, and sometimes
// changes a byte.
func plainInput(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString(plainPart(r, plainParts.methods, 7) + " " + plainPart(r, plainParts.targets, 10))
	b.WriteString(plainPart(r, []string{" HTTP/1.1", " HTTP/1.0", " HTTP/1.2", " HTTP/2.0", " http/1.1", "", "  HTTP/1.1"}, 1) + plainEnd(r))
	host := r.IntN(4)
	for i := range 1 + r.IntN(8) {
		if i == host {
			b.WriteString("Host: localhost:8080" + plainEnd(r))
			continue
		}
		b.WriteString(plainPart(r, plainParts.fields, 24) + plainEnd(r))
	}
	b.WriteString(plainEnd(r))
	raw := []byte(b.String())
	if r.IntN(4) == 0 {
		raw[r.IntN(len(raw))] = byte(r.IntN(256))
	}
	return string(raw)
}

// plainPart is mostly one of the first parts.
func plainPart(r *rand.Rand, parts []string, plain int) string {
	if r.IntN(30) > 0 {
		return parts[r.IntN(plain)]
	}
	return parts[r.IntN(len(parts))]
}

func plainEnd(r *rand.Rand) string {
	if r.IntN(60) > 0 {
		return "\r\n"
	}
	return []string{"\n", "\r", "", "\r\r\n", "\r\n "}[r.IntN(5)]
}

// TestPlainHead says which heads are plain.
func TestPlainHead(t *testing.T) {
	for _, row := range []struct {
		head  string
		plain bool
	}{
		{hello, true},
		{"GET /a/b-c_d.e~ HTTP/1.1\r\nHost: h\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true},
		{"GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", plainSize) + "\r\n\r\n", false},
		{"GET /?a HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"GET /%41 HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"GET / HTTP/1.0\r\nHost: h\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: h\nX: a\r\n\r\n", false},
		{"GET / HTTP/1.1\r\n\r\n", false},
		{"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n", false},
		{"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", false},
		{"GET / HTTP/1.1\r\nHost: h\r\nPragma: no-cache\r\n\r\n", false},
	} {
		if got := comparePlain(t, parsers.New().(*parser), row.head) == 1; got != row.plain {
			t.Errorf("%.100q: %v", row.head, got)
		}
	}
}

func BenchmarkHead(b *testing.B) {
	for name, parse := range map[string]func(h *head, p *parser) *http.Request{
		"plain": func(h *head, _ *parser) *http.Request { return h.plain(b.Context(), []byte(hello)) },
		"http.ReadRequest": func(_ *head, p *parser) *http.Request {
			r, _ := p.parse([]byte(hello))
			return r.WithContext(b.Context())
		},
	} {
		b.Run(name, func(b *testing.B) {
			var h head
			h.scan([]byte(hello), 50)
			p := parsers.New().(*parser)
			b.ReportAllocs()
			for range b.N {
				parse(&h, p)
			}
		})
	}
}
