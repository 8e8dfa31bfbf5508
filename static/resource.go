package static

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
)

// resource is what a key stands for: a file in one or more codings, a
// directory to be listed, a redirect, or nothing. It does not change, but for
// its age.
type resource struct {
	representations []*representation // the uncoded one last
	directory       string            // to be listed
	redirect        string            // a path, with the prefix
	cacheControl    []string
	vary            []string
	expires         atomic.Int64 // on the cache's clock
}

// exists reports whether there is an answer.
func (r *resource) exists() bool {
	return len(r.representations) > 0 || r.directory != "" || r.redirect != ""
}

// same reports whether other was made from the same files.
func (r *resource) same(other *resource) bool {
	if r.directory != other.directory || r.redirect != other.redirect ||
		len(r.representations) != len(other.representations) {
		return false
	}
	for i, representation := range r.representations {
		if !representation.same(other.representations[i]) {
			return false
		}
	}
	return true
}

// find returns what key stands for. Only errors of the file system itself are
// errors; what cannot be found does not exist.
func (f *Files) find(key string, reload bool) (*resource, error) {
	known := f.cache.get(key)
	if known != nil && !reload && f.cache.fresh(known) {
		return known, nil
	}
	f.cache.misses.Add(1)
	loaded, err := f.load(key)
	if err != nil && known != nil && !reload {
		return known, nil // better old than nothing
	}
	if err != nil {
		return nil, err
	}
	if known != nil && known.same(loaded) {
		loaded = known
	}
	f.cache.put(key, loaded)
	return loaded, nil
}

// load asks the file system.
func (f *Files) load(key string) (*resource, error) {
	if key == fallbackKey {
		return f.loadFile(f.options.Fallback, true)
	}
	if clean := canonical(key); clean != key {
		return f.loadMoved(clean)
	}
	name, ok := f.fileName(key)
	if !ok {
		return new(resource), nil
	}
	info, err := fs.Stat(f.source, name)
	slash := strings.HasSuffix(key, "/")
	switch {
	case err != nil:
		return new(resource), failure(err)
	case info.IsDir() && slash:
		return f.loadDirectory(name)
	case info.IsDir():
		return f.loadMoved(key + "/")
	case slash:
		return new(resource), nil
	}
	return f.loadFile(name, false)
}

// loadMoved returns a redirect to key, if there is anything.
func (f *Files) loadMoved(key string) (*resource, error) {
	found, err := f.load(key)
	if err == nil && found.exists() && found.redirect == "" {
		found = &resource{redirect: canonical(f.options.Prefix + key)}
	}
	return found, err
}

func (f *Files) loadDirectory(name string) (*resource, error) {
	for _, index := range f.options.Indexes {
		found, err := f.loadFile(path.Join(name, index), false)
		if err != nil || found.exists() {
			return found, err
		}
	}
	if !f.options.Listing {
		return new(resource), nil
	}
	return &resource{directory: name, cacheControl: []string{"no-cache"}, vary: f.options.vary}, nil
}

// loadFile describes the file name in all its codings. fallback is set when it
// answers for other names than its own.
func (f *Files) loadFile(name string, fallback bool) (*resource, error) {
	plain, err := f.describe(name, name, "")
	if plain == nil || err != nil {
		return new(resource), err
	}
	found := &resource{cacheControl: []string{f.options.cacheControl(name)}, vary: f.options.vary}
	if fallback {
		found.cacheControl = []string{"no-cache"}
		found.vary = join(found.vary, "Accept")
	}
	if f.options.DisableCompression {
		found.representations = []*representation{plain}
		return found, nil
	}
	for _, coding := range codings {
		sibling, err := f.describe(name+coding.extension, name, coding.name)
		if err != nil {
			return nil, err
		}
		if sibling != nil && !sibling.modified.Before(plain.modified) {
			found.representations = append(found.representations, sibling)
		}
	}
	if len(found.representations) > 0 || plain.compressible() {
		found.vary = join(found.vary, "Accept-Encoding")
	}
	found.representations = append(found.representations, plain)
	return found, nil
}

// join returns a header value list, of one line, with name added.
func join(list []string, name string) []string {
	return []string{strings.Join(append(list[:len(list):len(list)], name), ", ")}
}

// failure returns err if it says that the file system does not work, as when
// there are no descriptors left, and nil if it says that there is no such file.
func failure(err error) error {
	var errno interface{ Temporary() bool }
	if errors.As(err, &errno) && errno.Temporary() {
		return err
	}
	if errors.Is(err, fs.ErrClosed) || errors.Is(err, syscall.EIO) {
		return err
	}
	return nil
}
