package static

import (
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"aerys/internal/page"
)

// maxListed bounds how many entries of a directory a listing shows.
const maxListed = 10_000

// list renders the listing of a directory.
func (f *Files) list(r *http.Request, directory string) (*representation, error) {
	entries, err := fs.ReadDir(f.source, directory)
	if err != nil && failure(err) == nil {
		return nil, errChanged
	}
	if err != nil {
		return nil, err
	}
	here := page.Listing{Title: path.Base(r.URL.Path), Way: way(directory), More: max(0, len(entries)-maxListed)}
	for _, entry := range entries[:len(entries)-here.More] {
		if entry, ok := f.entry(directory, entry); ok {
			here.Entries = append(here.Entries, entry)
		}
	}
	slices.SortStableFunc(here.Entries, func(a, b page.Entry) int { return strings.Compare(rank(a), rank(b)) })
	body, err := here.HTML()
	if err != nil {
		return nil, err
	}
	return made(body, page.Type, "", time.Time{}), nil
}

// rank sorts directories first, and names regardless of case.
func rank(i page.Entry) string {
	if i.Directory {
		return "1" + strings.ToLower(i.Name)
	}
	return "2" + strings.ToLower(i.Name)
}

// entry describes an entry; ok is false if no request can reach it.
func (f *Files) entry(directory string, entry fs.DirEntry) (page.Entry, bool) {
	name := path.Join(directory, entry.Name())
	info, err := fs.Stat(f.source, name) // follows links, unless they leave the root
	if err != nil || !f.options.DotFiles && hidden(name) || !info.IsDir() && !info.Mode().IsRegular() {
		return page.Entry{}, false
	}
	// With "./" in front, no name is taken for a scheme.
	i := page.Entry{Name: entry.Name(), URL: "./" + url.PathEscape(entry.Name()), Modified: info.ModTime()}
	if info.IsDir() {
		i.Directory, i.URL = true, i.URL+"/"
	} else {
		i.Bytes = info.Size()
	}
	return i, true
}

// way returns the directories from the root to this one.
func way(directory string) []page.Entry {
	names := strings.Split("/"+strings.TrimPrefix(directory, "."), "/")
	if directory == "." {
		names = names[:1]
	}
	var items []page.Entry
	for i, name := range names {
		items = append(items, page.Entry{Name: name + "/", URL: "./" + strings.Repeat("../", len(names)-1-i)})
	}
	return items
}
