package static

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

// RFC 9110 §13: every precondition alone, and the order of §13.2.2. The last
// change was at 12:00:00 on 1 March 2024.
func TestPreconditions(t *testing.T) {
	const (
		before = "Fri, 01 Mar 2024 11:59:59 GMT"
		same   = "Fri, 01 Mar 2024 12:00:00 GMT"
		after  = "Fri, 01 Mar 2024 12:00:01 GMT"
	)
	address := serve(t, Root(tree(t, site)), next)
	etag := ask(t, address, "GET /test.txt").Header.Get("Etag")
	if len(etag) != 18 || etag[0] != '"' || etag[17] != '"' {
		t.Fatalf("the entity tag is %s", etag)
	}
	validators := "Etag: " + etag + "\nLast-Modified: " + same + "\nCache-Control: max-age=604800\nContent-Type:\nContent-Length:"
	check(t, address, []row{
		{"GET /test.txt\nIf-None-Match: {etag}", 304, validators, ""},
		{"HEAD /test.txt\nIf-None-Match: {etag}", 304, validators, ""},
		{"GET /test.txt\nIf-None-Match: W/{etag}", 304, "", ""},
		{"GET /test.txt\nIf-None-Match: *", 304, "", ""},
		{"GET /test.txt\nIf-None-Match: \"a\", W/\"b,\",, {etag}", 304, "", ""},
		{"GET /test.txt\nIf-None-Match: \"a\"\nIf-None-Match: {etag}", 304, "", ""},
		{"GET /test.txt\nIf-None-Match: \"a\"", 200, "", "test"},
		{"GET /test.txt\nIf-None-Match: \"a\" {etag}", 200, "", "test"}, // no list
		{"GET /test.txt\nIf-None-Match: {etag} \"a\"", 200, "", "test"},
		{"GET /test.txt\nIf-None-Match: a, {etag}", 200, "", "test"},
		{"GET /test.txt\nIf-None-Match: unquoted", 200, "", "test"},
		{"GET /test.txt\nIf-None-Match: \"open", 200, "", "test"},
		{"GET /test.txt\nIf-None-Match:", 200, "", "test"},
		{"OPTIONS /test.txt\nIf-None-Match: *", 204, "", ""},

		{"GET /test.txt\nIf-Modified-Since: " + before, 200, "", "test"},
		{"GET /test.txt\nIf-Modified-Since: " + same, 304, validators, ""},
		{"GET /test.txt\nIf-Modified-Since: " + after, 304, "", ""},
		{"GET /test.txt\nIf-Modified-Since: Friday, 01-Mar-24 12:00:00 GMT", 304, "", ""},
		{"GET /test.txt\nIf-Modified-Since: Fri Mar  1 12:00:00 2024", 304, "", ""},
		{"GET /test.txt\nIf-Modified-Since: 2024-03-01", 200, "", "test"},
		{"GET /test.txt\nIf-Modified-Since: " + same + "\nIf-Modified-Since: " + same, 200, "", "test"},

		{"GET /test.txt\nIf-Match: {etag}", 200, "", "test"},
		{"GET /test.txt\nIf-Match: *", 200, "", "test"},
		{"GET /test.txt\nIf-Match: \"a\", {etag}", 200, "", "test"},
		{"GET /test.txt\nIf-Match: W/{etag}", 412, "Cache-Control:\nEtag:\nLast-Modified:", "*"},
		{"GET /test.txt\nIf-Match: \"a\"", 412, "", "*"},
		{"GET /test.txt\nIf-Match: \"a\" {etag}", 412, "", "*"},
		{"HEAD /test.txt\nIf-Match: \"a\"", 412, "", ""},
		{"GET /nothing\nIf-Match: *", 404, "", "next"},
		{"GET /test.txt\nIf-Unmodified-Since: " + before, 412, "", "*"},
		{"GET /test.txt\nIf-Unmodified-Since: " + same, 200, "", "test"},
		{"GET /test.txt\nIf-Unmodified-Since: yesterday", 200, "", "test"},

		// If-Match outweighs If-Unmodified-Since, If-None-Match If-Modified-Since.
		{"GET /test.txt\nIf-Match: {etag}\nIf-Unmodified-Since: " + before, 200, "", "test"},
		{"GET /test.txt\nIf-Match: \"a\"\nIf-None-Match: {etag}", 412, "", "*"},
		{"GET /test.txt\nIf-Match: {etag}\nIf-None-Match: {etag}", 304, "", ""},
		{"GET /test.txt\nIf-Unmodified-Since: " + before + "\nIf-Modified-Since: " + after, 412, "", "*"},
		{"GET /test.txt\nIf-None-Match: \"a\"\nIf-Modified-Since: " + after, 200, "", "test"},
		{"GET /test.txt\nIf-None-Match: {etag}\nIf-Modified-Since: " + before, 304, "", ""},
		{"GET /test.txt\nIf-Match: \"a\"\nRange: bytes=0-0", 412, "Content-Range:", "*"},
		{"GET /test.txt\nIf-None-Match: {etag}\nRange: bytes=0-0", 304, "Content-Range:", ""},

		{"GET /test.txt\nRange: bytes=0-0\nIf-Range: {etag}", 206, "", "t"},
		{"GET /test.txt\nRange: bytes=0-0\nIf-Range: W/{etag}", 200, "", "test"},
		{"GET /test.txt\nRange: bytes=0-0\nIf-Range: \"a\"", 200, "", "test"},
		{"GET /test.txt\nRange: bytes=0-0\nIf-Range: " + same, 206, "", "t"},
		{"GET /test.txt\nRange: bytes=0-0\nIf-Range: " + after, 200, "", "test"},
		{"GET /test.txt\nRange: bytes=9-\nIf-Range: \"a\"", 200, "", "test"},
	}, "{etag}", etag)
}

// Without a modification time there is a tag of the content, and dates are
// ignored.
func TestNoTime(t *testing.T) {
	one := serve(t, FS(fstest.MapFS{"a": {Data: []byte("aaa")}, "b": {Data: []byte("bbb")}}))
	two := serve(t, FS(fstest.MapFS{"a": {Data: []byte("aaa")}}, Options{BufferedFileMaxCount: -1}))
	a, b := ask(t, one, "GET /a").Header.Get("Etag"), ask(t, one, "GET /b").Header.Get("Etag")
	if a == b || a != ask(t, two, "GET /a").Header.Get("Etag") {
		t.Errorf("tags %s and %s", a, b)
	}
	check(t, one, []row{
		{"GET /a\nIf-None-Match: " + a, 304, "Last-Modified:", ""},
		{"GET /a\nIf-Modified-Since: Fri, 01 Mar 2024 12:00:00 GMT", 200, "", "aaa"},
		{"GET /a\nIf-Unmodified-Since: Fri, 01 Mar 2024 12:00:00 GMT", 200, "", "aaa"},
		{"GET /a\nRange: bytes=0-0\nIf-Range: Fri, 01 Mar 2024 12:00:00 GMT", 200, "", "aaa"},
	})
}

// A time from before the Web is none: builds that are to be the same every time
// leave it.
func TestTimes(t *testing.T) {
	dir := tree(t, map[string]string{"web": "same"})
	address := serve(t, Root(dir), next)
	etag := contentTag([]byte("same"))
	for name, at := range map[string]string{
		"before the epoch": "1969-12-31T23:59:59Z", "the epoch": "1970-01-01T00:00:00Z", "Nix": "1970-01-01T00:00:01Z",
		"archives": "1980-01-01T00:00:00Z", "npm": "1985-10-26T08:15:00Z",
	} {
		modified, _ := time.Parse(time.RFC3339, at)
		write(t, dir+"/"+name, "same", modified)
		check(t, address, []row{
			{"GET /" + url.PathEscape(name), 200, "Last-Modified:\nEtag: " + etag, "same"},
			{"GET /" + url.PathEscape(name) + "\nIf-Modified-Since: Fri, 01 Mar 2024 12:00:00 GMT", 200, "", "same"},
			{"GET /" + url.PathEscape(name) + "\nIf-None-Match: " + etag, 304, "Last-Modified:", ""},
		})
	}
	write(t, dir+"/web", "same", time.Date(1990, 12, 20, 0, 0, 0, 0, time.UTC))
	check(t, address, []row{{"GET /web", 200, "Last-Modified: Thu, 20 Dec 1990 00:00:00 GMT", "same"}})
}

// The content of a file without a time is hashed once, however it is called,
// until its size, time or inode change.
func TestHashedOnce(t *testing.T) {
	dir := tree(t, map[string]string{"d/f": ""})
	write(t, dir+"/d/f", "older", time.Unix(1, 0))
	reads := 0
	files := FS(meddler{os.DirFS(dir), func() { reads++ }}, Options{CacheEntryTTL: always, BufferedFileMaxCount: -1})
	address := serve(t, files, next)
	check(t, address, []row{{"HEAD /d/f", 200, "", ""}})
	once := reads
	check(t, address, []row{
		{"HEAD /d/f", 200, "", ""}, {"HEAD //d/f", 301, "Location: /d/f", ""}, {"HEAD /d/./f", 301, "", ""},
		{"HEAD /d//f", 301, "", ""}, {"HEAD /x/../d/f", 301, "", ""}, {"HEAD /d/f/.", 301, "", ""},
	})
	if n := files.Monitor().(Figures).Entries; reads != once || once == 0 || n != 1 {
		t.Errorf("read %d times, then %d; %d entries", once, reads-once, n)
	}
	write(t, dir+"/d/f", "young", time.Unix(2, 0))
	check(t, address, []row{{"HEAD /d/f", 200, "Etag: " + contentTag([]byte("young")), ""}})
	write(t, dir+"/d/f", "longer", time.Unix(2, 0))
	check(t, address, []row{{"HEAD /d/f", 200, "Etag: " + contentTag([]byte("longer")), ""}})
}

// A 304 has the fields that tell caches what its 200 is (RFC 9110 §15.4.5).
func TestNotModified(t *testing.T) {
	dir := tree(t, map[string]string{"long.txt": long, "short.txt": "short", "long.png": long, "doc.docx": long,
		"a.css": "plain", "a.css.br": "brotli", "many/" + long[:200]: "", "zero.txt": "", "app/index.html": long})
	for i := range 20 {
		write(t, fmt.Sprint(dir, "/many/", i), "", changed)
	}
	for _, options := range []Options{{}, {BufferedFileMaxCount: -1}, {DisableCompression: true}, {CacheEntryTTL: -1},
		{Origins: []string{"https://a.example"}}} {
		options.Listing, options.Fallback = true, "app/index.html"
		address := serve(t, Root(dir, options))
		for _, path := range []string{"/long.txt", "/short.txt", "/long.png", "/doc.docx", "/a.css", "/many/", "/zero.txt", "/app/", "/users/7"} {
			for _, accept := range []string{"", "gzip", "br, gzip", "identity", "*"} {
				fields := ""
				if accept != "" {
					fields = "\nAccept-Encoding: " + accept
				}
				whole := ask(t, address, "GET "+path+fields).Header
				for _, field := range []string{whole.Get("Etag"), "W/" + whole.Get("Etag")} {
					got := ask(t, address, "GET "+path+fields+"\nIf-None-Match: "+field)
					for _, name := range []string{"Etag", "Vary", "Cache-Control", "Last-Modified"} {
						if !slices.Equal(got.Header[name], whole[name]) || got.StatusCode != 304 {
							t.Errorf("%+v: %s, %q: %d, %s %q for %q", options, path, accept, got.StatusCode, name, got.Header[name], whole[name])
						}
					}
				}
			}
		}
	}
}

// Two servers with copies of a file have the same tag for it if they leave out
// the inode; another time or size is another tag.
func TestEtagInode(t *testing.T) {
	one, two := tree(t, site), tree(t, site)
	tag := func(dir string, omit bool) string {
		return ask(t, serve(t, Root(dir, Options{OmitEtagInode: omit})), "GET /test.txt").Header.Get("Etag")
	}
	if tag(one, false) == tag(two, false) || tag(one, true) != tag(two, true) || tag(one, true) == tag(one, false) {
		t.Error("the inode is in the tag if and only if it is not omitted")
	}
	before := tag(one, true)
	write(t, one+"/test.txt", "test", changed.Add(1))
	if tag(one, true) == before {
		t.Error("another time has the same tag")
	}
}
