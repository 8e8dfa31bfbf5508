package static

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"aerys"
	"aerys/internal/field"
)

// choose returns the representation of found that r prefers, and has it kept in
// memory.
func (f *Files) choose(r *http.Request, found *resource) (*representation, error) {
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

// choose returns the representation that the lists of Accept-Encoding prefer
// (RFC 9110 §12.5.3): the highest weight, then our own order. The uncoded one
// is always acceptable, and the choice of a client that says nothing.
func (r *resource) choose(accept []string) *representation {
	last := len(r.representations) - 1
	best := r.representations[last]
	if last == 0 || len(accept) == 0 {
		return best
	}
	highest := 0
	for _, representation := range r.representations {
		coding := "identity"
		if len(representation.contentEncoding) > 0 {
			coding = representation.contentEncoding[0]
		}
		if weight := field.Weight(accept, coding); weight > highest {
			best, highest = representation, weight
		}
	}
	return best
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
	f.shareAcrossOrigins(header, r, found.vary)
	setValidators(header, found, chosen)
	switch {
	case status == http.StatusNotModified:
		w.WriteHeader(status)
	case status == http.StatusPreconditionFailed:
		refuse(w, status, nil)
	case r.Method == http.MethodHead:
		f.setContent(w, chosen)
		header["Content-Length"] = chosen.contentLength
		w.WriteHeader(status)
	default:
		f.setContent(w, chosen)
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
}

// setContent sets the fields that describe the content, but for its length.
func (f *Files) setContent(w http.ResponseWriter, chosen *representation) {
	header := w.Header()
	header["Content-Type"] = chosen.contentType
	if _, ours := w.(*aerys.Response); ours && f.source.OmitCharset { // the host is not to add its own
		header["Content-Type"] = []string{field.WithCharset(chosen.contentType[0], "")}
	}
	header["Accept-Ranges"] = acceptRanges
	header["X-Content-Type-Options"] = noSniff
	header["Content-Encoding"] = chosen.contentEncoding
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
		refuse(w, http.StatusRequestedRangeNotSatisfiable, nil)
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

// maxRanges is how many ranges a request may ask for. One that asks for more
// gets the whole file: each costs a part header, and may repeat the others.
const maxRanges = 16

// byteRange is a part of a representation.
type byteRange struct{ start, length int64 }

// contentRange returns the field of that name (RFC 9110 §14.4).
func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, size)
}

// parseRanges reads a Range field (RFC 9110 §14.2). It returns the ranges that
// a representation of the given size can satisfy. satisfiable is false if that
// is none of them; no ranges but satisfiable: the field is to be ignored.
func parseRanges(value string, size int64) (ranges []byteRange, satisfiable bool) {
	unit, list, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, true
	}
	if size == 0 {
		return nil, true // some ask for a range of everything: nothing is a good answer
	}
	asked, total := 0, int64(0)
	for item := range field.Elements([]string{list}) {
		part, valid := parseRange(item, size)
		if asked++; !valid || asked > maxRanges {
			return nil, true
		}
		if part.length > 0 {
			ranges = append(ranges, part)
			total += part.length
		}
	}
	if asked == 0 || total > size {
		return nil, true // ranges that overlap cost more than the whole
	}
	return ranges, len(ranges) > 0
}

// parseRange reads one range; one that cannot be satisfied has no length.
func parseRange(item string, size int64) (part byteRange, valid bool) {
	first, last, ok := strings.Cut(item, "-")
	start, begins := parsePosition(first)
	end, ends := parsePosition(last)
	switch {
	case !ok, first != "" && !begins, last != "" && !ends, begins && ends && end < start, !begins && !ends:
		return part, false
	case !begins: // so many bytes at the end
		start, end = max(0, size-end), size
	case !ends:
		end = size
	}
	return byteRange{start, max(0, min(end+1, size)-start)}, true
}

// parsePosition reads digits. Numbers too large for any file are cut off.
func parsePosition(digits string) (n int64, ok bool) {
	position, _ := strconv.ParseUint(digits, 10, 59)
	return int64(position), digits != "" && strings.Trim(digits, "0123456789") == ""
}

// content is what a representation consists of: what is kept in memory, or an
// open file, which had the stamp want when it was opened.
type content struct {
	kept *kept
	file fs.File
	want stamp
}

// open returns what r consists of, or errChanged if that is no longer what r
// says.
func (s *source) open(r *representation) (content, error) {
	if kept := r.kept.Load(); kept != nil && kept.use() {
		return content{kept: kept}, nil
	}
	if r.name == "" {
		return content{}, errChanged // it was made from a file that was given up just now
	}
	return s.openFile(r)
}

func (s *source) openFile(r *representation) (content, error) {
	file, err := s.Open(r.name)
	if err != nil {
		return content{}, gone(err)
	}
	opened := content{file: file, want: r.stamp}
	if !opened.unchanged() {
		file.Close()
		return content{}, errChanged
	}
	return opened, nil
}

// read returns r whole, or errChanged if it changed meanwhile.
func (s *source) read(r *representation) (*kept, error) {
	opened, err := s.openFile(r)
	if err != nil {
		return nil, err
	}
	defer opened.close()
	body := make([]byte, r.stamp.size)
	n, err := io.ReadFull(opened.file, body)
	switch {
	case !opened.unchanged(), r.modified.IsZero() && contentTag(body) != r.etag:
		return nil, errChanged
	case n < len(body):
		return nil, err
	case s.compressible(r):
		return newKept(body, r.compress(body)).withFile(), nil
	}
	return newKept(body, nil).withFile(), nil
}

// unchanged reports whether the file is what it was.
func (c content) unchanged() bool {
	info, err := c.file.Stat()
	return err == nil && stampOf(info) == c.want
}

// seekable reports whether parts can be sent.
func (c content) seekable() bool {
	_, ok := c.file.(io.Seeker)
	return ok || c.file == nil
}

func (c content) close() {
	switch {
	case c.kept != nil:
		c.kept.leave()
	case c.file != nil:
		c.file.Close()
	}
}

// send sends a part. A client that gets less, or a mixture of two versions,
// must notice: the last byte is sent only if the file did not change until
// then, and otherwise the connection is aborted.
func (c content) send(w http.ResponseWriter, r *http.Request, part byteRange) {
	if c.kept != nil {
		c.kept.send(w, r, part)
		return
	}
	if part.length == 0 {
		return
	}
	body := c.reader(w, r, part)
	_, err := io.CopyN(w, body, part.length-1)
	var last [1]byte
	if err == nil {
		_, err = io.ReadFull(body, last[:])
	}
	if err != nil || !c.unchanged() {
		panic(http.ErrAbortHandler)
	}
	w.Write(last[:])
}

// reader returns what reads a part, in the way that has the kernel send it
// where it and w can.
func (c content) reader(w http.ResponseWriter, r *http.Request, part byteRange) io.Reader {
	if file, ok := c.file.(*os.File); ok && kernelSends(w, r, part) != nil {
		return io.NewSectionReader(file, part.start, part.length)
	}
	if seeker, ok := c.file.(io.Seeker); ok {
		seeker.Seek(part.start, io.SeekStart) // where it fails, reading does
	}
	return c.file
}

// send sends a part: of the file, where that is better.
func (k *kept) send(w http.ResponseWriter, r *http.Request, part byteRange) {
	if response := kernelSends(w, r, part); k.file != nil && response != nil {
		response.ReadFrom(io.NewSectionReader(k.file, part.start, part.length))
		return
	}
	w.Write(k.body[part.start:][:part.length])
}

// kernelSends returns w if the kernel can send it that much of a file.
func kernelSends(w http.ResponseWriter, r *http.Request, part byteRange) *aerys.Response {
	if runtime.GOOS != "linux" || part.length < fileFrom || r.ProtoMajor > 1 || r.TLS != nil {
		return nil
	}
	response, _ := w.(*aerys.Response)
	return response
}
