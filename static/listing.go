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
func (s *source) list(r *http.Request, directory string) (*representation, error) {
	entries, err := fs.ReadDir(s.FS, directory)
	if err != nil {
		return nil, gone(err)
	}
	here := page.Listing{Title: path.Base(r.URL.Path), Way: way(directory), More: max(0, len(entries)-maxListed)}
	for _, entry := range entries[:len(entries)-here.More] {
		if entry, ok := s.entry(directory, entry); ok {
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
func (s *source) entry(directory string, entry fs.DirEntry) (page.Entry, bool) {
	name := path.Join(directory, entry.Name())
	info, err := fs.Stat(s.FS, name) // follows links, unless they leave the root
	if err != nil || !s.DotFiles && hidden(name) || !info.IsDir() && !info.Mode().IsRegular() {
		return page.Entry{}, false
	}
	// With "./" in front, no name is taken for a scheme.
	shown := page.Entry{Name: entry.Name(), URL: "./" + url.PathEscape(entry.Name()), Modified: info.ModTime(),
		Directory: info.IsDir(), Bytes: info.Size()}
	if shown.Directory {
		shown.URL += "/"
	}
	return shown, true
}

// way returns the directories from the root to this one.
func way(directory string) []page.Entry {
	names := strings.Split(strings.TrimSuffix(path.Join("/", directory), "/"), "/")
	var items []page.Entry
	for i, name := range names {
		items = append(items, page.Entry{Name: name + "/", URL: "./" + strings.Repeat("../", len(names)-1-i)})
	}
	return items
}
