package pattern

import (
	"net/url"
	"strings"
)

// outline returns a URL's decoded path with an encodedSlash for each slash that
// was sent encoded and so belongs to its segment, and for that byte another that
// is no UTF-8.
func outline(u *url.URL) string {
	path := strings.ReplaceAll(u.Path, encodedSlash, "\xfe")
	if u.RawPath == "" || !strings.Contains(u.RawPath, "%2F") && !strings.Contains(u.RawPath, "%2f") || !isRaw(u) {
		return path
	}
	outlined, raw := []byte(path), u.RawPath
	for at := range outlined {
		length := 1
		if raw[0] == '%' {
			length = len("%2F")
			if outlined[at] == '/' {
				outlined[at] = encodedSlash[0]
			}
		}
		raw = raw[length:]
	}
	return string(outlined)
}

// isRaw reports whether RawPath is what the path was sent as, and not left from
// another path. URL.EscapedPath makes more conditions: it forgets encoded
// slashes where a byte was sent that should have been encoded.
func isRaw(u *url.URL) bool {
	path, err := url.PathUnescape(u.RawPath)
	return err == nil && path == u.Path
}

// EscapedPath returns a URL's path encoded, with its encoded slashes.
func EscapedPath(u *url.URL) string {
	if escaped := u.EscapedPath(); u.RawPath == "" || u.RawPath == escaped || !isRaw(u) {
		return escaped
	}
	segments := strings.Split(u.RawPath, "/")
	for i, segment := range segments {
		if decoded, err := url.PathUnescape(segment); err == nil {
			segments[i] = url.PathEscape(decoded)
		}
	}
	return strings.Join(segments, "/")
}

// Root returns a URL that is u but for its path, which is "/": an empty one is the
// same (RFC 9110 §4.2.3).
func Root(u *url.URL) *url.URL {
	root := *u
	root.Path, root.RawPath = "/", ""
	return &root
}

// Below returns a URL whose path begins behind so many segments of u's.
func Below(u *url.URL, segments int) *url.URL {
	below := *u
	if u.RawPath != "" && isRaw(u) {
		below.RawPath = cut(u.RawPath, segments)
		below.Path, _ = url.PathUnescape(below.RawPath)
	} else {
		below.Path, below.RawPath = cut(u.Path, segments), ""
	}
	return &below
}

// cut takes segments off the front of a path that has them.
func cut(path string, segments int) string {
	for range segments {
		next := strings.IndexByte(path[min(1, len(path)):], '/')
		if next < 0 {
			return "/"
		}
		path = path[1+next:]
	}
	return path
}
