package page

import (
	"strings"
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for size, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9949: "9.9 kB", 9950: "10 kB", 999_499: "999 kB", 999_500: "1.0 MB",
		1_234_567_890: "1.2 GB", 1 << 62: "4.6 EB",
	} {
		if got := (Entry{Bytes: size}).Size(); got != want {
			t.Errorf("%d: %q, want %q", size, got, want)
		}
	}
}

// What a page shows is text, whatever is in it.
func TestPagesShowText(t *testing.T) {
	hostile := "<script>alert(1)</script>"
	listing := &Listing{Title: hostile, Way: []Entry{{Name: hostile, URL: "./"}},
		Entries: []Entry{{Name: hostile, URL: "javascript:alert(1)", Modified: time.Unix(1, 0)}, {Name: "a", URL: "./a/", Directory: true}}}
	html, err := listing.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string]string{"an error": Error(500, hostile), "a listing": string(html)} {
		if strings.Contains(page, hostile) || strings.Contains(page, "javascript:") || !strings.Contains(page, "&lt;script&gt;") {
			t.Errorf("%s: %s", name, page)
		}
	}
}

func TestError(t *testing.T) {
	if page := Error(404, ""); !strings.Contains(page, "<h1>404 Not Found</h1>") || strings.Contains(page, "<pre>") {
		t.Error(page)
	}
	if page := Error(500, "why"); !strings.Contains(page, "<pre>why</pre>") {
		t.Error(page)
	}
}
