package static

import (
	"io"
	"net/http"
	"strconv"

	"aerys/internal/field"
)

// choose returns the representation of found that r prefers.
func (f *Files) choose(r *http.Request, found *resource) (*representation, error) {
	if found.directory != "" {
		return f.list(r, found.directory)
	}
	accept := r.Header["Accept-Encoding"]
	chosen := found.choose(accept)
	if err := f.keep(chosen, found); err != nil {
		return nil, err
	}
	if kept := chosen.kept.Load(); len(accept) > 0 && kept != nil && kept.compressed != nil &&
		field.Weight(accept, "gzip") > field.Weight(accept, "identity") {
		return kept.compressed, nil
	}
	return chosen, nil
}

// send answers GET and HEAD with a representation of found.
func (f *Files) send(w http.ResponseWriter, r *http.Request, found *resource, chosen *representation) error {
	status := precondition(r.Header, chosen)
	var opened content
	if status == http.StatusOK && r.Method == http.MethodGet {
		var err error
		if opened, err = f.open(chosen); err != nil {
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

func sendMultipart(w http.ResponseWriter, r *http.Request, chosen *representation, opened content, ranges []byteRange) {
	body := newByteRanges(ranges, chosen.contentType[0], chosen.stamp.size)
	w.Header().Set("Content-Type", "multipart/byteranges; boundary="+body.boundary)
	w.Header().Set("Content-Length", strconv.FormatInt(body.length, 10))
	w.WriteHeader(http.StatusPartialContent)
	for i, part := range ranges {
		io.WriteString(w, body.headers[i])
		opened.send(w, r, part)
	}
	io.WriteString(w, body.end())
}
