package static

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"aerys/internal/field"
)

// choose returns the representation of found that r prefers.
func (f *Files) choose(r *http.Request, found *resource) (*representation, error) {
	if found.directory != "" {
		return f.source.list(r, found.directory)
	}
	accept := r.Header["Accept-Encoding"]
	chosen := found.choose(accept)
	if err := f.cache.keep(chosen, found); err != nil {
		return nil, err
	}
	if kept := chosen.kept.Load(); len(accept) > 0 && kept != nil && kept.compressed != nil &&
		field.Weight(accept, "gzip") > field.Weight(accept, "identity") {
		return kept.compressed, nil
	}
	return chosen, nil
}

// send answers GET and HEAD with the representation of found that r prefers.
func (f *Files) send(w http.ResponseWriter, r *http.Request, found *resource) error {
	chosen, err := f.choose(r, found)
	if err != nil {
		return err
	}
	status := precondition(r.Header, chosen)
	var opened content
	if status == http.StatusOK && r.Method == http.MethodGet {
		if opened, err = f.source.open(chosen); err != nil {
			return err
		}
		defer opened.close()
	}
	header := w.Header()
	f.shareAcrossOrigins(header, r)
	setValidators(header, found, chosen)
	switch {
	case status == http.StatusNotModified:
		w.WriteHeader(status)
	case status == http.StatusPreconditionFailed:
		delete(header, "Cache-Control")
		refuse(w, status)
	case r.Method == http.MethodHead:
		setContent(header, r, chosen)
		header["Content-Length"] = chosen.contentLength
		w.WriteHeader(status)
	default:
		setContent(header, r, chosen)
		sendContent(w, r, chosen, opened)
	}
	return nil
}

// setValidators sets the fields that a 304 has as well (RFC 9110 §15.4.5).
// What a middleware decided about caching stays.
func setValidators(header http.Header, found *resource, chosen *representation) {
	header["Etag"] = chosen.etags
	if chosen.lastModified != nil {
		header["Last-Modified"] = chosen.lastModified
	}
	if header["Cache-Control"] == nil {
		header["Cache-Control"] = found.cacheControl
	}
	if before := header["Vary"]; before != nil {
		header["Vary"] = append(before[:len(before):len(before)], found.vary...)
	} else if found.vary != nil {
		header["Vary"] = found.vary
	}
}

// setContent sets the fields that describe the content, but for its length.
func setContent(header http.Header, r *http.Request, chosen *representation) {
	header["Content-Type"] = chosen.contentType
	header["Accept-Ranges"] = acceptRanges
	header["X-Content-Type-Options"] = noSniff
	if chosen.contentEncoding != nil {
		header["Content-Encoding"] = chosen.contentEncoding
	} else if r.Header["Accept-Encoding"] != nil && chosen.name != "" {
		// No value, and no field: it keeps aerys.Response from compressing
		// each time what was not worth it once, and from hiding the length.
		header["Content-Encoding"] = []string{}
	}
}

// sendContent answers GET with 200, 206 or 416.
func sendContent(w http.ResponseWriter, r *http.Request, chosen *representation, opened content) {
	header, size := w.Header(), chosen.stamp.size
	ranges, satisfiable := []byteRange(nil), true
	if asked := r.Header["Range"]; len(asked) == 1 && opened.seekable() && ifRange(r.Header, chosen) {
		ranges, satisfiable = parseRanges(asked[0], size)
	}
	switch {
	case !satisfiable:
		header.Set("Content-Range", "bytes */"+chosen.contentLength[0])
		delete(header, "Content-Encoding")
		delete(header, "Cache-Control")
		refuse(w, http.StatusRequestedRangeNotSatisfiable)
	case len(ranges) == 0:
		header["Content-Length"] = chosen.contentLength
		w.WriteHeader(http.StatusOK)
		opened.send(w, r, byteRange{0, size})
	case len(ranges) == 1:
		header.Set("Content-Range", ranges[0].contentRange(size))
		header.Set("Content-Length", strconv.FormatInt(ranges[0].length, 10))
		w.WriteHeader(http.StatusPartialContent)
		opened.send(w, r, ranges[0])
	default:
		sendMultipart(w, r, chosen, opened, ranges)
	}
}

// sendMultipart sends a multipart/byteranges body (RFC 9110 §14.6).
func sendMultipart(w http.ResponseWriter, r *http.Request, chosen *representation, opened content, ranges []byteRange) {
	boundary := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	end := "\r\n--" + boundary + "--\r\n"
	length, headers := int64(len(end)), make([]string, len(ranges))
	for i, part := range ranges {
		headers[i] = fmt.Sprintf("\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
			boundary, chosen.contentType[0], part.contentRange(chosen.stamp.size))
		length += int64(len(headers[i])) + part.length
	}
	w.Header().Set("Content-Type", "multipart/byteranges; boundary="+boundary)
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	w.WriteHeader(http.StatusPartialContent)
	for i, part := range ranges {
		io.WriteString(w, headers[i])
		opened.send(w, r, part)
	}
	io.WriteString(w, end)
}

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
