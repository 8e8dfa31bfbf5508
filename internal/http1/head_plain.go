package http1

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
)

// plainSize is how long a plain head may be: what a handler keeps of it keeps
// all of it.
const plainSize = 2 << 10

// plain makes a request of a whole head as almost all are, or returns nil. It
// takes a strict subset of what http.ReadRequest takes, makes the same of it (a
// test compares them), and costs a third of it.
//
//	head   = method SP path SP "HTTP/1.1" CRLF 1*(name ": " value CRLF) CRLF
//	method = GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS
//	path   = "/" *( "/" / unreserved )                   ; RFC 3986 §2.3
//	value  = VCHAR [ *( SP / VCHAR ) VCHAR ]
//
// with one Host, at most one Content-Length, of up to nine digits, and none of
// the fields that http.ReadRequest does something about. check is for it, too.
func (h *head) plain(ctx context.Context, raw []byte) *http.Request {
	if len(raw) > plainSize || h.hosts != 1 || h.codings > 0 || h.lengths > 1 || h.folded {
		return nil
	}
	line, fields, _ := strings.Cut(string(raw), "\r\n")
	method, target, ok := plainRequestLine(line)
	if !ok {
		return nil
	}
	r := noRequest.WithContext(ctx) // the only way to give it one
	r.Method, r.RequestURI, r.URL = method, target, &url.URL{Path: target}
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header = make(http.Header, h.lines-2)
	values := make([]string, h.lines-1)
	for i := range values {
		line, fields, _ = strings.Cut(fields, "\r\n")
		name, value, ok := plainField(line)
		if !ok || !noteField(r, name, value) {
			return nil
		}
		if name == "Host" {
			continue
		}
		if others := r.Header[name]; others != nil {
			r.Header[name] = append(others, value)
			continue
		}
		values[i] = value
		r.Header[name] = values[i : i+1 : i+1]
	}
	return r
}

var noRequest = new(http.Request)

// plainRequestLine is the method and the path of a request line.
func plainRequestLine(line string) (method, target string, ok bool) {
	method, rest, _ := strings.Cut(line, " ")
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		return "", "", false
	}
	target, ok = strings.CutSuffix(rest, " HTTP/1.1")
	if !ok || target == "" || target[0] != '/' {
		return "", "", false
	}
	for i := range len(target) {
		if !inPath[target[i]] {
			return "", "", false
		}
	}
	return method, target, true
}

// plainField is the name, in its canonical form, and the value of a field line.
func plainField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ": ")
	if !ok || !isToken(name) || value == "" || value[0] == ' ' || value[len(value)-1] == ' ' {
		return "", "", false
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' {
			return "", "", false
		}
	}
	return textproto.CanonicalMIMEHeaderKey(name), value, true
}

// noteField does what a field means for the request. It reports whether that is
// known.
func noteField(r *http.Request, name, value string) bool {
	switch name {
	case "Host":
		r.Host = value
	case "Connection":
		closes := strings.EqualFold(value, "close")
		r.Close = r.Close || closes
		return closes || strings.EqualFold(value, "keep-alive") || strings.EqualFold(value, "upgrade")
	case "Content-Length":
		length, err := strconv.ParseUint(value, 10, 63)
		r.ContentLength = int64(length)
		return err == nil && len(value) < 10
	case "Transfer-Encoding", "Trailer", "Pragma":
		return false
	}
	return true
}

// inPath are the bytes of a plain path, and inToken those of a token (RFC 9110
// §5.6.2).
var (
	inPath  = bytesOf("/-._~" + alphanumeric)
	inToken = bytesOf("!#$%&'*+-.^_`|~" + alphanumeric)
)

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func bytesOf(set string) (in [256]bool) {
	for i := range len(set) {
		in[set[i]] = true
	}
	return in
}
