package static

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"aerys/internal/field"
)

// fallbackKey stands for Options.Fallback in the cache; no request's key
// looks like it.
const fallbackKey = "fallback"

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

// cacheControl returns the Cache-Control of the file name (RFC 9111 §5.2.2).
func (o *Options) cacheControl(name string) string {
	if o.CacheControl != nil {
		if value := o.CacheControl(name); value != "" {
			return value
		}
	}
	switch {
	case o.ExpiresPeriod < 0:
		return "no-cache"
	case hashed(name):
		return "max-age=31536000, immutable" // a year
	}
	return fmt.Sprintf("max-age=%d", o.ExpiresPeriod/time.Second)
}

// hashed reports whether a bundler put a hash of the content into name, as in
// app.3f2a9c1b.js or index-BZk3f9aX.css, so that the name never gets another
// content. In doubt it does not: an immutable file cannot be called back. So a
// hash has a letter behind a digit, which Summer24 and 20240131 have not, and
// is either hexadecimal, or eight characters not all of them lower case.
func hashed(name string) bool {
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	parts := strings.FieldsFunc(stem, func(r rune) bool { return r == '.' || r == '-' })
	return len(parts) > 1 && slices.ContainsFunc(parts[1:], func(part string) bool {
		return digitThenLetter.MatchString(part) &&
			(hexadecimal.MatchString(part) || len(part) == 8 && part != strings.ToLower(part))
	})
}

var (
	digitThenLetter = regexp.MustCompile(`[0-9].*[A-Za-z]`)
	hexadecimal     = regexp.MustCompile(`^[0-9a-f]{8,}$`)
)

// contentType returns the Content-Type of the file name.
func (o *Options) contentType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	value := cmp.Or(o.MimeTypes[extension], mimeTypes[extension], o.DefaultMimeType)
	return field.WithCharset(value, o.DefaultTextCharset)
}

// mimeTypes are the types that IANA has registered for extensions. It is a
// table of our own, so that an answer does not depend on the machine.
var mimeTypes = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
	".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json",
	".geojson": "application/geo+json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".xsl": "application/xml", ".atom": "application/atom+xml", ".rss": "application/rss+xml",
	".txt": "text/plain", ".log": "text/plain", ".md": "text/markdown", ".csv": "text/csv",
	".ics": "text/calendar", ".vtt": "text/vtt", ".yaml": "application/yaml", ".yml": "application/yaml",

	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".bmp": "image/bmp",
	".ico": "image/vnd.microsoft.icon", ".tif": "image/tiff", ".tiff": "image/tiff",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".flac": "audio/flac",
	".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg",
	".mov": "video/quicktime", ".mkv": "video/matroska",

	".pdf": "application/pdf", ".rtf": "application/rtf", ".epub": "application/epub+zip",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",

	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".zst": "application/zstd",
	".7z": binary, ".br": binary, ".bz2": binary, ".rar": binary, ".tar": binary, ".xz": binary,
	".bin": binary, ".apk": binary, ".deb": binary, ".rpm": binary, ".dmg": binary, ".iso": binary,
	".exe": binary, ".msi": binary,
}

const binary = "application/octet-stream"
