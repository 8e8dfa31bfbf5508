package static

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

const (
	always = time.Duration(1) // a lifetime that is over by the next request
	hour   = time.Hour
)

// Within CacheEntryTTL the file system is not asked, unless a reload in debug
// mode wants it.
func TestLifetime(t *testing.T) {
	dir := tree(t, map[string]string{"a": "old", "gone": "old"})
	kept := serve(t, Root(dir, Options{CacheEntryTTL: hour}), next)
	debug := serve(t, Root(dir, Options{CacheEntryTTL: hour, Debug: true}), next)
	brief := serve(t, Root(dir, Options{CacheEntryTTL: always}), next)
	never := serve(t, Root(dir, Options{CacheEntryTTL: -1}), next)
	old := []row{{"GET /a", 200, "", "old"}, {"GET /gone", 200, "", "old"}, {"GET /b", 404, "", "next"}}
	for _, address := range []string{kept, debug, brief, never} {
		check(t, address, old)
	}
	write(t, dir+"/a", "newer", changed.Add(time.Second))
	write(t, dir+"/b", "there", changed)
	os.Remove(dir + "/gone")
	changes := []row{{"GET /a", 200, "Content-Length: 5", "newer"}, {"GET /gone", 404, "", "next"}, {"GET /b", 200, "", "there"}}
	check(t, kept, old)
	check(t, kept, []row{{"GET /a\nCache-Control: no-cache", 200, "", "old"}})
	check(t, debug, old)
	check(t, debug, []row{
		{"GET /a\nCache-Control: max-age=0, No-Cache", 200, "", "newer"},
		{"GET /b\nPragma: no-cache", 200, "", "there"},
		{"GET /gone\nCache-Control: no-cache", 404, "", "next"},
	})
	check(t, debug, changes) // and remembered
	check(t, brief, changes)
	check(t, never, changes)
}

// What is too old is looked at again, and kept if nothing changed.
func TestRefresh(t *testing.T) {
	dir := tree(t, map[string]string{"a": "content"})
	files := Root(dir, Options{CacheEntryTTL: always})
	address := serve(t, files)
	check(t, address, []row{{"GET /a", 200, "", "content"}})
	before := files.cache.get("/a").representations[0].kept.Load()
	check(t, address, []row{{"GET /a", 200, "", "content"}})
	if after := files.cache.get("/a").representations[0].kept.Load(); before == nil || after != before {
		t.Error("was read again")
	}
	write(t, dir+"/a", "CONTENT", changed.Add(time.Nanosecond))
	check(t, address, []row{{"GET /a", 200, "", "CONTENT"}})
}

func TestBounds(t *testing.T) {
	dir := tree(t, map[string]string{"a": "a", "b": "b", "c": "c", "large.png": strings.Repeat("x", 1001), "text.txt": long})
	ask4 := func(files *Files) Figures {
		check(t, serve(t, files), []row{{"GET /a", 200, "", "a"}, {"GET /b", 200, "", "b"}, {"GET /c", 200, "", "c"},
			{"GET /large.png", 200, "", "*"}, {"GET /c", 200, "", "c"}})
		return files.Monitor().(Figures)
	}
	for _, test := range []struct {
		options Options
		want    Figures
	}{
		{Options{}, Figures{Entries: 4, BufferedFiles: 4, BufferedBytes: 1004, Hits: 1, Misses: 4}},
		{Options{BufferedFileMaxSize: 1000}, Figures{Entries: 4, BufferedFiles: 3, BufferedBytes: 3, Hits: 1, Misses: 4}},
		{Options{BufferedFileMaxCount: 2}, Figures{Entries: 4, BufferedFiles: 2, BufferedBytes: 2, Hits: 1, Misses: 4}},
		{Options{BufferedFileMaxCount: 1, CacheEntryTTL: always}, Figures{Entries: 4, BufferedFiles: 1, BufferedBytes: 1, Misses: 5}},
		{Options{BufferedFileMaxCount: -1}, Figures{Entries: 4, Hits: 1, Misses: 4}},
		{Options{CacheEntryMaxCount: 4}, Figures{Entries: 4, BufferedFiles: 4, BufferedBytes: 1004, Hits: 1, Misses: 4}},
		{Options{CacheEntryMaxCount: -1}, Figures{Misses: 5}},
		{Options{CacheEntryTTL: -1}, Figures{Misses: 5}},
	} {
		if got := ask4(Root(dir, test.options)); got != test.want {
			t.Errorf("%+v:\n got %+v\nwant %+v", test.options, got, test.want)
		}
	}
	one := Root(dir, Options{CacheEntryMaxCount: 1})
	if got := ask4(one); got.Entries != 1 || got.BufferedFiles > 1 {
		t.Errorf("room for one: %+v", got)
	}
	packed := Root(dir)
	check(t, serve(t, packed), []row{{"GET /text.txt", 200, "", long}})
	if got := packed.Monitor().(Figures); got.BufferedBytes <= int64(len(long)) || got.BufferedBytes > int64(len(long))+200 {
		t.Errorf("a text and the same compressed: %+v", got)
	}
}

// A flood of names that do not exist displaces itself rather than files.
func TestFlood(t *testing.T) {
	contents := map[string]string{}
	for i := range 10 {
		contents[fmt.Sprint(i)] = "x"
	}
	files := Root(tree(t, contents), Options{CacheEntryMaxCount: 100, CacheEntryTTL: hour})
	for name := range contents {
		if _, err := files.cache.find("/"+name, false); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5000 {
		if _, err := files.cache.find(fmt.Sprint("/missing", i), false); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	for name := range contents {
		if files.cache.get("/"+name) != nil {
			kept++
		}
	}
	if n := files.Monitor().(Figures).Entries; n != 100 || kept < 5 {
		t.Errorf("%d entries, %d of 10 files", n, kept)
	}
	files.cache.find("/"+strings.Repeat("a", 2000), false)
	if files.cache.get("/"+strings.Repeat("a", 2000)) != nil {
		t.Error("remembers a name of 2000 bytes")
	}
}

// A file that was written just now may change again without its time doing so.
func TestRecent(t *testing.T) {
	dir := tree(t, map[string]string{"a": "old"})
	write(t, dir+"/a", "now", time.Now().Add(time.Second))
	write(t, dir+"/future", "future", time.Now().Add(hour))
	files := Root(dir)
	address := serve(t, files)
	check(t, address, []row{{"GET /a", 200, "", "now"}})
	if n := files.Monitor().(Figures).BufferedFiles; n != 0 {
		t.Errorf("%d files are kept", n)
	}
	got := ask(t, address, "GET /future")
	modified, _ := time.Parse(time.RFC1123, got.Header.Get("Last-Modified"))
	if modified.After(time.Now()) || files.Monitor().(Figures).BufferedFiles != 1 {
		t.Errorf("Last-Modified %v", modified)
	}
}

// A file system that does not work is not one without the file.
func TestFailure(t *testing.T) {
	source := &broken{FS: fstest.MapFS{"a": {Data: []byte("a"), ModTime: changed}, "d": {Mode: os.ModeDir}}}
	files := FS(source, Options{CacheEntryTTL: always, BufferedFileMaxCount: -1, Listing: true})
	address := serve(t, files, next)
	source.err = syscall.EMFILE
	check(t, address, []row{{"GET /a", 503, "Retry-After: 1\nEtag:", "*"}, {"GET /b", 503, "", "*"}})
	source.err = fs.ErrNotExist
	check(t, address, []row{{"GET /a", 404, "", "next"}})
	source.err = nil
	check(t, address, []row{{"GET /a", 200, "", "a"}, {"HEAD /d/", 200, "", ""}})
	source.err = syscall.EIO
	check(t, address, []row{
		{"HEAD /a", 200, "Content-Length: 1", ""}, // better old than nothing
		{"GET /a", 503, "", "*"},
		{"GET /d/", 503, "", "*"},
	})
	if n := files.Monitor().(Figures).Failures; n != 4 {
		t.Errorf("%d failures", n)
	}
}

func TestStop(t *testing.T) {
	files := Root(tree(t, map[string]string{"a": "a", "b": "b"}), Options{CacheEntryTTL: hour})
	address := serve(t, files)
	check(t, address, []row{{"GET /a", 200, "", "a"}})
	if err := files.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	check(t, address, []row{{"GET /a", 503, "", "*"}, {"GET /b", 503, "", "*"}})
}

// The directory may be given relative to where the process is.
func TestRelative(t *testing.T) {
	dir := tree(t, map[string]string{"sub/a": "a"})
	t.Chdir(dir)
	check(t, serve(t, Root("sub")), []row{{"GET /a", 200, "", "a"}})
	check(t, serve(t, Root("."+string(filepath.Separator))), []row{{"GET /sub/a", 200, "", "a"}})
}
