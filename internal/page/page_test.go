package page

import (
	"fmt"
	"html"
	"net/url"
	"regexp"
	"runtime/debug"
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

// What a page shows is text, whatever is in it, and a link leads where its name
// says.
func TestPagesShowText(t *testing.T) {
	for _, hostile := range []string{"<script>alert(1)</script>", `"><script>`, `" onclick="alert(1)`, `' onclick='alert(1)`, "</title><script>", "<!--", "&lt;",
		"javascript:alert(1)", "data:text/html,<script>", "//evil.example", "\\\\evil", "?x", "#x", "%3cscript%3e", "a\nb", "\x00<script>"} {
		listing := &Listing{Way: []string{"x", hostile}, More: 1,
			Entries: []Entry{{Name: hostile, Modified: time.Unix(1, 0)}, {Name: hostile, Directory: true}}}
		tag := regexp.MustCompile(`<(?:a href="\./([A-Za-z0-9_.~%!$&;:@+=/#-]*)"( class="directory")?|/?[a-z0-9]+( scope="col")?|html lang="en"|!DOCTYPE html|meta name="?[a-z-]+"? content=[^>]*|meta charset="utf-8")>`)
		for where, page := range map[string]string{"a listing": string(listing.HTML()), "an error": (&Error{Status: 500, Text: hostile, Stack: hostile}).html()} {
			_, body, _ := strings.Cut(page, "</style>")
			text := tag.ReplaceAllString(body, "")
			if strings.ContainsAny(text, "<>\"'") || !strings.Contains(html.UnescapeString(text), hostile) {
				t.Errorf("%s with %q: %s", where, hostile, text)
			}
			for _, link := range tag.FindAllStringSubmatch(body, -1) {
				to, err := url.Parse("./" + html.UnescapeString(link[1]))
				if err != nil || to.IsAbs() || to.Host != "" || to.RawQuery != "" || to.Fragment != "" ||
					strings.Trim(to.Path, "./") != "" && strings.TrimSuffix(strings.TrimPrefix(to.Path, "./"), "/") != strings.TrimSuffix(hostile, "/") {
					t.Errorf("%s with %q: a link to %v, %v", where, hostile, to, err)
				}
			}
		}
	}
}

// A page takes no more entries than fit.
func TestListingIsBounded(t *testing.T) {
	listing := &Listing{More: 5, Entries: make([]Entry, 10_000)}
	for i := range listing.Entries {
		listing.Entries[i].Name = strings.Repeat("&", 255)
	}
	page := string(listing.HTML())
	if rows := strings.Count(page, "<tr><td>"); len(page) > maxListing+5000 || !strings.Contains(page, fmt.Sprint(10_005-rows, " more")) {
		t.Errorf("%d bytes, %d rows: %s", len(page), rows, page[len(page)-100:])
	}
}

// A stack begins with the function that has panicked, also where the runtime did it
// on its behalf.
func TestUserStack(t *testing.T) {
	for name, panics := range map[string]func(){
		"a panic":     func() { panic("x") },
		"an index":    func() { var none []int; none[len(none)]++ },
		"nil":         func() { var none *int; *none = 1 },
		"a nil error": func() { panic(error(nil)) },
	} {
		func() {
			defer func() {
				recover()
				if stack := string(UserStack(debug.Stack())); !strings.HasPrefix(stack, "aerys/internal/page.TestUserStack.func") {
					t.Errorf("%s: %s", name, stack)
				}
			}()
			panics()
		}()
	}
	if stack := string(UserStack([]byte("goroutine 1 [running]:\nmain.main()\n\tx.go:1\n"))); !strings.HasPrefix(stack, "goroutine 1") {
		t.Errorf("of no panic: %s", stack)
	}
}
