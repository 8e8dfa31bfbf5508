package static

import (
	"bytes"
	_ "embed" // for the page
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// maxListed bounds how many entries of a directory a listing shows.
const maxListed = 10_000

//go:embed listing.html
var listingPage string

var listing = template.Must(template.New("listing").Parse(listingPage))

// page is what listing.html shows.
type page struct {
	Title   string
	Way     []item // from the root to here
	Entries []item
	More    int // entries that are left out
}

// item is an entry of a directory, or a directory on the way to it.
type item struct {
	Name, URL, Size string
	Directory       bool
	Modified        time.Time
}

// list renders the listing of a directory.
func (f *Files) list(r *http.Request, directory string) (*representation, error) {
	entries, err := fs.ReadDir(f.source, directory)
	if err != nil && failure(err) == nil {
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	here := page{Title: path.Base(r.URL.Path), Way: way(directory), More: max(0, len(entries)-maxListed)}
	for _, entry := range entries[:len(entries)-here.More] {
		if item, ok := f.item(directory, entry); ok {
			here.Entries = append(here.Entries, item)
		}
	}
	slices.SortStableFunc(here.Entries, func(a, b item) int {
		return strings.Compare(a.rank(), b.rank())
	})
	var buffer bytes.Buffer
	if err := listing.Execute(&buffer, here); err != nil {
		return nil, err
	}
	return made(buffer.Bytes(), "text/html; charset=utf-8", "", time.Time{}), nil
}

// rank sorts directories first, and names regardless of case.
func (i item) rank() string {
	if i.Directory {
		return "1" + strings.ToLower(i.Name)
	}
	return "2" + strings.ToLower(i.Name)
}

// item describes an entry; ok is false if no request can reach it.
func (f *Files) item(directory string, entry fs.DirEntry) (item, bool) {
	name := path.Join(directory, entry.Name())
	info, err := fs.Stat(f.source, name) // follows links, unless they leave the root
	if err != nil || !f.options.DotFiles && hidden(name) || !info.IsDir() && !info.Mode().IsRegular() {
		return item{}, false
	}
	// With "./" in front, no name is taken for a scheme.
	i := item{Name: entry.Name(), URL: "./" + url.PathEscape(entry.Name()), Modified: info.ModTime()}
	if info.IsDir() {
		i.Directory, i.URL = true, i.URL+"/"
	} else {
		i.Size = readable(info.Size())
	}
	return i, true
}

// way returns the directories from the root to this one.
func way(directory string) []item {
	names := strings.Split("/"+strings.TrimPrefix(directory, "."), "/")
	if directory == "." {
		names = names[:1]
	}
	var items []item
	for i, name := range names {
		items = append(items, item{Name: name + "/", URL: "./" + strings.Repeat("../", len(names)-1-i)})
	}
	return items
}

// readable returns a size as people write it.
func readable(size int64) string {
	if size < 1000 {
		return fmt.Sprint(size, " B")
	}
	value, unit := float64(size)/1000, 0
	for value >= 999.5 {
		value, unit = value/1000, unit+1
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, "kMGTPE"[unit])
}
