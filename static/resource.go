package static

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"aerys/internal/field"
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
	return r.directory == other.directory && r.redirect == other.redirect &&
		slices.EqualFunc(r.representations, other.representations, (*representation).same)
}

// codings are the content codings of precompressed siblings, best first.
var codings = [...]struct{ name, extension string }{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// choose returns the representation that the lists of Accept-Encoding prefer
// (RFC 9110 §12.5.3): the highest weight, then our own order. The uncoded one
// is always acceptable, and the choice of a client that says nothing.
func (r *resource) choose(accept []string) *representation {
	last := len(r.representations) - 1
	best := r.representations[last]
	if last == 0 || len(accept) == 0 {
		return best
	}
	highest := 0
	for _, representation := range r.representations {
		coding := "identity"
		if representation.contentEncoding != nil {
			coding = representation.contentEncoding[0]
		}
		if weight := field.Weight(accept, coding); weight > highest {
			best, highest = representation, weight
		}
	}
	return best
}

// representation is a resource in one coding (RFC 9110 §3.2): a file, or bytes
// made from one. It does not change, but that its body may be kept or dropped.
type representation struct {
	name     string // of the file, or ""
	stamp    stamp
	modified time.Time // in whole seconds, as in a header; zero: unknown
	etag     string
	kept     atomic.Pointer[kept]

	// Header values, ready to be put into the map of a response.
	contentType, contentLength, contentEncoding, lastModified, etags []string
}

func (r *representation) same(other *representation) bool {
	return r.name == other.name && r.stamp == other.stamp && r.etag == other.etag
}

// prepare makes the header values.
func (r *representation) prepare(contentType, coding string) {
	r.contentType = []string{contentType}
	r.contentLength = []string{strconv.FormatInt(r.stamp.size, 10)}
	r.etags = []string{r.etag}
	if coding != "" {
		r.contentEncoding = []string{coding}
	}
	if r.modified.IsZero() {
		return
	}
	// A date in the future must not be sent (RFC 9110 §8.8.2.1).
	if now := time.Now().Truncate(time.Second); r.modified.After(now) {
		r.modified = now
	}
	r.lastModified = []string{r.modified.UTC().Format(http.TimeFormat)}
}

// stamp tells versions of a file apart.
type stamp struct {
	size     int64
	modified int64 // in ns since 1970; 0: unknown
	inode    uint64
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), inode: inode(info)}
	if modified := info.ModTime(); modified.Unix() > 0 {
		s.modified = modified.UnixNano()
	}
	return s
}

// recent reports whether a write right now might leave the stamp as it is:
// file systems keep time in ticks of up to two seconds.
func (s stamp) recent() bool {
	return time.Since(time.Unix(0, s.modified)).Abs() < 2*time.Second
}

// tag makes a strong entity tag of a hash (RFC 9110 §8.8.3).
func tag(sum []byte) string { return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"` }

// contentTag makes the entity tag of what does not tell when it was changed.
func contentTag(body []byte) string {
	sum := sha256.Sum256(body)
	return tag(sum[:])
}

// source is the file system, and what its files are to become.
type source struct {
	fs.FS
	Options
}

// load asks the file system what key stands for. Only errors of the file system
// itself are errors; what cannot be found does not exist.
func (s *source) load(key string) (*resource, error) {
	if key == fallbackKey {
		return s.loadFile(s.Fallback, true)
	}
	if clean := canonical(key); clean != key {
		return s.loadMoved(clean)
	}
	name, ok := fileName(key, s.DotFiles)
	if !ok {
		return new(resource), nil
	}
	info, err := fs.Stat(s.FS, name)
	slash := strings.HasSuffix(key, "/")
	switch {
	case err != nil:
		return new(resource), failure(err)
	case info.IsDir() && slash:
		return s.loadDirectory(name)
	case info.IsDir():
		return s.loadMoved(key + "/")
	case slash:
		return new(resource), nil
	}
	return s.loadFile(name, false)
}

// loadMoved returns a redirect to key, if there is anything.
func (s *source) loadMoved(key string) (*resource, error) {
	found, err := s.load(key)
	if err == nil && found.exists() && found.redirect == "" {
		found = &resource{redirect: canonical(s.Prefix + key)}
	}
	return found, err
}

func (s *source) loadDirectory(name string) (*resource, error) {
	for _, index := range s.Indexes {
		found, err := s.loadFile(path.Join(name, index), false)
		if err != nil || found.exists() {
			return found, err
		}
	}
	if !s.Listing {
		return new(resource), nil
	}
	return &resource{directory: name, cacheControl: []string{"no-cache"}, vary: s.vary}, nil
}

// loadFile describes the file name in all its codings. fallback is set when it
// answers for other names than its own.
func (s *source) loadFile(name string, fallback bool) (*resource, error) {
	plain, err := s.describe(name, name, "")
	if plain == nil || err != nil {
		return new(resource), err
	}
	found := &resource{cacheControl: []string{s.cacheControl(name)}, vary: s.vary}
	if fallback {
		found.cacheControl = []string{"no-cache"}
		found.vary = join(found.vary, "Accept")
	}
	for _, coding := range codings {
		if s.DisableCompression {
			break
		}
		sibling, err := s.describe(name+coding.extension, name, coding.name)
		if err != nil {
			return nil, err
		}
		if sibling != nil && !sibling.modified.Before(plain.modified) {
			found.representations = append(found.representations, sibling)
		}
	}
	if len(found.representations) > 0 || s.compressible(plain) {
		found.vary = join(found.vary, "Accept-Encoding")
	}
	found.representations = append(found.representations, plain)
	return found, nil
}

// join returns a header value list, of one line, with name added.
func join(list []string, name string) []string {
	return []string{strings.Join(append(list[:len(list):len(list)], name), ", ")}
}

// describe looks at the file name, which is the file typeName in the given
// coding. It returns nil if there is no such file.
func (s *source) describe(name, typeName, coding string) (*representation, error) {
	info, err := fs.Stat(s.FS, name)
	if err != nil || !info.Mode().IsRegular() { // a pipe would block, a device never end
		return nil, failure(err)
	}
	r := &representation{name: name, stamp: stampOf(info)}
	if r.stamp.modified != 0 {
		r.etag = s.stampTag(r.stamp, coding)
		r.modified = info.ModTime().Truncate(time.Second)
	} else if r.etag, err = s.fileTag(name); err != nil {
		return nil, failure(err)
	}
	r.prepare(s.contentType(typeName), coding)
	return r, nil
}

// fileTag is contentTag for a file, of any size.
func (s *source) fileTag(name string) (string, error) {
	file, err := s.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return tag(hash.Sum(nil)), err
}

// stampTag makes the entity tag of any other file: a hash, so that it does not
// tell the inode's number.
func (s *source) stampTag(version stamp, coding string) string {
	if s.OmitEtagInode {
		version.inode = 0
	}
	return contentTag(fmt.Appendf(nil, "%d %d %d %s", version.size, version.modified, version.inode, coding))
}

// compressible reports whether gzip is worth trying: what is shorter fits one
// packet anyway.
func (s *source) compressible(r *representation) bool {
	return !s.DisableCompression && r.contentEncoding == nil && r.stamp.size >= 860 && texts.MatchString(r.contentType[0])
}

var texts = regexp.MustCompile("text/|javascript|json|xml|yaml|wasm")

// errChanged means that a file is no longer what was remembered of it.
var errChanged = errors.New("static: the file has changed")

// gone returns what err means for a file that was there: that the file system
// does not work, or that the file has changed.
func gone(err error) error { return cmp.Or(failure(err), errChanged) }

// failure returns err if it says that the file system does not work, as when
// there are no descriptors left, and nil if it says that there is no such file.
func failure(err error) error {
	var errno interface{ Temporary() bool }
	if errors.As(err, &errno) && errno.Temporary() || errors.Is(err, fs.ErrClosed) || errors.Is(err, syscall.EIO) {
		return err
	}
	return nil
}
