package static

import (
	"net/http"
	"strings"
	"time"
)

// precondition evaluates the preconditions of a GET or HEAD in the order of
// RFC 9110 §13.2.2, and returns 200, 304 or 412.
func precondition(header http.Header, r *representation) int {
	if match := header["If-Match"]; match != nil {
		if !anyTag(match, r.etag, false) {
			return http.StatusPreconditionFailed
		}
	} else if date, ok := date(header, "If-Unmodified-Since", r); ok && r.modified.After(date) {
		return http.StatusPreconditionFailed
	}
	if match := header["If-None-Match"]; match != nil {
		if anyTag(match, r.etag, true) {
			return http.StatusNotModified
		}
	} else if date, ok := date(header, "If-Modified-Since", r); ok && !r.modified.After(date) {
		return http.StatusNotModified
	}
	return http.StatusOK
}

// date returns the date in a field. It does not count if it is none, or if the
// time of r's last change is not known (RFC 9110 §13.1.3, §13.1.4).
func date(header http.Header, name string, r *representation) (time.Time, bool) {
	values := header[name]
	if len(values) != 1 || r.modified.IsZero() {
		return time.Time{}, false
	}
	date, err := http.ParseTime(values[0])
	return date, err == nil
}

// ifRange reports whether a Range is to be obeyed: If-Range is absent, or names
// exactly this version (RFC 9110 §13.1.5).
func ifRange(header http.Header, r *representation) bool {
	values := header["If-Range"]
	if values == nil {
		return true
	}
	if len(values) == 1 && values[0] == r.etag {
		return true // equal strings compare strongly, as ours are strong
	}
	date, ok := date(header, "If-Range", r)
	return ok && r.modified.Equal(date)
}

// anyTag reports whether etag, a strong one, is in the lists of a field, or "*"
// is. Weak comparison overlooks a W/ (RFC 9110 §8.8.3.2).
func anyTag(lists []string, etag string, weak bool) bool {
	for _, list := range lists {
		if strings.Trim(list, " \t") == "*" {
			return true
		}
		for list != "" {
			var tag string
			if tag, list = cutTag(list); tag == "" {
				break
			}
			if tag == etag || weak && strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// cutTag takes the first entity tag off a list; "" if there is none.
func cutTag(list string) (tag, rest string) {
	list = strings.TrimLeft(list, " \t,")
	start := 0
	if strings.HasPrefix(list, "W/") {
		start = 2
	}
	if !strings.HasPrefix(list[start:], `"`) {
		return "", ""
	}
	end := strings.IndexByte(list[start+1:], '"')
	if end < 0 {
		return "", ""
	}
	end += start + 2
	return list[:end], list[end:]
}
