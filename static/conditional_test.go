package static

import (
	"testing"
	"testing/fstest"
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
		{"GET /test.txt\nIf-Match: W/{etag}", 412, "Cache-Control:", "Precondition Failed\n"},
		{"GET /test.txt\nIf-Match: \"a\"", 412, "", "*"},
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
