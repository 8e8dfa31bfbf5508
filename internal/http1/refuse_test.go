package http1

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestRefusals holds what is answered to requests that no handler sees, with and
// without an ErrorPage.
func TestRefusals(t *testing.T) {
	page := func(e *Error) (string, string) { return "text/page", fmt.Sprint("page ", e.Status, e.Reason) }
	for _, row := range []struct {
		name, request, status, line, page string
	}{
		{"no Host", "GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header",
			"400 Bad Request: missing required Host header", "page 400missing required Host header"},
		{"no request", "x\r\n\r\n", "400 Bad Request", "400 Bad Request", "page 400"},
		{"a length twice", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "400 Bad Request: more than one Content-Length",
			"400 Bad Request: more than one Content-Length", "page 400more than one Content-Length"},
		{"too large", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 2000) + "\r\n\r\n", "431 Request Header Fields Too Large: head too large",
			"431 Request Header Fields Too Large: head too large", "page 431head too large"},
		{"HTTP/3", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505 HTTP Version Not Supported: unsupported protocol version",
			"505 HTTP Version Not Supported: unsupported protocol version", "page 505unsupported protocol version"},
		{"an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", "501 Not Implemented: unsupported transfer encoding",
			"501 Not Implemented: unsupported transfer encoding", "page 501unsupported transfer encoding"},
		{"an unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", "417 Expectation Failed", "", "page 417"},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, s := range []*Server{{}, {ErrorPage: page}} {
				s.Handler, s.MaxHeaderBytes = http.HandlerFunc(greet), 1000
				m := newMemory(row.request)
				s.NewConn(m).Turn()
				c := client{nil, newReaderOf(strings.NewReader(m.output())), t}
				response, body := c.answer()
				kind, want := plain[0], row.line
				if s.ErrorPage != nil {
					kind, want = "text/page", row.page
				} else if row.line == "" {
					kind = ""
				}
				if response.Status != row.status || !response.Close || body != want || response.Header.Get("Content-Type") != kind {
					t.Errorf("%s %v %q", response.Status, response.Header, body)
				}
			}
		})
	}
}
