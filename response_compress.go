package aerys

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// compressible is the length from which compression gains more than it costs:
// what is shorter fits one packet anyway.
const compressible = 860

// eventStream is never compressed: it stays open for hours, and so would the
// compressor with its megabyte.
const eventStream = "text/event-stream"

// encode has the body compressed when it gains by that and the client takes it
// (RFC 9110 §12.5.3). size is the body's, or -1.
func (r *Response) encode(header http.Header, size int) {
	if r.options().DisableCompression || !r.worthwhile(header, size) {
		return
	}
	addVary(header)
	if !acceptsGzip(r.exchange.request.Header["Accept-Encoding"]) {
		return
	}
	header["Content-Encoding"] = []string{"gzip"}
	delete(header, "Content-Length")
	delete(header, "Accept-Ranges")
	if tag := header.Get("Etag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		header["Etag"] = []string{"W/" + tag} // RFC 9110 §8.8.1: other bytes, same meaning
	}
	r.filters = append(r.filters, compress)
}

// worthwhile reports whether the response may be compressed and is long enough.
func (r *Response) worthwhile(header http.Header, size int) bool {
	if size <= 0 {
		if declared := header["Content-Length"]; declared != nil {
			size, _ = strconv.Atoi(declared[0])
		}
	}
	if size >= 0 && size < compressible || r.status == http.StatusPartialContent {
		return false
	}
	return header["Content-Encoding"] == nil && header["Content-Range"] == nil &&
		!strings.Contains(strings.Join(header["Cache-Control"], ","), "no-transform") &&
		compressibleType(mediaType(header.Get("Content-Type")))
}

// compressibleType reports whether media is one that compression helps.
func compressibleType(media string) bool {
	kind, subtype, _ := strings.Cut(media, "/")
	if suffix := strings.LastIndexByte(subtype, '+'); suffix >= 0 {
		subtype = subtype[suffix+1:] // RFC 6839
	}
	return kind == "text" && media != eventStream || subtype == "xml" || subtype == "json" || subtype == "javascript"
}

// addVary tells caches that the answer depends on Accept-Encoding.
func addVary(header http.Header) {
	for _, names := range header["Vary"] {
		for name := range strings.SplitSeq(names, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Accept-Encoding") {
				return
			}
		}
	}
	header.Add("Vary", "Accept-Encoding")
}

// acceptsGzip reports whether the client takes gzip, and does not like the
// plain body better.
func acceptsGzip(accept []string) bool {
	gzip, plain, others := -1.0, -1.0, 0.0
	for _, list := range accept {
		for coding := range strings.SplitSeq(list, ",") {
			name, q := quality(coding)
			switch name {
			case "gzip", "x-gzip":
				gzip = q
			case "identity":
				plain = q
			case "*":
				others = q
			}
		}
	}
	if gzip < 0 {
		gzip = others
	}
	return gzip > 0 && gzip >= plain
}

// quality returns a coding in lower case and its weight, which is 0 when it
// makes no sense.
func quality(coding string) (name string, q float64) {
	name, weight, weighted := strings.Cut(coding, ";")
	name = strings.ToLower(strings.TrimSpace(name))
	if !weighted {
		return name, 1
	}
	key, value, _ := strings.Cut(strings.TrimSpace(weight), "=")
	q, err := strconv.ParseFloat(value, 64)
	if err != nil || !strings.EqualFold(key, "q") || !(q >= 0 && q <= 1) {
		return name, 0
	}
	return name, q
}

var compressors = sync.Pool{New: func() any {
	writer, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return &compressor{writer}
}}

// compressor is a pooled gzip.Writer.
type compressor struct{ *gzip.Writer }

// compress is the filter that compresses.
func compress(w io.Writer) io.WriteCloser {
	c := compressors.Get().(*compressor)
	c.Reset(w)
	return c
}

// Close ends the body and returns c to the pool, without what it wrote to.
func (c *compressor) Close() error {
	err := c.Writer.Close()
	c.Reset(nil)
	compressors.Put(c)
	return err
}
