package static

import (
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
)

// resource is what a key stands for: a file in one or more codings, a listing, a
// directory, a redirect, what may not be read, or nothing. It does not change,
// but for its age.
type resource struct {
	representations []*representation // the uncoded one last
	directory       bool              // asked for without a slash at its end
	redirect        string            // a path, with the prefix
	unreadable      error             // why the system forbids to read it
	cacheControl    []string
	vary            []string
	expires         atomic.Int64 // on the cache's clock
}

// exists reports whether there is an answer.
func (r *resource) exists() bool {
	return len(r.representations) > 0 || r.redirect != "" || r.unreadable != nil
}

// listing reports whether r is a listing, which is there only as long as its body
// is kept.
func (r *resource) listing() bool {
	return len(r.representations) > 0 && r.representations[0].name == ""
}

// same reports whether r and other are the same files.
func (r *resource) same(other *resource) bool {
	return r.directory == other.directory && r.unreadable == nil && other.unreadable == nil &&
		slices.EqualFunc(r.representations, other.representations, (*representation).same)
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
	return r.name != "" && r.name == other.name && r.stamp == other.stamp && r.etag == other.etag
}

// prepare makes the header values.
func (r *representation) prepare(contentType, coding string) {
	r.contentType = []string{contentType}
	r.contentLength = []string{strconv.FormatInt(r.stamp.size, 10)}
	r.etags = []string{r.etag}
	// No value, and no field: it keeps aerys.Response from compressing each time
	// what was not worth it once, and from hiding the length.
	r.contentEncoding = []string{}
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
	modified int64 // in ns since 1970
	inode    uint64
}

func stampOf(info fs.FileInfo) stamp {
	return stamp{size: info.Size(), modified: info.ModTime().UnixNano(), inode: inode(info)}
}

// lastChange returns when a file was changed, and zero if its time does not say
// that: nothing is older than the Web, but what an embed.FS has (no time) and
// what builds leave that are to be the same every time (0 or 1 s after 1970, as
// Nix; 1980 in archives; 1985 from npm).
func lastChange(info fs.FileInfo) time.Time {
	if modified := info.ModTime(); modified.Year() >= 1990 {
		return modified
	}
	return time.Time{}
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

// load asks the file system what key stands for. known is what it stood for
// before, or nil. Only errors of the file system itself are errors; what cannot
// be found does not exist.
func (s *source) load(key string, known *resource) (*resource, error) {
	if known == nil {
		known = new(resource)
	}
	found, err := s.look(key, known)
	if errors.Is(err, fs.ErrPermission) {
		return &resource{unreadable: err}, nil
	}
	return found, err
}

// look is load, but that what may not be read is an error.
func (s *source) look(key string, known *resource) (*resource, error) {
	if key == fallbackKey {
		found, err := s.loadFile(s.Fallback, known)
		found.vary = join(found.vary, "Accept")
		return found, err
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
		return s.loadDirectory(name, known)
	case info.IsDir():
		return &resource{directory: true}, nil
	case slash:
		return new(resource), nil
	}
	return s.loadFile(name, known)
}

func (s *source) loadDirectory(name string, known *resource) (*resource, error) {
	for _, index := range s.Indexes {
		found, err := s.loadFile(path.Join(name, index), known)
		if err != nil || found.exists() {
			return found, err
		}
	}
	if !s.Listing {
		return new(resource), nil
	}
	return s.list(name)
}

// codings are the content codings of precompressed siblings, best first.
var codings = [...]struct{ name, extension string }{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// loadFile describes the file name in all its codings.
func (s *source) loadFile(name string, known *resource) (*resource, error) {
	plain, err := s.describe(name, name, "", known)
	if plain == nil {
		return new(resource), err
	}
	found := &resource{cacheControl: []string{s.cacheControl(name)}, vary: s.vary}
	for _, coding := range codings {
		if s.DisableCompression {
			break
		}
		sibling, err := s.describe(name+coding.extension, name, coding.name, known)
		if err == nil && sibling != nil && sibling.stamp.size > 0 && !sibling.modified.Before(plain.modified) {
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
func (s *source) describe(name, typeName, coding string, known *resource) (*representation, error) {
	info, err := fs.Stat(s.FS, name)
	if err != nil || !info.Mode().IsRegular() { // a pipe would block, a device never end
		return nil, failure(err)
	}
	r := &representation{name: name, stamp: stampOf(info), modified: lastChange(info).Truncate(time.Second)}
	if r.etag, err = s.fileTag(r, coding, known); err != nil {
		return nil, failure(err)
	}
	r.prepare(s.contentType(typeName), coding)
	return r, nil
}

// fileTag makes the entity tag of a file, and finds out whether it can be read.
// Without a date the tag is made from the content, of any size: once, as long as
// known is of the same file.
func (s *source) fileTag(r *representation, coding string, known *resource) (string, error) {
	file, err := s.Open(r.name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if !r.modified.IsZero() {
		return s.stampTag(r.stamp, coding), nil
	}
	for _, before := range known.representations {
		if before.name == r.name && before.stamp == r.stamp {
			return before.etag, nil
		}
	}
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return tag(hash.Sum(nil)), err
}

// stampTag makes the entity tag of a file with a date: a hash, so that it does
// not tell the inode's number.
func (s *source) stampTag(version stamp, coding string) string {
	if s.OmitEtagInode {
		version.inode = 0
	}
	return contentTag(fmt.Appendf(nil, "%d %d %d %s", version.size, version.modified, version.inode, coding))
}

// compressible reports whether gzip is worth trying: what is shorter fits one
// packet anyway.
func (s *source) compressible(r *representation) bool {
	return !s.DisableCompression && len(r.contentEncoding) == 0 && r.stamp.size >= 860 && texts.MatchString(r.contentType[0])
}

var texts = regexp.MustCompile(`^text/|[/+.-](javascript|json|xml|yaml|toml|sql|wasm|subrip|mpegurl)\b`)

// errChanged means that a file is no longer what was remembered of it.
var errChanged = errors.New("static: the file has changed")

// gone returns what err means for a file that was there: that the file system
// does not work, or that the file has changed.
func gone(err error) error {
	if err = failure(err); err == nil || errors.Is(err, fs.ErrPermission) {
		return errChanged
	}
	return err
}

// failure returns err if it says that a file may not be read, or that the file
// system does not work, as when there are no descriptors left, and nil if it says
// that there is no such file.
func failure(err error) error {
	var errno interface{ Temporary() bool }
	if errors.As(err, &errno) && errno.Temporary() || errors.Is(err, fs.ErrClosed) || errors.Is(err, syscall.EIO) ||
		errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
