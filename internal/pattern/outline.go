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
