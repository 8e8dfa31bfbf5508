// Package compress decides whether a body is sent compressed, and compresses it
// (RFC 9110 §8.4, §12.5.3).
package compress

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"aerys/internal/field"
)

// least is the length from which compression gains more than it costs: what is
// shorter fits one packet anyway.
const least = 860

// Begin makes the header that of a compressed response, if a body gains by that
// and the client, which sent these lines of Accept-Encoding, takes it. It reports
// whether the body is to be compressed then. size is the body's, or -1.
func Begin(header http.Header, status, size int, accept []string) bool {
	if !worthwhile(header, status, size) {
		return false
	}
	addVary(header)
	if !accepted(accept) {
		return false
	}
	header["Content-Encoding"] = []string{"gzip"}
	delete(header, "Content-Length")
	delete(header, "Accept-Ranges")
	if tag := header.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		header["Etag"] = []string{"W/" + tag} // RFC 9110 §8.8.1: other bytes, same meaning
	}
	return true
}

// worthwhile reports whether the response may be compressed and is long enough.
func worthwhile(header http.Header, status, size int) bool {
	if size <= 0 {
		if declared := header["Content-Length"]; declared != nil {
			size, _ = strconv.Atoi(declared[0])
		}
	}
	if size >= 0 && size < least || status == http.StatusPartialContent {
		return false
	}
	return header["Content-Encoding"] == nil && header["Content-Range"] == nil &&
		!strings.Contains(strings.Join(header["Cache-Control"], ","), "no-transform") &&
		compressibleType(field.MediaType(header.Get("Content-Type")))
}

// compressibleType reports whether media is one that compression helps. A stream
// of events is not: it stays open for hours, and so would the compressor with its
// megabyte.
func compressibleType(media string) bool {
	kind, subtype, _ := strings.Cut(media, "/")
	if suffix := strings.LastIndexByte(subtype, '+'); suffix >= 0 {
		subtype = subtype[suffix+1:] // RFC 6839
	}
	return kind == "text" && media != field.EventStream || subtype == "xml" || subtype == "json" || subtype == "javascript"
}

// addVary tells caches that the answer depends on Accept-Encoding.
func addVary(header http.Header) {
	if vary := header["Vary"]; !field.HasToken(vary, "*") && !field.HasToken(vary, "Accept-Encoding") {
		header.Add("Vary", "Accept-Encoding")
	}
}

// accepted reports whether the client takes gzip, and does not like the
// plain body better.
func accepted(accept []string) bool {
	weight := field.Weight(accept, "gzip")
	return weight > 0 && weight >= field.Weight(accept, "identity")
}

var compressors = sync.Pool{New: func() any {
	writer, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return writer
}}

// compressor is what writes to a gzip.Writer from the pool, until it is closed.
// Whoever holds it may use it later, and more than once.
type compressor struct {
	mu   sync.Mutex
	gzip *gzip.Writer // nil once closed

	closed error // of writing then
}

// NewWriter returns what compresses what is written to it. Once closed, it fails
// with an error.
func NewWriter(w io.Writer, closed error) io.WriteCloser {
	writer := compressors.Get().(*gzip.Writer)
	writer.Reset(w)
	return &compressor{gzip: writer, closed: closed}
}

// Write implements io.Writer.
func (c *compressor) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gzip == nil {
		return 0, c.closed
	}
	return c.gzip.Write(p)
}

// Flush sends what was written.
func (c *compressor) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gzip == nil {
		return nil
	}
	return c.gzip.Flush()
}

// Close ends the body, once.
func (c *compressor) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gzip == nil {
		return nil
	}
	err := c.gzip.Close()
	c.gzip.Reset(nil)
	compressors.Put(c.gzip)
	c.gzip = nil
	return err
}
