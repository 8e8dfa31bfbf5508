package http1

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
)

// Error is a request that is refused. It is answered with Status, and the
// connection ends.
type Error struct {
	Status int
	Reason string
}

// Error names the status and the reason.
func (e *Error) Error() string { return http.StatusText(e.Status) + ": " + e.Reason }

// status is what follows the version in the status line.
func (e *Error) status() string {
	status := strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
	if e.Reason != "" {
		status += ": " + e.Reason
	}
	return status
}

// head is what the raw lines of a head tell and http.ReadRequest does not: it
// removes Host, Transfer-Encoding and a Content-Length that it overrules, joins
// folded lines, and takes the same length twice.
type head struct {
	next     int   // where the line begins that is not whole yet; it is the head's length in the end
	searched int   // up to here there is no end of that line
	lines    int32 // whole ones, the request line included

	hosts   int32
	lengths int32 // Content-Length fields
	codings int32 // Transfer-Encoding fields
	host    bool  // the host is well-formed
	coding  bool  // the only coding is chunked
	folded  bool  // some field is
	unnamed bool  // some field has no name, or a space in it
}

// scan goes on looking for the end of the head that in begins with, and reports
// whether it is there. It is called again when more has come, with the same
// bytes in front. A line may end with a bare LF, as in net/http (RFC 9112
// §2.2).
func (h *head) scan(in []byte, maxFields int) (whole bool, err error) {
	for {
		i := bytes.IndexByte(in[h.searched:], '\n')
		if i < 0 {
			h.searched = len(in)
			return false, nil
		}
		end := h.searched + i
		line := bytes.TrimSuffix(in[h.next:end], carriageReturn)
		h.next, h.searched = end+1, end+1
		if len(line) == 0 {
			return true, nil
		}
		if int(h.lines) > maxFields {
			return false, &Error{http.StatusRequestHeaderFieldsTooLarge, "too many fields"}
		}
		if h.lines > 0 {
			h.field(line)
		}
		h.lines++
	}
}

// field notes what is peculiar about a field line. That names are tokens, which
// may not be empty or have a space in them, and what stands in a value is up to
// http.ReadRequest.
func (h *head) field(line []byte) {
	if line[0] == ' ' || line[0] == '\t' {
		h.folded = true // RFC 9112 §5.2
		return
	}
	colon := bytes.IndexByte(line, ':')
	if colon == 0 || colon > 0 && bytes.IndexByte(line[:colon], ' ') >= 0 {
		h.unnamed = true // RFC 9112 §5.1
		return
	}
	switch colon {
	case len("Host"):
		if is(line[:colon], hostName) {
			h.hosts++
			h.host = consists(value(line, colon), &inHost)
		}
	case len("Content-Length"):
		if is(line[:colon], lengthName) {
			h.lengths++
		}
	case len("Transfer-Encoding"):
		if is(line[:colon], codingName) {
			h.codings++
			h.coding = is(value(line, colon), chunked)
		}
	}
}

// is reports whether b is a word in any case. Bytes beyond ASCII, which EqualFold
// knows to be letters, make it longer.
func is(b, word []byte) bool { return len(b) == len(word) && bytes.EqualFold(b, word) }

var (
	hostName   = []byte("host")
	lengthName = []byte("content-length")
	codingName = []byte("transfer-encoding")
	chunked    = []byte("chunked")
)

// value is what stands behind the colon of a field line.
func value(line []byte, colon int) []byte { return bytes.Trim(line[colon+1:], " \t") }

// parse makes a request of a whole head. Its Body is the caller's to set.
func (h *head) parse(ctx context.Context, raw []byte) (*http.Request, error) {
	if request := h.plain(ctx, raw); request != nil {
		return request, h.check(request)
	}
	p := parsers.Get().(*parser)
	request, err := p.parse(raw)
	parsers.Put(p)
	switch {
	case err == nil:
		return request.WithContext(ctx), h.check(request)
	case h.codings > 1 || h.codings == 1 && !h.coding:
		return nil, &Error{http.StatusNotImplemented, "unsupported transfer encoding"} // RFC 9112 §6.1
	}
	return nil, &Error{Status: http.StatusBadRequest}
}

// check is what net/http's server demands beyond http.ReadRequest, and what it
// should.
func (h *head) check(r *http.Request) error {
	old := !r.ProtoAtLeast(1, 1)
	switch {
	case r.ProtoMajor != 1:
		return &Error{http.StatusHTTPVersionNotSupported, "unsupported protocol version"}
	case h.folded:
		return &Error{http.StatusBadRequest, "folded field"}
	case h.unnamed:
		return &Error{http.StatusBadRequest, "invalid header name"}
	case h.hosts == 0 && !old && r.Method != http.MethodConnect:
		return &Error{http.StatusBadRequest, "missing required Host header"} // RFC 9112 §3.2
	case h.hosts > 0 && !h.host:
		return &Error{http.StatusBadRequest, "malformed Host header"}
	case h.lengths > 1:
		return &Error{http.StatusBadRequest, "more than one Content-Length"} // RFC 9112 §6.3
	case h.codings > 0 && h.lengths > 0:
		return &Error{http.StatusBadRequest, "Content-Length with Transfer-Encoding"} // RFC 9112 §6.1
	case h.codings > 0 && old:
		return &Error{http.StatusBadRequest, "Transfer-Encoding in HTTP/1.0"} // RFC 9112 §6.1
	}
	return nil
}

// A parser is http.ReadRequest over bytes.
type parser struct {
	raw    bytes.Reader
	reader *bufio.Reader
}

var parsers = sync.Pool{New: func() any {
	p := new(parser)
	p.reader = bufio.NewReader(&p.raw)
	return p
}}

func (p *parser) parse(raw []byte) (*http.Request, error) {
	p.raw.Reset(raw)
	p.reader.Reset(&p.raw)
	request, err := http.ReadRequest(p.reader)
	if err != nil {
		return nil, err
	}
	request.Body = nil // it reads from what another request gets
	return request, nil
}

var carriageReturn = []byte{'\r'}

// preface is how an HTTP/2 client with prior knowledge begins (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

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
	return method, target, ok && target != "" && target[0] == '/' && consists(target, &inPath)
}

// plainField is the name, in its canonical form, and the value of a field line.
func plainField(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, ": ")
	if !ok || !isToken(name) || value == "" || value[0] == ' ' || value[len(value)-1] == ' ' {
		return "", "", false
	}
	if !consists(value, &inValue) {
		return "", "", false
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

// What may stand in a plain path and in a plain value; in a token (RFC 9110
// §5.6.2); and in a uri-host and a port (RFC 9110 §7.2), as net/http's server has
// it.
var (
	inPath  = bytesOf("/-._~" + alphanumeric)
	inValue = bytesOf(" \"(),/:;<=>?@[\\]{}" + tokens)
	inToken = bytesOf(tokens)
	inHost  = bytesOf("!$%&'()*+,-.:;=[]_~" + alphanumeric)
)

const (
	tokens       = "!#$%&'*+-.^_`|~" + alphanumeric
	alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

func bytesOf(set string) (in [256]bool) {
	for i := range len(set) {
		in[set[i]] = true
	}
	return in
}

// consists reports whether all bytes of s are in a set.
func consists[T string | []byte](s T, set *[256]bool) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}

// isToken reports whether a name may be a field's (RFC 9110 §5.1).
func isToken(name string) bool { return name != "" && consists(name, &inToken) }
