package aerys

import (
	"bufio"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// compressible is the length from which bodies are compressed.
const compressible = 860

func gunzip(t *testing.T, body io.Reader) string {
	t.Helper()
	reader, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// TestCompression has which bodies are compressed: the default case is, and
// each row says what keeps it from being.
func TestCompression(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)[:compressible]
	fields := func(pairs ...string) func(*Request, *Response) {
		return func(_ *Request, r *Response) {
			for i := 0; i < len(pairs); i += 2 {
				r.SetHeader(pairs[i], pairs[i+1])
			}
			r.End(body)
		}
	}
	const gzipped, varies, plain = "gzip", "plain, but varies", "plain"
	for _, test := range []struct {
		name    string
		action  func(*Request, *Response)
		accept  string
		options Options
		want    string
	}{
		{"the default type", fields(), "gzip", Options{}, gzipped},
		{"switched off", fields(), "gzip", Options{DisableCompression: true}, plain},
		{"too short", func(_ *Request, r *Response) { r.End(body[1:]) }, "gzip", Options{}, plain},
		{"of undecided length", func(_ *Request, r *Response) { r.WriteString("short"); r.Flush() }, "gzip", Options{}, gzipped},
		{"more than is held back", func(_ *Request, r *Response) { r.WriteString(body); r.WriteString(body) }, "gzip", Options{OutputBufferSize: 1000}, gzipped},
		{"End with more than is held back", func(_ *Request, r *Response) { r.End(body) }, "gzip", Options{OutputBufferSize: 100}, gzipped},
		{"declared as short", func(_ *Request, r *Response) { r.SetHeader("Content-Length", "5").Flush(); r.End("short") }, "gzip", Options{}, plain},
		{"declared as long", func(_ *Request, r *Response) { r.SetHeader("Content-Length", "860").Flush(); r.End(body) }, "gzip", Options{}, gzipped},
		{"text/css", fields("Content-Type", "text/css"), "gzip", Options{}, gzipped},
		{"JSON", fields("Content-Type", "application/json"), "gzip", Options{}, gzipped},
		{"JSON of some kind", fields("Content-Type", "application/ld+json; a=b"), "gzip", Options{}, gzipped},
		{"XML", fields("Content-Type", "Application/XML"), "gzip", Options{}, gzipped},
		{"SVG", fields("Content-Type", "image/svg+xml"), "gzip", Options{}, gzipped},
		{"JavaScript", fields("Content-Type", "application/javascript"), "gzip", Options{}, gzipped},
		{"PNG", fields("Content-Type", "image/png"), "gzip", Options{}, plain},
		{"not XML", fields("Content-Type", "application/xmlx"), "gzip", Options{}, plain},
		{"server-sent events", fields("Content-Type", "text/event-stream"), "gzip", Options{}, plain},
		{"no type", func(_ *Request, r *Response) { r.Header()["Content-Type"] = nil; r.End(body) }, "gzip", Options{}, plain},
		{"encoded already", fields("Content-Encoding", "br"), "gzip", Options{}, plain},
		{"a range", func(_ *Request, r *Response) { r.SetStatus(206).SetHeader("Content-Range", "bytes 0-859/9").End(body) }, "gzip", Options{}, plain},
		{"many ranges", func(_ *Request, r *Response) { r.SetStatus(206).End(body) }, "gzip", Options{}, plain},
		{"not to be transformed", fields("Cache-Control", "public, no-transform"), "gzip", Options{}, plain},
		{"an error page", func(_ *Request, r *Response) { r.SetStatus(500).End(body) }, "gzip", Options{}, gzipped},

		// Accept-Encoding, RFC 9110 §12.5.3
		{"no header", fields(), "", Options{}, varies},
		{"others only", fields(), "br, deflate", Options{}, varies},
		{"in a list", fields(), "br, GZIP ;q=0.5,deflate", Options{}, gzipped},
		{"the old name", fields(), "x-gzip", Options{}, gzipped},
		{"excluded", fields(), "gzip;q=0, *", Options{}, varies},
		{"by wildcard", fields(), "br, *;q=0.1", Options{}, gzipped},
		{"wildcard excluded", fields(), "*;q=0", Options{}, varies},
		{"plain is liked better", fields(), "gzip;q=0.5, identity", Options{}, varies},
		{"plain is liked less", fields(), "gzip, identity;q=0.5", Options{}, gzipped},
		{"weights that make no sense", fields(), "gzip;q=x, gzip;v=1, gzip;q=2, gzip;q=NaN", Options{}, varies},
	} {
		server := serveExchange(t, test.options, test.action)
		var request []string
		if test.accept != "" {
			request = append(request, "Accept-Encoding: "+test.accept)
		}
		response, got := server.get(t, request...)
		result := plain
		switch {
		case response.Header.Get("Content-Encoding") == "gzip":
			result, got = gzipped, gunzip(t, strings.NewReader(got))
			if response.Header.Get("Vary") != "Accept-Encoding" {
				t.Error(test.name, "Vary:", response.Header["Vary"])
			}
		case response.Header["Vary"] != nil:
			result = varies
		}
		if result != test.want || !strings.HasPrefix(body+body, got) && !strings.Contains(test.name, "short") && got != "short" || got == "" {
			t.Errorf("%s: %s, want %s; %.50q", test.name, result, test.want, got)
		}
	}
}

func TestCompressedHeader(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)
	for _, test := range []struct{ name, value, want string }{
		{"Etag", `"a"`, `W/"a"`},
		{"Etag", `W/"a"`, `W/"a"`},
		{"Accept-Ranges", "bytes", ""},
		{"Vary", "Cookie", "Cookie, Accept-Encoding"},
		{"Vary", "Cookie, accept-encoding", "Cookie, accept-encoding"},
		{"Vary", "*", "*"},
		{"Content-Length", "2100", "by net/http"},
	} {
		server := serveExchange(t, Options{}, func(_ *Request, r *Response) { r.SetHeader(test.name, test.value).End(body) })
		response, compressed := server.get(t, "Accept-Encoding: gzip")
		if got := strings.Join(response.Header[test.name], ", "); got != test.want && test.name != "Content-Length" {
			t.Errorf("%s: %q became %q, want %q", test.name, test.value, got, test.want)
		}
		if response.ContentLength != int64(len(compressed)) || gunzip(t, strings.NewReader(compressed)) != body {
			t.Error(test.name, response.ContentLength, len(compressed))
		}
	}
}

// TestCompressedHead: HEAD tells the same as GET, whether the action writes the
// body or only declares its length.
func TestCompressedHead(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)
	for _, test := range []struct {
		action func(*Request, *Response)
		length bool // that of the compressed body is told
	}{
		{func(_ *Request, r *Response) { r.End(body) }, true},
		{func(q *Request, r *Response) {
			r.SetHeader("Content-Length", "2100")
			if q.Method != "HEAD" {
				r.WriteString(body)
			}
			r.End()
		}, false},
	} {
		server := serveExchange(t, Options{}, test.action)
		get := server.raw(t, "GET / HTTP/1.1\nAccept-Encoding: gzip", "")
		get = get[:strings.Index(get, "\r\n\r\n")+4]
		head := server.raw(t, "HEAD / HTTP/1.1\nAccept-Encoding: gzip", "")
		if !test.length { // may be left out, RFC 9110 §8.6
			get = regexp.MustCompile("Content-Length: .*\r\n").ReplaceAllString(get, "")
		}
		if head != get {
			t.Errorf("HEAD:\n got %q\nwant %q", head, get)
		}
	}
}

// TestCompressedStream: each Flush lets the client read all that was written.
func TestCompressedStream(t *testing.T) {
	next := make(chan string)
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		for line := range next {
			r.WriteString(line)
			if err := r.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	request, _ := http.NewRequest("GET", server.URL, nil)
	request.Header.Set("Accept-Encoding", "gzip")
	go func() { next <- "first\n" }()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reader, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(reader)
	for _, line := range []string{"second\n", "third\n", ""} {
		if got, err := lines.ReadString('\n'); err != nil || got == "" {
			t.Fatal(got, err)
		}
		if line == "" {
			close(next)
		} else {
			next <- line
		}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Error("the end:", err)
	}
}
