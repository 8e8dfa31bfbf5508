package static

import (
	"fmt"
	"html"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"aerys"
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
	for _, want := range []string{`<a href="./../">/</a>`, `<a href="./">files/</a>`, `<a href="./../" class="directory">../</a>`, `<a href="./zoo/" class="directory">zoo/</a>`,
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
	if !strings.Contains(root.body, `<h1><a href="./">/</a> </h1>`) || strings.Contains(root.body, "../") {
		t.Errorf("the way to the root: %s", root.body)
	}
}

// Every link leads somewhere, whatever a name has in it, and from everywhere back.
func TestListingLinks(t *testing.T) {
	site := fstest.MapFS{}
	for _, name := range []string{"100%", "%41", "%2e%2e", "a%2fb", "%zz", "a?b", "a#b", "a?b#c%", "a:b", "javascript:alert(1)", "//evil", "new\nline",
		"tab\t", " space ", "+&;=,$@!*'()~", `"quoted"`, "<b>&amp;", "ü", "日本", "\u202etxt.exe", "\x01", "...", "a.", "A", "a", "?", "#", ":", "%",
		"back\\slash", "\xff", "a\xc3", ".hidden", ".well-known", strings.Repeat("long", 60)} {
		for _, directory := range []string{"", "sub/", "<sub>&?#%/", "a:/b\n/"} {
			site[directory+name+"-"] = &fstest.MapFile{Data: []byte(name)}
			site[directory+name+"/x"] = &fstest.MapFile{Data: []byte("x")}
		}
	}
	site["sub/pipe"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	site["sub/page/index.html"] = &fstest.MapFile{Data: []byte("page")}
	for path, action := range map[string]aerys.Action{
		"/":         FS(site, Options{Listing: true}),
		"/a b/ü/":   FS(site, Options{Listing: true, Prefix: "/a b/ü"}),
		"/mounted/": aerys.Router().Mount("/mounted", FS(site, Options{Listing: true})),
	} {
		address, seen := serve(t, action, next), map[string]bool{}
		follow(t, address, (&url.URL{Path: path}).EscapedPath(), seen)
		if len(seen) < 200 {
			t.Errorf("%d links", len(seen))
		}
	}
}

// follow asks for a path and, if it is a listing, for all that it links to.
func follow(t *testing.T, address, path string, seen map[string]bool) {
	seen[path] = true
	got := ask(t, address, "GET "+path)
	if got.StatusCode != 200 {
		t.Errorf("%s: %d", path, got.StatusCode)
	}
	if !strings.HasPrefix(got.body, "<!DOCTYPE") {
		return
	}
	here, err := url.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(got.body, -1) {
		to, err := here.Parse(html.UnescapeString(link[1]))
		if err != nil || to.Host != "" || to.Scheme != "" || to.RawQuery != "" || to.Fragment != "" {
			t.Errorf("%s: %s leads to %v: %v", path, link[1], to, err)
		} else if there := to.EscapedPath(); !seen[there] {
			follow(t, address, there, seen)
		}
	}
}

// Directories first, then as people sort, and always the same way.
func TestNaturalOrder(t *testing.T) {
	sorted := []string{"a", "a0", "a00", "a1", "A01", "a2", "a9", "a10", "a10b", "a99999999999999999999998", "a99999999999999999999999", "a-1", "ab", "B", "b2", "b10", "ü"}
	sorted = append([]string{"007", "8", "08x", "9", "10", "20240131"}, sorted...)
	slices.SortStableFunc(sorted, func(a, b string) int {
		return listed{a, strings.ToLower(a), false}.compare(listed{b, strings.ToLower(b), false})
	})
	want := "007 8 08x 9 10 20240131 a a-1 a0 a00 A01 a1 a2 a9 a10 a10b a99999999999999999999998 a99999999999999999999999 ab B b2 b10 ü"
	if got := strings.Join(sorted, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	random := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		text := make([]byte, random.IntN(6))
		for i := range text {
			text[i] = "0129a-"[random.IntN(6)]
		}
		return string(text)
	}
	for range 20_000 {
		a, b, c := name(), name(), name()
		if natural(a, b) != -natural(b, a) || natural(a, b) <= 0 && natural(b, c) <= 0 && natural(a, c) > 0 {
			t.Fatalf("%q, %q, %q have no order", a, b, c)
		}
	}
}

// counted counts how often a directory is read.
type counted struct {
	fs.FS
	times atomic.Int64
}

func (c *counted) Open(name string) (fs.File, error) {
	c.times.Add(1)
	return c.FS.Open(name)
}

func (c *counted) Stat(name string) (fs.FileInfo, error) { return fs.Stat(c.FS, name) }

// Within CacheEntryTTL a listing is made once, in both codings, if there is room
// for it; it is as fresh as a file.
func TestListingIsKept(t *testing.T) {
	site := fstest.MapFS{"other/x": {}}
	for i := range 50 {
		site[fmt.Sprint("d/", i)] = &fstest.MapFile{}
	}
	for _, test := range []struct {
		name    string
		options Options
		made    int64 // for six requests
	}{
		{"by default", Options{}, 1},
		{"larger than a file that is kept", Options{BufferedFileMaxSize: 1}, 1},
		{"too old each time", Options{CacheEntryTTL: always}, 6},
		{"nothing is kept", Options{BufferedFileMaxCount: -1}, 6},
		{"nothing is remembered", Options{CacheEntryTTL: -1}, 6},
	} {
		test.options.Listing, test.options.Indexes = true, []string{}
		source := &counted{FS: site}
		files := FS(source, test.options)
		address := serve(t, files)
		body := ask(t, address, "GET /d/").body
		tag := ask(t, address, "HEAD /d/").Header.Get("Etag")
		packed := ask(t, address, "GET /d/\nAccept-Encoding: gzip")
		check(t, address, []row{
			{"GET /d/\nIf-None-Match: " + tag, 304, "Vary: Accept-Encoding\nCache-Control: no-cache", ""},
			{"GET /d/\nAccept-Encoding: gzip\nIf-None-Match: " + packed.Header.Get("Etag"), 304, "Etag: " + packed.Header.Get("Etag"), ""},
			{"GET /d/\nRange: bytes=0-13", 206, "", "<!DOCTYPE html"},
		})
		if unzip(t, packed) != body || packed.Header.Get("Etag") == tag || source.times.Load() != test.made {
			t.Errorf("%s: made %d times, tags %s and %s", test.name, source.times.Load(), tag, packed.Header.Get("Etag"))
		}
		if kept := files.Monitor().(Figures).BufferedFiles; kept > 1 || kept == 0 && test.made == 1 {
			t.Errorf("%s: %d are kept", test.name, kept)
		}
	}
}

// One that gives way to another is made again.
func TestListingGivesWay(t *testing.T) {
	files := FS(fstest.MapFS{"a/x": {}, "b/y": {}}, Options{Listing: true, BufferedFileMaxCount: 1, CacheEntryTTL: always})
	address := serve(t, files)
	for range 3 {
		for path, want := range map[string]string{"/a/": ">x</a>", "/b/": ">y</a>", "/": ">a/</a>"} {
			if got := ask(t, address, "GET "+path); !strings.Contains(got.body, want) {
				t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
			}
		}
	}
	if figures := files.Monitor().(Figures); figures.BufferedFiles != 1 || figures.Entries > 3 {
		t.Errorf("%+v", figures)
	}
}

// huge is a directory of that many files, which it hands out in parts.
type huge struct {
	fs.FS
	n, given, most int
}

func (h *huge) Open(name string) (fs.File, error) {
	file, err := h.FS.Open(name)
	h.given = 0
	return hugeFile{file, h}, err
}

type hugeFile struct {
	fs.File
	of *huge
}

func (f hugeFile) ReadDir(n int) (entries []fs.DirEntry, err error) {
	f.of.most = max(f.of.most, n)
	for ; f.of.given < f.of.n && len(entries) < n; f.of.given++ {
		entries = append(entries, hugeEntry(f.of.n-f.of.given))
	}
	if len(entries) == 0 {
		err = io.EOF
	}
	return entries, err
}

type hugeEntry int

func (e hugeEntry) Name() string               { return fmt.Sprint("file", int(e)) }
func (e hugeEntry) IsDir() bool                { return false }
func (e hugeEntry) Type() fs.FileMode          { return 0 }
func (e hugeEntry) Info() (fs.FileInfo, error) { return nil, fs.ErrInvalid }

func (h *huge) Stat(name string) (fs.FileInfo, error) {
	if strings.HasPrefix(name, "file") {
		name = "x"
	}
	return fs.Stat(h.FS, name)
}

// Of 100,000 entries the first are shown, and no more than twice as many held.
func TestListingBounds(t *testing.T) {
	site := &huge{FS: fstest.MapFS{"x": {ModTime: changed}}, n: 100_000}
	files := FS(site, Options{Listing: true, Indexes: []string{}})
	got := ask(t, serve(t, files), "GET /")
	if rows := strings.Count(got.body, "<tr>"); rows != maxListed+1 || !strings.Contains(got.body, "90000 more") {
		t.Errorf("%d rows, %.200s", rows, got.body[max(0, len(got.body)-200):])
	}
	if !strings.Contains(got.body, ">file1</a>") || !strings.Contains(got.body, ">file10000</a>") {
		t.Error("others than the first are shown")
	}
	first, more, err := files.source.entries(".")
	if len(first) != maxListed || cap(first) > 4*maxListed || more != 90_000 || err != nil || site.most <= 0 || site.most > 1000 {
		t.Errorf("%d of %d, %d more, read %d at once: %v", len(first), cap(first), more, site.most, err)
	}
	hidden := serve(t, FS(fstest.MapFS{".a": {}}, Options{Listing: true}))
	if got := ask(t, hidden, "GET /"); !strings.Contains(got.body, "Nothing here.") {
		t.Errorf("an empty directory: %s", got.body)
	}
}
