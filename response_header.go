package aerys

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"strings"

	"aerys/internal/field"
)

// ErrInvalidHeader is in the chain of the error about a header field whose name
// is not a token or whose value has CR, LF, NUL or another control character
// (RFC 9110 §5.1, §5.5). The field is refused, not cleaned: the response
// becomes a 500, and the log names the field.
var ErrInvalidHeader = errors.New("aerys: invalid header field")

// SetHeader sets a header field, replacing all of that name.
func (r *Response) SetHeader(name, value string) *Response {
	if r.enter() {
		defer r.leave()
		if r.checkField(name, value) == nil {
			r.out.header[http.CanonicalHeaderKey(name)] = r.values(value)
		}
	}
	return r
}

// AddHeader adds a header field to those of that name.
func (r *Response) AddHeader(name, value string) *Response {
	if r.enter() {
		defer r.leave()
		r.addHeader(name, value)
	}
	return r
}

func (r *Response) addHeader(name, value string) {
	if r.checkField(name, value) == nil {
		r.out.header.Add(name, value)
	}
}

// SetCookie adds a Set-Cookie field. An invalid cookie (see
// [http.Cookie.Valid]) is refused as an invalid header field is.
func (r *Response) SetCookie(cookie *http.Cookie) *Response {
	if !r.enter() {
		return r
	}
	defer r.leave()
	if err := cookie.Valid(); err != nil {
		r.refuse(fmt.Errorf("%w: Set-Cookie: %v", ErrInvalidHeader, err))
	} else {
		r.addHeader("Set-Cookie", cookie.String())
	}
	return r
}

// Push tells the client that it will need url: by a Link header with
// rel=preload and, where the client takes HTTP/2 pushes, by one with header as
// the promised request's (RFC 9113 §8.4). Before the response is started.
func (r *Response) Push(url string, header http.Header) *Response {
	if !r.enter() {
		return r
	}
	defer r.leave()
	if strings.ContainsAny(url, "<> \t") {
		r.refuse(fmt.Errorf("%w: Link: a URL with %q", ErrInvalidHeader, url))
		return r
	}
	r.addHeader("Link", "<"+url+">; rel=preload")
	if r.fault == nil && !r.handshake {
		r.out.Push(url, &http.PushOptions{Header: header}) // a hint: clients decline it
	}
	return r
}

// checkField refuses a field that must not be sent.
func (r *Response) checkField(name, value string) error {
	if !field.IsToken(name) {
		return r.refuse(fmt.Errorf("%w: the name %q", ErrInvalidHeader, name))
	}
	if !field.ValidValue(value) {
		return r.refuse(fmt.Errorf("%w: %s: %q", ErrInvalidHeader, name, value))
	}
	return nil
}

// checkHeader checks what may have been put into the header directly, and notes
// whether trailers follow the body, which then has to go out without a
// Content-Length.
func (r *Response) checkHeader() error {
	r.trailers = false
	for name, values := range r.out.header {
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

// addContentType completes the header of a response with a body. A nil
// Content-Type says that there is to be none, as in net/http.
func (r *Response) addContentType(header http.Header) {
	set, ok := header["Content-Type"]
	switch {
	case !ok:
		header["Content-Type"] = r.values(r.options().contentType)
	case len(set) == 1:
		if typed := field.WithCharset(set[0], r.options().DefaultTextCharset); typed != set[0] {
			header["Content-Type"] = r.values(typed)
		}
	}
}

// values returns the values of a header field, which handlers may change. The
// first ones of a response take no memory of their own.
func (r *Response) values(value string) []string {
	i := int(r.used)
	if i == len(r.first) {
		return []string{value}
	}
	r.used++
	r.first[i] = value
	return r.first[i : i+1 : i+1]
}

// writeHeader sends status and header. Declared trailers that are set already
// are kept from it, for net/http would send them twice.
func (r *Response) writeHeader() {
	header := r.out.header
	var trailers http.Header
	if r.trailers {
		trailers = announced(header)
		for name := range trailers {
			delete(header, name)
		}
	}
	r.out.WriteHeader(r.status)
	maps.Copy(header, trailers)
}

// announced returns the fields of a header that it says are trailers.
func announced(header http.Header) http.Header {
	trailers := make(http.Header)
	for _, names := range header["Trailer"] {
		for name := range strings.SplitSeq(names, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if values, ok := header[name]; ok {
				trailers[name] = values
			}
		}
	}
	return trailers
}
