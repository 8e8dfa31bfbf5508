package static

import (
	"path/filepath"
	"strings"
	"testing"
)

// The cases of Aerys's own test of its Root. Where Aerys serves a path that has
// dots in it, it is redirected here; and three of its expectations were wrong.
func TestAerys(t *testing.T) {
	dir := tree(t, map[string]string{"index.htm": "test", "dir/": "", "svg.svg": "<svg></svg>"})
	above := "/../" + filepath.Base(dir)
	address := serve(t, Root(dir, Options{Debug: true, OmitEtagInode: true}), next)
	etag := ask(t, address, "GET /index.htm").Header.Get("Etag")
	page := "Content-Type: text/html; charset=utf-8"
	check(t, address, []row{
		{"GET /", 200, page, "test"},
		{"GET /index.htm", 200, page, "test"},
		{"GET /dir/../dir//..//././index.htm", 301, "Location: /index.htm", "*"},

		{"GET /../../../index.htm", 301, "Location: /index.htm", "*"},
		{"GET /dir/../../", 301, "Location: /", "*"},
		{"GET " + above + "/index.htm", 404, "", "next"},
		{"GET " + above[3:] + "/../.." + above[3:], 404, "", "next"},

		{"GET /index.htm", 200, page, "test"},
		{"GET /index.htm\nCache-Control: no-cache", 200, page, "test"},
		{"GET /index.htm\nPragma: no-cache", 200, page, "test"},
		{"OPTIONS /", 204, "Allow: GET, HEAD, OPTIONS\nAccept-Ranges: bytes", ""},

		{"GET /index.htm\nIf-Match: any value", 412, "", "*"},
		// Modified since: Aerys says 304.
		{"GET /index.htm\nIf-Match: {etag}\nIf-Modified-Since: Fri, 02 Jan 1970 00:00:00 GMT", 200, "Etag: {etag}", "test"},
		{"GET /index.htm\nIf-Range: foo", 200, "", "test"},
		// Aerys leaves out the unit (RFC 9110 §14.4).
		{"GET /index.htm\nIf-Range: {etag}\nRange: bytes=7-10", 416, "Content-Range: bytes */4", "*"},
		{"GET /index.htm\nRange: bytes=1-2", 206, "Content-Length: 2\nContent-Range: bytes 1-2/4", "es"},
		// A suffix begins that far from the end: of no bytes it is none, and of
		// one the last. Aerys is one byte off.
		{"GET /index.htm\nRange: bytes=-1", 206, "Content-Range: bytes 3-3/4", "t"},
		{"GET /svg.svg", 200, "Content-Type: image/svg+xml", "<svg></svg>"},
	}, "{etag}", etag)

	parts := ask(t, address, "GET /index.htm\nRange: bytes=-0,1-2,2-")
	boundary, ok := strings.CutPrefix(parts.Header.Get("Content-Type"), "multipart/byteranges; boundary=")
	want := ""
	for _, part := range []string{"bytes 1-2/4\r\n\r\nes", "bytes 2-3/4\r\n\r\nst"} {
		want += "--" + boundary + "\r\n" + page + "\r\nContent-Range: " + part + "\r\n"
	}
	want += "--" + boundary + "--\r\n"
	if !ok || parts.StatusCode != 206 || strings.TrimPrefix(parts.body, "\r\n") != want {
		t.Errorf("%d, %q\n%q, want\n%q", parts.StatusCode, parts.Header, parts.body, want)
	}
}
