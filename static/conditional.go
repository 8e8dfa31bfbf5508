package static

import (
	"net/http"
	"time"

	"aerys/internal/field"
)

// precondition evaluates the preconditions of a GET or HEAD in the order of
// RFC 9110 §13.2.2, and returns 200, 304 or 412.
func precondition(header http.Header, r *representation) int {
	if match := header["If-Match"]; match != nil {
		if !field.AnyTag(match, r.etag, false) {
			return http.StatusPreconditionFailed
		}
	} else if date, ok := date(header, "If-Unmodified-Since", r); ok && r.modified.After(date) {
		return http.StatusPreconditionFailed
	}
	if match := header["If-None-Match"]; match != nil {
		if field.AnyTag(match, r.etag, true) {
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
