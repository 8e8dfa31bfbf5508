package aerys

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// ErrInvalidHeader is in the chain of the error about a header field whose name
// is not a token or whose value has CR, LF, NUL or another control character
// (RFC 9110 §5.1, §5.5). The field is refused, not cleaned: the response
// becomes a 500, and the log names the field.
var ErrInvalidHeader = errors.New("aerys: invalid header field")

// SetHeader sets a header field, replacing all of that name.
func (r *Response) SetHeader(name, value string) *Response {
	r.live()
	if r.checkField(name, value) == nil {
		r.writer.Header().Set(name, value)
	}
	return r
}

// AddHeader adds a header field to those of that name.
func (r *Response) AddHeader(name, value string) *Response {
	r.live()
	if r.checkField(name, value) == nil {
		r.writer.Header().Add(name, value)
	}
	return r
}

// SetCookie adds a Set-Cookie field. An invalid cookie (see
// [http.Cookie.Valid]) is refused as an invalid header field is.
func (r *Response) SetCookie(cookie *http.Cookie) *Response {
	r.live()
	if err := cookie.Valid(); err != nil {
		r.refuse(fmt.Errorf("%w: Set-Cookie: %v", ErrInvalidHeader, err))
		return r
	}
	return r.AddHeader("Set-Cookie", cookie.String())
}

// Push tells the client that it will need url: by a Link header with
// rel=preload and, where the client takes HTTP/2 pushes, by one with header as
// the promised request's (RFC 9113 §8.4). Before the response is started.
func (r *Response) Push(url string, header http.Header) *Response {
	r.live()
	if strings.ContainsAny(url, "<> \t") {
		r.refuse(fmt.Errorf("%w: Link: a URL with %q", ErrInvalidHeader, url))
		return r
	}
	r.AddHeader("Link", "<"+url+">; rel=preload")
	if pusher, ok := r.writer.(http.Pusher); ok && r.fault == nil && !r.handshake {
		pusher.Push(url, &http.PushOptions{Header: header}) // a hint: clients decline it
	}
	return r
}

// checkField refuses a field that must not be sent.
func (r *Response) checkField(name, value string) error {
	if !validFieldName(name) {
		return r.refuse(fmt.Errorf("%w: the name %q", ErrInvalidHeader, name))
	}
	if !validFieldValue(value) {
		return r.refuse(fmt.Errorf("%w: %s: %q", ErrInvalidHeader, name, value))
	}
	return nil
}

// checkHeader checks what may have been put into the header directly, and notes
// whether trailers follow the body, which then has to go out without a
// Content-Length.
func (r *Response) checkHeader() error {
	r.trailers = false
	for name, values := range r.writer.Header() {
		trailer, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		r.trailers = r.trailers || prefixed || name == "Trailer"
		for _, value := range values {
			if err := r.checkField(trailer, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// validFieldName reports whether name is a token (RFC 9110 §5.6.2).
func validFieldName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return name != ""
}

// validFieldValue reports whether value has no control characters.
func validFieldValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// defaults are the fields that the options add, made once for all responses.
type defaults struct {
	options             *Options
	contentType, server []string
}

func newDefaults(options *Options) defaults {
	return defaults{
		options:     options,
		contentType: []string{withCharset(options.DefaultContentType, options.DefaultTextCharset)},
		server:      []string{"aerys"},
	}
}

// withCharset adds charset to a text type that names none. Server-sent events
// are always UTF-8.
func withCharset(contentType, charset string) string {
	media := mediaType(contentType)
	if !strings.HasPrefix(media, "text/") || media == eventStream || strings.Contains(contentType, "charset=") {
		return contentType
	}
	return contentType + "; charset=" + charset
}

// mediaType returns contentType without its parameters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// addContentType completes the header of a response with a body. A nil
// Content-Type says that there is to be none, as in net/http.
func (r *Response) addContentType(header http.Header) {
	set, ok := header["Content-Type"]
	switch {
	case !ok:
		header["Content-Type"] = r.defaults.contentType
	case len(set) == 1:
		if typed := withCharset(set[0], r.options().DefaultTextCharset); typed != set[0] {
			header["Content-Type"] = []string{typed}
		}
	}
}

// writeHeader sends status and header. Declared trailers that are set already
// are kept from it, for net/http would send them twice.
func (r *Response) writeHeader() {
	if !r.trailers {
		r.writer.WriteHeader(r.status)
		return
	}
	header := r.writer.Header()
	var trailers http.Header
	for _, names := range header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if value, ok := header[name]; ok {
				if trailers == nil {
					trailers = make(http.Header)
				}
				trailers[name] = value
				delete(header, name)
			}
		}
	}
	r.writer.WriteHeader(r.status)
	for name, value := range trailers {
		header[name] = value
	}
}
