package compress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What is compressed: text that is long enough, for a client that takes it, and
// nobody has decided otherwise. Vary tells whenever the client decides.
func TestBegin(t *testing.T) {
	const html, gzip = "Content-Type: text/html", "gzip"
	for _, test := range []struct {
		header     string
		status     int
		size       int
		accept     string
		vary       string
		compressed bool
	}{
		{html, 200, least, gzip, "Accept-Encoding", true},
		{html, 200, least - 1, gzip, "", false},
		{html, 200, -1, gzip, "Accept-Encoding", true}, // as long as it may be
		{html + "\nContent-Length: 859", 200, -1, gzip, "", false},
		{html + "\nContent-Length: 860", 200, 0, gzip, "Accept-Encoding", true}, // to HEAD
		{html, 200, 1000, "", "Accept-Encoding", false},
		{html, 200, 1000, "br, GZIP;q=0.1", "Accept-Encoding", true},
		{html, 200, 1000, "*", "Accept-Encoding", true},
		{html, 200, 1000, "gzip;q=0", "Accept-Encoding", false},
		{html, 200, 1000, "identity, gzip;q=0.9", "Accept-Encoding", false},
		{html, 200, 1000, "identity;q=0.9, gzip;q=0.9", "Accept-Encoding", true},
		{html, 404, 1000, gzip, "Accept-Encoding", true},
		{html, 206, 1000, gzip, "", false},
		{html + "\nContent-Range: bytes 0-999/2000", 200, 1000, gzip, "", false},
		{html + "\nContent-Encoding: br", 200, 1000, gzip, "", false},
		{html + "\nCache-Control: private, no-transform", 200, 1000, gzip, "", false},
		{html + "\nVary: Cookie", 200, 1000, gzip, "Cookie, Accept-Encoding", true},
		{html + "\nVary: accept-encoding", 200, 1000, gzip, "accept-encoding", true},
		{html + "\nVary: *", 200, 1000, gzip, "*", true},
		{"Content-Type: Text/Plain; charset=utf-8", 200, 1000, gzip, "Accept-Encoding", true},
		{"Content-Type: application/problem+json", 200, 1000, gzip, "Accept-Encoding", true},
		{"Content-Type: application/javascript", 200, 1000, gzip, "Accept-Encoding", true},
		{"Content-Type: image/svg+xml", 200, 1000, gzip, "Accept-Encoding", true},
		{"Content-Type: text/event-stream", 200, -1, gzip, "", false},
		{"Content-Type: image/png", 200, 1000, gzip, "", false},
		{"", 200, 1000, gzip, "", false},
	} {
		header := http.Header{"Etag": {`"a"`}, "Accept-Ranges": {"bytes"}}
		for line := range strings.Lines(test.header) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			header.Add(name, value)
		}
		before := header.Clone()
		if got := Begin(header, test.status, test.size, []string{test.accept}); got != test.compressed {
			t.Errorf("%+v: %v", test, got)
		}
		if vary := strings.Join(header["Vary"], ", "); vary != test.vary {
			t.Errorf("%+v: Vary %q", test, vary)
		}
		if test.compressed {
			before.Del("Content-Length")
			before.Del("Accept-Ranges")
			before.Set("Content-Encoding", "gzip")
			before.Set("Etag", `W/"a"`)
		}
		delete(header, "Vary")
		delete(before, "Vary")
		if !maps.EqualFunc(header, before, slices.Equal) {
			t.Errorf("%+v: %v, want %v", test, header, before)
		}
	}
}

// A tag that is weak already, or none, stays what it is.
func TestWeakTag(t *testing.T) {
	for _, tag := range []string{`W/"a"`, ""} {
		header := http.Header{"Content-Type": {"text/html"}, "Etag": {tag}}
		if Begin(header, 200, 1000, []string{"gzip"}); header.Get("Etag") != tag {
			t.Errorf("%s became %s", tag, header.Get("Etag"))
		}
	}
}

// What is written comes out at the other end, after a Flush at once, and after
// Close nothing more, for others use the compressor then.
func TestWriter(t *testing.T) {
	ended := errors.New("ended")
	var sent bytes.Buffer
	writer := NewWriter(&sent, ended)
	io.WriteString(writer, "one ")
	if err := writer.(interface{ Flush() error }).Flush(); err != nil {
		t.Error(err)
	}
	early := make([]byte, 4)
	if reader, err := gzip.NewReader(bytes.NewReader(sent.Bytes())); err != nil {
		t.Error(err)
	} else if _, err := io.ReadFull(reader, early); string(early) != "one " {
		t.Errorf("flushed %q, %v", early, err)
	}
	io.WriteString(writer, "two")
	if err := writer.Close(); err != nil {
		t.Error(err)
	}
	length := sent.Len()
	if n, err := writer.Write([]byte("three")); n != 0 || err != ended {
		t.Errorf("wrote %d bytes after Close, %v", n, err)
	}
	if err := errors.Join(writer.Close(), writer.(interface{ Flush() error }).Flush()); err != nil || sent.Len() != length {
		t.Errorf("closed twice: %v, %d bytes more", err, sent.Len()-length)
	}
	reader, err := gzip.NewReader(&sent)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(reader); string(text) != "one two" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
