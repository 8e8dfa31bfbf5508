package static

import (
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"aerys/internal/field"
)

// fallbackKey stands for Options.Fallback in the cache; no request's key
// looks like it.
const fallbackKey = "fallback"

// key returns the path of a URL below the prefix, with a slash in front.
//
// An encoded slash or backslash is part of a name for routes, and would be a
// separator for us: a guard on /private must not be passed by /private%2fkey.
func (f *Files) key(address *url.URL) (key string, ok bool) {
	if raw := address.RawPath; raw != "" && strings.Contains(strings.ToLower(raw), "%2f") {
		return "", false
	}
	prefix := f.options.Prefix
	key, ok = strings.CutPrefix(address.Path, prefix)
	if !ok || strings.ContainsAny(key, "\\\x00") {
		return "", false
	}
	if strings.HasPrefix(key, "/") || key == "" && prefix != "" {
		return key, true
	}
	return "/" + key, prefix == "" // http.StripPrefix took the slash
}

// fileName turns a key into a name for the file system. ok is false for what
// can be no file's name here, or that is hidden.
func (f *Files) fileName(key string) (name string, ok bool) {
	name = strings.Trim(key, "/")
	if name == "" {
		name = "."
	}
	if _, err := filepath.Localize(name); err != nil {
		return "", false // COM1 on Windows, and the like
	}
	return name, f.options.DotFiles || !hidden(name)
}

// hidden reports whether a part of name starts with a dot. ".well-known" at
// the top does not count: it is meant to be found (RFC 8615 §3).
func hidden(name string) bool {
	if name == "." {
		return false
	}
	if rest, ok := strings.CutPrefix(name, ".well-known"); ok && (rest == "" || rest[0] == '/') {
		name = rest
	}
	return strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
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

// redirect sends the client to another path of this site.
func redirect(w http.ResponseWriter, r *http.Request, path string) {
	location := url.URL{Path: mount(r) + path, RawQuery: r.URL.RawQuery}
	w.Header().Set("Location", location.String())
	refuse(w, http.StatusMovedPermanently)
}

// mount returns what http.StripPrefix took off the front of the path. It is
// clean and starts with one slash, so that no Location leaves the site.
func mount(r *http.Request) string {
	asked, _, _ := strings.Cut(r.RequestURI, "?")
	front, ok := strings.CutSuffix(asked, r.URL.EscapedPath())
	if !ok || !strings.HasPrefix(front, "/") {
		return ""
	}
	return strings.TrimSuffix(path.Clean("/"+front), "/")
}

// fallsBack reports whether Options.Fallback answers r.
func (f *Files) fallsBack(r *http.Request, key string) bool {
	if f.options.Fallback == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	return path.Ext(key) == "" || field.HasItem(r.Header["Accept"], "text/html")
}
