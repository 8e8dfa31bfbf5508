package static

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"aerys/internal/page"
)

// maxListed bounds how many entries of a directory a listing shows, and twice
// that how many are held while they are looked for.
const maxListed = 10_000

// listed is an entry of a directory that a request can reach.
type listed struct {
	name, folded string // as it is, and in lower case
	directory    bool
}

// list makes the listing of a directory.
func (s *source) list(directory string) (*resource, error) {
	entries, more, err := s.entries(directory)
	if err != nil {
		return new(resource), failure(err)
	}
	here := page.Listing{More: more}
	if directory != "." {
		here.Way = strings.Split(directory, "/")
	}
	for _, entry := range entries {
		info, err := fs.Stat(s.FS, path.Join(directory, entry.name))
		if err == nil && info.IsDir() == entry.directory { // or it has changed just now
			here.Entries = append(here.Entries,
				page.Entry{Name: entry.name, Directory: entry.directory, Bytes: info.Size(), Modified: lastChange(info)})
		}
	}
	return s.listing(here.HTML()), nil
}

// listing makes the resource of a listing.
func (s *source) listing(body []byte) *resource {
	found := &resource{cacheControl: []string{"no-cache"}, vary: s.vary}
	shown := made(body, page.Type, "", time.Time{})
	if s.compressible(shown) {
		shown.kept.Load().compressed = shown.compress(body)
		found.vary = join(found.vary, "Accept-Encoding")
	}
	found.representations = []*representation{shown}
	return found
}

// entries returns the first entries of a directory, as a listing sorts them, and
// how many more there are.
func (s *source) entries(directory string) (first []listed, more int, err error) {
	file, err := s.Open(directory)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	reader, ok := file.(fs.ReadDirFile)
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	for {
		batch, err := reader.ReadDir(1000)
		for _, entry := range batch {
			if entry, ok := s.reachable(directory, entry); ok {
				first = append(first, entry)
			}
		}
		if len(first) > 2*maxListed || err != nil {
			slices.SortFunc(first, listed.compare)
			more += max(0, len(first)-maxListed)
			first = first[:min(len(first), maxListed)]
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return first, more, err
		}
	}
}

// reachable describes an entry; ok is false if no request can reach it.
func (s *source) reachable(directory string, entry fs.DirEntry) (listed, bool) {
	name := path.Join(directory, entry.Name())
	key, ok := key(&url.URL{Path: "/" + name}, "")
	if _, valid := fileName(key, s.DotFiles); !ok || !valid {
		return listed{}, false
	}
	kind := entry.Type()
	if kind&fs.ModeSymlink != 0 { // which is followed, unless it leaves the root
		info, err := fs.Stat(s.FS, name)
		if err != nil {
			return listed{}, false
		}
		kind = info.Mode().Type()
	}
	return listed{entry.Name(), strings.ToLower(entry.Name()), kind.IsDir()}, kind.IsDir() || kind.IsRegular()
}

// compare sorts directories first, and names regardless of case.
func (l listed) compare(other listed) int {
	if l.directory != other.directory {
		if l.directory {
			return -1
		}
		return 1
	}
	return cmp.Or(natural(l.folded, other.folded), strings.Compare(l.name, other.name))
}

// natural compares names as people sort them, numbers in them by their value.
func natural(a, b string) int {
	for a != "" && b != "" {
		var first, second string
		first, a = cutPart(a)
		second, b = cutPart(b)
		if isDigit(first[0]) && isDigit(second[0]) {
			first, second = strings.TrimLeft(first, "0"), strings.TrimLeft(second, "0")
			if order := cmp.Compare(len(first), len(second)); order != 0 {
				return order
			}
		}
		if order := strings.Compare(first, second); order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

// cutPart cuts a number or another byte off the front of a name.
func cutPart(name string) (part, rest string) {
	end := 1
	for isDigit(name[0]) && end < len(name) && isDigit(name[end]) {
		end++
	}
	return name[:end], name[end:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
