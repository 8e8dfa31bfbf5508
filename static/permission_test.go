package static

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is there and may not be read is 403, and logged. A sibling that may not,
// or is empty, is as good as none.
func TestUnreadable(t *testing.T) {
	source := &guarded{
		FS: os.DirFS(tree(t, map[string]string{"file": "x", "later": "x", "undated": "x", "site/index.html": "x", "dir/a": "x", "closed/a": "x",
			"a.css": "plain", "a.css.br": "brotli", "a.css.gz": "", "b.css": "plain", "b.css.br": "", "b.css.gz": "gzip"})),
		unreadable: " file undated site/index.html dir a.css.br ", unsearchable: " closed/ closed/a closed/b closed/index.html closed/index.htm ",
	}
	var log journal
	address := serve(t, FS(source, Options{CacheEntryTTL: always, Listing: true, Origins: []string{"https://a.example"},
		Logger: log.logger()}), next)
	forbidden := "Retry-After:\nEtag:\nCache-Control:\nAccept-Ranges:\nVary: Origin, Accept"
	check(t, address, []row{
		{"GET /file", 403, forbidden, "*"},
		{"HEAD /file", 403, forbidden, ""},
		{"GET /file\nRange: bytes=0-0", 403, forbidden, "*"},
		{"GET /file\nIf-None-Match: *", 403, forbidden, "*"},
		{"POST /file", 403, forbidden, "*"},
		{"GET //file", 403, forbidden, "*"},
		{"GET /site/", 403, forbidden, "*"},
		{"GET /site", 403, forbidden, "*"},
		{"GET /dir/", 403, forbidden, "*"},
		{"GET /dir/a", 200, "", "x"},
		{"GET /closed/a", 403, forbidden, "*"},
		{"GET /closed/b", 403, forbidden, "*"},
		{"GET /closed/", 403, forbidden, "*"},
		{"GET /file/", 404, "", "next"},
		{"GET /a.css\nAccept-Encoding: br, gzip", 200, "Content-Encoding:\nVary: Origin", "plain"},
		{"GET /a.css.br", 403, forbidden, "*"},
		{"GET /a.css.gz", 200, "Content-Length: 0", ""},
		{"GET /b.css\nAccept-Encoding: br, gzip", 200, "Content-Encoding: gzip\nVary: Origin, Accept-Encoding", "gzip"},
		{"GET /later", 200, "", "x"},
	})
	source.unreadable = " later b.css.gz "
	check(t, address, []row{
		{"GET /later", 403, forbidden, "*"},
		{"GET /file", 200, "", "x"},
		{"GET /b.css\nAccept-Encoding: br, gzip", 200, "Content-Encoding:", "plain"},
	})
	if !strings.Contains(log.String(), "open file: permission denied") || !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "files=static.FS") {
		t.Errorf("the log: %s", log.String())
	}
}

// A start page that may not be read is not one that does not exist.
func TestUnreadableFallback(t *testing.T) {
	source := &guarded{FS: os.DirFS(tree(t, site)), unreadable: " index.html "}
	check(t, serve(t, FS(source, Options{Fallback: "index.html", Logger: slog.New(slog.DiscardHandler)}), next), []row{{"GET /users/7", 403, "", "*"}, {"GET /x.png", 404, "", "next"}})
}

// Names in a directory that cannot be searched are the clients' to choose: they
// neither fill the log nor displace files.
func TestUnreadableFlood(t *testing.T) {
	var log journal
	source := &guarded{FS: os.DirFS(tree(t, site))}
	files := FS(source, Options{CacheEntryMaxCount: 10, CacheEntryTTL: hour, Logger: log.logger()})
	files.cache.find("/test.txt", false)
	for i := range 1000 {
		name := strings.Repeat("x", i)
		source.unsearchable = " " + name + " "
		if found, err := files.cache.find("/"+name, false); i > 0 && (err != nil || !errors.Is(found.unreadable, fs.ErrPermission)) {
			t.Fatal(found, err)
		}
		files.cache.reported.CompareAndSwap(0, int64(hour)) // a time to come: nothing is due
	}
	if n := files.Monitor().(Figures).Entries; n > 10 || files.cache.get("/test.txt") == nil || log.String() != "" {
		t.Errorf("%d entries, and the log is\n%s", n, log.String())
	}
	files.cache.reported.Store(0)
	files.cache.report(fs.ErrPermission)
	if strings.Count(log.String(), "\n") != 1 {
		t.Errorf("the log: %s", log.String())
	}
}

// Links that os.Root follows, and those that it does not.
func TestLinks(t *testing.T) {
	dir := tree(t, map[string]string{"site/a/file": "file", "site/a/b/deep": "deep", "outside": "secret"})
	inside, out := dir+"/site", filepath.Base(dir)
	for link, goal := range map[string]string{
		"relative": "a/file", "chain": "relative", "directory": "a", "a/up": "../a/file", "a/b/upup": "../../a/b/../file", "round": "a/../a/file",
		"absolute": inside + "/a/file", "leaves": "../outside", "returns": "../site/a/file", "far": "../../" + out + "/site/a/file",
		"loop": "loop", "dangling": "nowhere", "through": "absolute",
	} {
		if err := os.Symlink(goal, inside+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(dir+"/outside", inside+"/hard"); err != nil {
		t.Fatal(err)
	}
	var rows []row
	for path, body := range map[string]string{
		"/relative": "file", "/chain": "file", "/directory/file": "file", "/directory/up": "file", "/a/up": "file", "/a/b/upup": "file",
		"/round": "file", "/hard": "secret", "/absolute": "", "/leaves": "", "/returns": "", "/far": "", "/loop": "", "/dangling": "", "/through": "",
	} {
		if body != "" {
			rows = append(rows, row{"GET " + path, 200, "", body})
		} else {
			rows = append(rows, row{"GET " + path, 404, "", "next"})
		}
	}
	check(t, serve(t, Root(inside), next), rows)
}
