package static

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestListing(t *testing.T) {
	dir := tree(t, map[string]string{
		"files/b.txt": "b", "files/A.txt": strings.Repeat("a", 1500), "files/zoo/x": "x", "files/.hidden": "",
		"files/<script>alert(1).txt": "", "files/javascript:alert(1)": "", "files/a b?#%.txt": "found",
		"outside": "", "site/index.html": "index",
	})
	os.Symlink("b.txt", dir+"/files/link")
	os.Symlink("/etc/passwd", dir+"/files/leaves")
	os.Symlink("nowhere", dir+"/files/dangling")
	address := serve(t, Root(dir, Options{Listing: true}), next)
	got := ask(t, address, "GET /files/")
	if got.StatusCode != 200 || got.Header.Get("Content-Type") != "text/html; charset=utf-8" ||
		got.Header.Get("Cache-Control") != "no-cache" || got.ContentLength != int64(len(got.body)) {
		t.Errorf("status %d, header %v", got.StatusCode, got.Header)
	}
	for _, never := range []string{"<script>", `"javascript:`, ".hidden", "leaves", "dangling", "outside"} {
		if strings.Contains(got.body, never) {
			t.Errorf("shows %s", never)
		}
	}
	position := 0
	for _, want := range []string{`<a href="./../">/</a>`, `<a href="./">files/</a>`, `<a href="./zoo/" class="directory">zoo/</a>`,
		`&lt;script&gt;`, `<a href="./a%20b%3F%23%25.txt">a b?#%.txt</a>`, ">A.txt</a>", "1.5 kB", "2024-03-01 12:00",
		">b.txt</a>", "1 B", `href="./javascript:alert%281%29"`, ">link</a>"} {
		next := strings.Index(got.body[position:], want)
		if next < 0 {
			t.Errorf("%s is missing, or not in its place", want)
			continue
		}
		position += next
	}
	check(t, address, []row{
		{"GET /files", 301, "Location: /files/", "*"},
		{"GET /files/a%20b%3F%23%25.txt", 200, "", "found"},
		{"HEAD /files/", 200, "", ""},
		{"GET /files/\nIf-None-Match: " + got.Header.Get("Etag"), 304, "", ""},
		{"GET /site/", 200, "", "index"},
	})
	root := ask(t, address, "GET /")
	if !strings.Contains(root.body, `<h1><a href="./">/</a> </h1>`) {
		t.Errorf("the way to the root: %s", root.body)
	}
}

func TestListingBounds(t *testing.T) {
	many := fstest.MapFS{"none/x/y": {}}
	for i := range maxListed + 5 {
		many[string(rune('一'+i))] = &fstest.MapFile{}
	}
	address := serve(t, FS(many, Options{Listing: true}))
	if got := ask(t, address, "GET /"); strings.Count(got.body, "<tr>") != maxListed+1 || !strings.Contains(got.body, "6 more") {
		t.Errorf("%d rows", strings.Count(got.body, "<tr>"))
	}
	hidden := serve(t, FS(fstest.MapFS{".a": {}}, Options{Listing: true}))
	if got := ask(t, hidden, "GET /"); !strings.Contains(got.body, "Nothing here.") {
		t.Errorf("an empty directory: %s", got.body)
	}
}
