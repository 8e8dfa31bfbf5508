package static

import (
	"compress/gzip"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var long = strings.Repeat("All work and no play makes Jack a dull boy.\n", 100)

func TestPrecompressed(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.css": "plain", "a.css.br": "brotli", "a.css.zst": "zstd", "a.css.gz": "gzip",
		"b.css": "plain", "b.css.gz": "gzip", "old.css": "plain", "c.css": "plain", "c.css.gz/x": "",
	})
	write(t, dir+"/old.css.gz", "old", changed.Add(-time.Minute))
	address := serve(t, Root(dir))
	check(t, address, []row{
		{"GET /a.css", 200, "Content-Encoding:\nVary: Accept-Encoding", "plain"},
		{"GET /a.css\nAccept-Encoding: gzip, deflate, br, zstd", 200, `Content-Encoding: br
			Content-Type: text/css; charset=utf-8
			Content-Length: 6
			Vary: Accept-Encoding`, "brotli"},
		{"HEAD /a.css\nAccept-Encoding: br", 200, "Content-Encoding: br\nContent-Length: 6", ""},
		{"GET /a.css\nAccept-Encoding: gzip, zstd", 200, "Content-Encoding: zstd", "zstd"},
		{"GET /a.css\nAccept-Encoding: GZIP", 200, "Content-Encoding: gzip", "gzip"},
		{"GET /a.css\nAccept-Encoding: x-gzip", 200, "Content-Encoding: gzip", "gzip"},
		{"GET /a.css\nAccept-Encoding: gzip;q=1.0, br;q=0.9", 200, "Content-Encoding: gzip", "gzip"},
		{"GET /a.css\nAccept-Encoding: gzip ; q=0.5\nAccept-Encoding: zstd;Q=0.501", 200, "Content-Encoding: zstd", "zstd"},
		{"GET /a.css\nAccept-Encoding: br;q=0, *", 200, "Content-Encoding: zstd", "zstd"},
		{"GET /a.css\nAccept-Encoding: *;q=0", 200, "Content-Encoding:", "plain"},
		{"GET /a.css\nAccept-Encoding: br;q=2, zstd;q=x, gzip;v=1", 200, "Content-Encoding:", "plain"},
		{"GET /a.css\nAccept-Encoding: identity, gzip;q=0.5", 200, "Content-Encoding:", "plain"},
		{"GET /a.css\nAccept-Encoding: identity;q=0.5, gzip;q=0.5", 200, "Content-Encoding: gzip", "gzip"},
		{"GET /a.css\nAccept-Encoding:", 200, "Content-Encoding:", "plain"},
		{"GET /b.css\nAccept-Encoding: br, gzip;q=0.1", 200, "Content-Encoding: gzip", "gzip"},
		{"GET /old.css\nAccept-Encoding: gzip", 200, "Content-Encoding:\nVary:", "plain"},
		{"GET /c.css\nAccept-Encoding: gzip", 200, "Content-Encoding:\nVary:", "plain"},
		{"GET /a.css.gz", 200, "Content-Encoding:\nContent-Type: application/gzip", "gzip"},
		{"GET /a.css\nAccept-Encoding: br\nRange: bytes=0-1", 206, "Content-Encoding: br\nContent-Range: bytes 0-1/6", "br"},
		{"GET /a.css\nAccept-Encoding: br\nRange: bytes=6-", 416, "Content-Encoding:\nContent-Range: bytes */6", "*"},
	})
	tags := map[string]bool{}
	for _, coding := range []string{"br", "zstd", "gzip", "identity"} {
		tag := ask(t, address, "GET /a.css\nAccept-Encoding: "+coding).Header.Get("Etag")
		tags[tag] = true
		check(t, address, []row{
			{"GET /a.css\nAccept-Encoding: " + coding + "\nIf-None-Match: " + tag, 304, "Vary: Accept-Encoding\nEtag: " + tag, ""},
		})
	}
	if len(tags) != 4 {
		t.Errorf("tags are shared: %v", tags)
	}
	check(t, serve(t, Root(dir, Options{DisableCompression: true})), []row{
		{"GET /a.css\nAccept-Encoding: br", 200, "Content-Encoding:\nVary:", "plain"},
	})
}

// Text in memory is compressed once; what is not in memory never, as its length
// is to be told.
func TestCompressed(t *testing.T) {
	random := make([]byte, 1000)
	rand.NewChaCha8([32]byte{}).Read(random)
	noise := string(random)
	dir := tree(t, map[string]string{"long.txt": long, "long.png": long, "short.txt": "short", "noise.txt": noise})
	address := serve(t, Root(dir))
	got := ask(t, address, "GET /long.txt\nAccept-Encoding: gzip")
	if text := unzip(t, got); text != long {
		t.Errorf("unpacks to %.100q", text)
	}
	tag := got.Header.Get("Etag")
	if got.ContentLength != int64(len(got.body)) || strings.HasPrefix(tag, "W/") || got.Header.Get("Last-Modified") == "" {
		t.Errorf("header %v", got.Header)
	}
	check(t, address, []row{
		{"GET /long.txt\nAccept-Encoding: gzip\nIf-None-Match: {tag}", 304, "Vary: Accept-Encoding", ""},
		{"GET /long.txt\nAccept-Encoding: gzip\nIf-Match: {tag}\nRange: bytes=0-1", 206, "Content-Encoding: gzip", "\x1f\x8b"},
		{"GET /long.txt\nIf-None-Match: {tag}", 200, "Content-Encoding:\nVary: Accept-Encoding", long},
		{"GET /long.txt\nAccept-Encoding: gzip;q=0.1, identity", 200, "Content-Encoding:", long},
		{"GET /long.png\nAccept-Encoding: gzip", 200, "Content-Encoding:\nVary:", long},
		{"GET /short.txt\nAccept-Encoding: gzip", 200, "Content-Encoding:\nVary:", "short"},
		{"GET /noise.txt\nAccept-Encoding: gzip", 200, "Content-Encoding:\nContent-Length: 1000", noise},
	}, "{tag}", tag)
	check(t, serve(t, Root(dir, Options{BufferedFileMaxSize: 100})), []row{
		{"GET /long.txt\nAccept-Encoding: gzip", 200, "Content-Encoding:\nContent-Length: 4400\nVary: Accept-Encoding", long},
	})
}

// unzip returns what a reply in gzip coding stands for.
func unzip(t testing.TB, got reply) string {
	t.Helper()
	reader, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
