package page

import (
	"bytes"
	_ "embed" // for the page
	"fmt"
	"html"
	"net/url"
	"strings"
	"time"
)

// listingHead is the listing's page up to its title. What follows is written by
// hand: html/template would make every program that lists directories a quarter
// larger, for the linker keeps every method where a template might call it.
//
//go:embed listing.html
var listingHead string

// Listing is what a directory has in it.
type Listing struct {
	Way     []string // the names of the directories from below the root to here
	Entries []Entry
	More    int // entries that are left out
}

// Entry is an entry of a directory.
type Entry struct {
	Name      string
	Bytes     int64 // of a file
	Directory bool
	Modified  time.Time // zero: unknown
}

// maxListing is from what length in bytes the page takes no more entries.
const maxListing = 2 << 20

// HTML renders the listing. Its links are relative to the directory's path,
// which ends in a slash.
func (l *Listing) HTML() []byte {
	page := bytes.NewBufferString(listingHead)
	title := strings.Join(append([]string{""}, l.Way...), "/") + "/"
	fmt.Fprintf(page, "<title>%s</title>\n<h1>", html.EscapeString(title))
	for i, name := range append([]string{""}, l.Way...) {
		writeLink(page, strings.Repeat("../", len(l.Way)-i), name+"/", "")
		page.WriteByte(' ')
	}
	page.WriteString("</h1>\n<table>\n<thead><tr><th scope=\"col\">Name<th scope=\"col\">Size<th scope=\"col\">Changed (UTC)</thead>\n<tbody>\n")
	if len(l.Way) > 0 {
		page.WriteString("<tr><td>")
		writeLink(page, "../", "../", "directory")
		page.WriteString("<td><td>\n")
	}
	more := l.More
	for i, entry := range l.Entries {
		if page.Len() > maxListing {
			more += len(l.Entries) - i
			break
		}
		entry.write(page)
	}
	page.WriteString("</tbody>\n</table>\n")
	if len(l.Entries) == 0 {
		page.WriteString("<p>Nothing here.</p>\n")
	}
	if more > 0 {
		fmt.Fprintf(page, "<p>… and %d more.</p>\n", more)
	}
	page.WriteString("</html>\n")
	return page.Bytes()
}

// writeLink writes a link to a path relative to here. With "./" in front, none is
// taken for a scheme.
func writeLink(page *bytes.Buffer, path, text, class string) {
	fmt.Fprintf(page, `<a href="./%s"`, html.EscapeString(path))
	if class != "" {
		fmt.Fprintf(page, ` class="%s"`, class)
	}
	fmt.Fprintf(page, ">%s</a>", html.EscapeString(text))
}

// write writes the entry's row.
func (e Entry) write(page *bytes.Buffer) {
	path, text, class := url.PathEscape(e.Name), e.Name, ""
	if e.Directory {
		path, text, class = path+"/", text+"/", "directory"
	}
	page.WriteString("<tr><td>")
	writeLink(page, path, text, class)
	fmt.Fprintf(page, "<td>%s<td>", e.Size())
	if !e.Modified.IsZero() {
		fmt.Fprintf(page, "<time>%s</time>", e.Modified.UTC().Format("2006-01-02 15:04"))
	}
	page.WriteByte('\n')
}

// Size is a file's size as people write it, and empty of a directory.
func (e Entry) Size() string {
	switch {
	case e.Directory:
		return ""
	case e.Bytes < 1000:
		return fmt.Sprint(e.Bytes, " B")
	}
	value, unit := float64(e.Bytes)/1000, 0
	for value >= 999.5 {
		value, unit = value/1000, unit+1
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, "kMGTPE"[unit])
}
