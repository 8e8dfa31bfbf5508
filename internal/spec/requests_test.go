package spec

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"aerys"
)

// A plain CONNECT is a method as any other: nobody's, unless a route or an
// option names it.
func TestPlainConnect(t *testing.T) {
	for _, test := range []struct {
		options aerys.Options
		action  aerys.Action
		want    string
	}{
		{aerys.Options{}, aerys.HandlerFunc(hello), "405"},
		{aerys.Options{}, aerys.Router().Get("/", hello), "405"},
		{aerys.Options{}, aerys.Router().Route("CONNECT", "/{x}", hello).Route("CONNECT", "/", hello), "200"},
		{aerys.Options{AllowedMethods: []string{"CONNECT"}}, aerys.HandlerFunc(hello), "200"},
	} {
		s := run(t, test.options, at(test.action))
		answer := converse(t, s.addresses[0], "CONNECT /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(answer, "HTTP/1.1 "+test.want) {
			t.Errorf("%T: %q, want %s", test.action, answer, test.want)
		}
	}
}

// TestOptionsOfTheServer: "OPTIONS *" is a request like any other (RFC 9110 §9.3.7).
func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	_, dialers := both(t, run, aerys.Options{MaxRequestsPerConnection: 3}, says("x"))
	for over, dial := range dialers {
		conn := dial()
		reader := bufio.NewReader(conn)
		for n := 1; n <= 3; n++ {
			io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(over, err)
			}
			if answer.StatusCode != 200 || answer.ContentLength != 0 || answer.Close != (n == 3) {
				t.Errorf("%s: %+v", over, answer)
			}
		}
		if n, err := reader.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %d, %v", over, n, err)
		}
	}
}

// TestRefusalsArePages: who is refused before his host is known gets the page
// that hosts send.
func TestRefusalsArePages(t *testing.T) {
	s := run(t, aerys.Options{}, at(hello))
	for request, want := range map[string]struct{ title, reason string }{
		"GET / HTTP/1.1\r\n\r\n": {"400 Bad Request", "missing required Host header"},
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40_000) + "\r\n\r\n":  {"431 Request Header Fields Too Large", "head too large"},
		"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: x\r\n", 1001) + "\r\n":    {"431 Request Header Fields Too Large", "too many fields"},
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n":                   {"501 Not Implemented", "unsupported transfer encoding"},
		"GET / HTTP/4.0\r\nHost: a\r\n\r\n":                                            {"505 HTTP Version Not Supported", "unsupported protocol version"},
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n":                               {"417 Expectation Failed", ""},
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n": {"400 Bad Request", "more than one Content-Length"},
	} {
		conn := dial(t, s.addresses[0])
		io.WriteString(conn, request)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		page := bodyOf(answer)
		if !strings.HasPrefix(answer.Status, want.title) || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" || !answer.Close ||
			!strings.Contains(page, "<h1>"+want.title+"</h1>") || strings.Contains(page, "<pre>") != (want.reason != "") || !strings.Contains(page, want.reason) {
			t.Errorf("%.60q: %v %q", request, answer, page)
		}
		conn.Close()
	}
}
