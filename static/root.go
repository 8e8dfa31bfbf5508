// Package static serves files from a directory or an fs.FS, as an action of
// package aerys or as an http.Handler.
//
//	package main
//
//	import (
//		"log"
//
//		"aerys"
//		"aerys/static"
//	)
//
//	func main() {
//		if err := aerys.Run(new(aerys.Host).Expose("*", 1337).Use(static.Root("public"))); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// What does not exist falls through to the next action. Names are those of the
// URL: case counts where the file system says so, and a path guarded by a route
// should be guarded in a tree of its own if the file system does not.
//
// # Links and permissions
//
// Root opens its directory once, through [os.Root], and everything else from
// there, so that nothing outside can be reached. A symbolic link is followed if
// it is relative and its way never leaves the directory; one that is absolute, or
// climbs out and comes back, does not exist, even if its goal is inside. Hard
// links are files like any other, and what is mounted below belongs to the tree.
// Pipes, sockets and devices are not served. FS follows what its file system
// does: [os.DirFS] follows links anywhere.
//
// What may be read is up to the system, for the user that the process runs as by
// then (see aerys.Options.User), the directory itself being open already. It
// takes the right to read the file, and to read and to search each directory on
// the way, as os.Root opens them one by one. What may not be read is answered
// with 403, and logged; a precompressed sibling that may not is passed over.
//
// # Changes
//
// What is known of a file, and small files themselves, are kept in memory for
// Options.CacheEntryTTL. A response is never half of an old and half of a new
// file: what is kept in memory was read whole from a file that did not change
// meanwhile, and a larger file that shrinks or is written to while it is sent
// ends in an aborted connection. Replace files by renaming, and every client
// gets either the old or the new one.
//
// Files without a modification time, or with one before 1990, as builds leave
// that are to be the same every time, have no Last-Modified, and an entity tag
// made from their content when they are first looked at. From then on their
// size, time and inode tell whether they have changed.
package static

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"aerys"
	"aerys/internal/field"
)

// Files is an action that serves files: an aerys.Handler that leaves requests
// for what does not exist to the next action, and an http.Handler that answers
// them with 404. Its methods may be called from any goroutine.
type Files struct {
	source *source
	cache  *cache
	closer func() error
}

// Root serves the files in dir and below. It panics if dir is no directory
// that can be opened, and at options that make no sense. The directory stays
// open, even if another one takes its name, until Stop.
func Root(dir string, options ...Options) *Files {
	root, err := os.OpenRoot(dir)
	if err != nil {
		panic(fmt.Sprintf("static.Root(%q): %v; name a directory that exists", dir, err))
	}
	return newFiles(fmt.Sprintf("static.Root(%q)", dir), root.FS(), root.Close, options)
}

// FS serves the files of source, such as an embed.FS. Ranges need files that implement io.Seeker, or that are small enough to be kept in
// memory. It panics at options that make no sense.
func FS(source fs.FS, options ...Options) *Files {
	if source == nil {
		panic("static.FS(nil): give a file system")
	}
	return newFiles("static.FS", source, func() error { return nil }, options)
}

// newFiles checks the options and puts a Files together. place names it in panics.
func newFiles(place string, files fs.FS, closer func() error, options []Options) *Files {
	if len(options) > 1 {
		panic(place + ": give one Options at most")
	}
	s := &source{FS: files}
	if len(options) == 1 {
		s.Options = options[0]
	}
	if err := s.complete(files); err != nil {
		panic(fmt.Sprintf("%s: %v", place, err))
	}
	s.Logger = s.Logger.With("files", place)
	return &Files{source: s, cache: newCache(s), closer: closer}
}

// Serve answers req if it names a file, and otherwise leaves res untouched.
func (f *Files) Serve(req *aerys.Request, res *aerys.Response) {
	if !isExtendedConnect(req.Request) {
		f.serve(res, req.Request)
	}
}

// ServeHTTP answers r, with 404 if it names no file.
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if isExtendedConnect(r) {
		refuse(w, http.StatusNotImplemented, nil) // as a Host does
		return
	}
	if !f.serve(w, r) {
		http.NotFound(w, r)
	}
}

// isExtendedConnect reports whether a request is for another protocol (RFC 8441 §4):
// there is no file for it.
func isExtendedConnect(r *http.Request) bool { return r.Header[":protocol"] != nil }

// Stop closes the directory, and gives up what is kept. Requests that come
// later get 503.
func (f *Files) Stop(context.Context) error {
	f.cache.clear()
	return f.closer()
}

// Figures are what Monitor reports.
type Figures struct {
	Entries       int   `json:"entries" metric:"aerys_static_entries gauge Names about which something is remembered."`
	BufferedFiles int   `json:"buffered_files" metric:"aerys_static_buffered_files gauge Files and listings kept in memory."`
	BufferedBytes int64 `json:"buffered_bytes" metric:"aerys_static_buffered_bytes gauge Size of the files and listings kept in memory."`
	Hits          int64 `json:"hits" metric:"aerys_static_hits_total counter Requests answered from what was remembered."`
	Misses        int64 `json:"misses" metric:"aerys_static_misses_total counter Requests that had to ask the file system."`
	Failures      int64 `json:"failures" metric:"aerys_static_failures_total counter Requests answered with 503, for the file system failed."`
}

// Monitor returns Figures.
func (f *Files) Monitor() any { return f.cache.figures() }

// attempts is how often a file may change between looking and opening.
const attempts = 4

// serve answers r, unless it names no file.
func (f *Files) serve(w http.ResponseWriter, r *http.Request) bool {
	key, ok := key(r.URL, f.source.Prefix)
	if !ok {
		return false
	}
	reload := f.source.Debug && (field.HasToken(r.Header["Cache-Control"], "no-cache") || field.HasToken(r.Header["Pragma"], "no-cache"))
	err := errChanged
	for attempt := 0; attempt < attempts && errors.Is(err, errChanged); attempt++ {
		var found *resource
		found, err = f.cache.find(key, reload || attempt > 0)
		if err == nil && !found.exists() && f.fallsBack(r, key) {
			found, err = f.cache.find(fallbackKey, reload || attempt > 0)
		}
		if err == nil && !found.exists() {
			return false
		}
		if err == nil {
			err = f.answer(w, r, found)
		}
	}
	if err != nil {
		f.cache.failures.Add(1)
		f.shareAcrossOrigins(w.Header(), r, f.source.vary)
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, err)
	}
	return true
}

// fallbackKey stands for Options.Fallback in the cache; no request's key has a
// NUL.
const fallbackKey = "/\x00"

// key returns the path of a URL below a prefix, with a slash in front.
//
// An encoded slash or backslash is part of a name for routes, and would be a
// separator for us: a guard on /private must not be passed by /private%2fkey.
func key(address *url.URL, prefix string) (key string, ok bool) {
	if strings.Contains(strings.ToLower(address.RawPath), "%2f") {
		return "", false
	}
	key, ok = strings.CutPrefix(address.Path, prefix)
	if !ok || strings.ContainsAny(key, "\\\x00") {
		return "", false
	}
	if strings.HasPrefix(key, "/") || key == "" && prefix != "" {
		return key, true
	}
	return "/" + key, prefix == "" // http.StripPrefix took the slash
}

// canonical returns key with a slash in front, and without empty, "." and ".."
// segments.
func canonical(key string) string {
	clean := path.Join("/", key)
	if strings.HasSuffix(key, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// fileName turns a key into a name for the file system. ok is false for what
// can be no file's name here, or that is hidden.
func fileName(key string, dotFiles bool) (name string, ok bool) {
	name = cmp.Or(strings.Trim(key, "/"), ".")
	_, err := filepath.Localize(name) // COM1 on Windows, and the like
	return name, err == nil && (dotFiles || !hidden(name))
}

// hidden reports whether a part of name starts with a dot. ".well-known" at
// the top does not count: it is meant to be found (RFC 8615 §3).
func hidden(name string) bool {
	if rest, ok := strings.CutPrefix(name, ".well-known"); ok && (rest == "" || rest[0] == '/') {
		name = rest
	}
	return name != "." && (strings.HasPrefix(name, ".") || strings.Contains(name, "/."))
}

// Header values that all responses share. Assigning them to the map instead of
// calling Set saves an allocation each; a later Add or Set copies them.
var (
	acceptRanges = []string{"bytes"}
	noSniff      = []string{"nosniff"}
	allowed      = []string{"GET, HEAD, OPTIONS"}
)

// answer answers a request for what exists. When it returns an error, which is
// that of the file system or errChanged, the response is untouched.
func (f *Files) answer(w http.ResponseWriter, r *http.Request, found *resource) error {
	if r.URL.Path == "" || r.URL.Path == "/" && found.listing() {
		found = withSlash(r, found)
	}
	if reads(r) && len(found.representations) > 0 {
		return f.send(w, r, found)
	}
	f.shareAcrossOrigins(w.Header(), r, f.source.vary)
	switch {
	case found.unreadable != nil:
		refuse(w, http.StatusForbidden, found.unreadable)
	case reads(r):
		redirect(w, r, found.redirect)
	case r.Method == http.MethodOptions:
		w.Header()["Allow"] = allowed
		w.Header()["Accept-Ranges"] = acceptRanges
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header()["Allow"] = allowed
		refuse(w, http.StatusMethodNotAllowed, nil)
	}
	return nil
}

// fallsBack reports whether Options.Fallback answers r.
func (f *Files) fallsBack(r *http.Request, key string) bool {
	if f.source.Fallback == "" || !reads(r) || path.Ext(key) != "" && !field.HasItem(r.Header["Accept"], "text/html") {
		return false
	}
	clean := canonical(key)
	return !slices.ContainsFunc(f.source.FallbackExcept, func(except string) bool {
		below, ok := strings.CutPrefix(clean, except)
		return ok && (below == "" || below[0] == '/')
	})
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// redirect sends the client to another path of this site.
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	location := url.URL{RawPath: mount(r) + (&url.URL{Path: path}).EscapedPath(), RawQuery: r.URL.RawQuery}
	location.Path, _ = url.PathUnescape(location.RawPath) // which counts where RawPath is not as it should be
	w.Header().Set("Location", location.String())
	say(w, http.StatusMovedPermanently)
}

// withSlash returns a redirect for a mount that was asked for without the slash
// behind it, from which relative links start, and else what was found there.
func withSlash(r *http.Request, found *resource) *resource {
	if front := mount(r); front == "" || strings.HasSuffix(askedPath(r), "/") {
		return found
	}
	return &resource{redirect: "/"}
}

// askedPath returns the path as the client sent it.
func askedPath(r *http.Request) string {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	return asked
}

// mount returns what Routes.Mount or http.StripPrefix took off the front of the
// path, as the client wrote it. It is clean and starts with one slash, so that no
// Location leaves the site.
func mount(r *http.Request) string {
	asked, below := askedPath(r), r.URL.EscapedPath()
	if below == "/" && !strings.HasSuffix(asked, "/") {
		below = ""
	}
	front, ok := strings.CutSuffix(asked, below)
	if !ok || !strings.HasPrefix(front, "/") {
		return ""
	}
	return strings.TrimSuffix(path.Clean("/"+front), "/")
}

// shareAcrossOrigins sets Vary and the fields of CORS; a preflight is an OPTIONS.
func (f *Files) shareAcrossOrigins(header http.Header, r *http.Request, vary []string) {
	if before := header["Vary"]; before != nil {
		header["Vary"] = append(before[:len(before):len(before)], vary...)
	} else if vary != nil {
		header["Vary"] = vary
	}
	origins, origin := f.source.Origins, r.Header.Get("Origin")
	if slices.Contains(origins, "*") {
		origin = "*"
	} else if !slices.Contains(origins, origin) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Encoding, Content-Length, Content-Range, ETag")
	if r.Header.Get("Access-Control-Request-Method") != "" {
		header["Access-Control-Allow-Methods"] = allowed
		header.Set("Access-Control-Allow-Headers", "*")
		header.Set("Access-Control-Max-Age", "86400")
	}
}

// refuse answers with an error, which a host shows as it shows all others.
func refuse(w http.ResponseWriter, status int, cause error) {
	if res, ok := w.(*aerys.Response); ok {
		res.Fail(&aerys.Error{Status: status, Err: cause})
		return
	}
	maps.DeleteFunc(w.Header(), func(name string, _ []string) bool {
		return slices.Contains([]string{"Cache-Control", "Content-Encoding", "Etag", "Last-Modified"}, name)
	})
	say(w, status)
}

// say answers with a status, and its name.
func say(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header()["X-Content-Type-Options"] = noSniff
	w.WriteHeader(status)
	io.WriteString(w, http.StatusText(status)+"\n")
}
