package spec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

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
			answer, _, err := ask(conn, reader, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
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
		answer, page, err := ask(conn, bufio.NewReader(conn), request)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(answer.Status, want.title) || answer.Header.Get("Content-Type") != "text/html; charset=utf-8" || !answer.Close ||
			!strings.Contains(page, "<h1>"+want.title+"</h1>") || !strings.Contains(page, "<p>The ") || !strings.Contains(page, want.reason) {
			t.Errorf("%.60q: %v %q", request, answer, page)
		}
		conn.Close()
	}
}

func TestMethods(t *testing.T) {
	method := func(req *aerys.Request, res *aerys.Response) { res.End(req.Method) }
	s := run(t, aerys.Options{},
		new(aerys.Host).Name("a").Expose("127.0.0.1", 0).Use(aerys.Router().Route("ZANZIBAR", "/zanzibar", method), method))
	kept := run(t, aerys.Options{KeepMethodCase: true, AllowedMethods: []string{"GET", "get"}},
		at(method))
	for _, test := range []struct {
		server *server
		method string
		status int
		body   string
	}{
		{s, "GET", 200, "GET"}, {s, "get", 200, "GET"}, {s, "pAtCh", 200, "PATCH"},
		{s, "ZANZIBAR", 200, "ZANZIBAR"}, {s, "zanzibar", 200, "ZANZIBAR"},
		{s, "BREW", 501, ""}, {s, "TRACE", 405, ""}, {s, "head", 501, ""},
		{kept, "get", 200, "get"}, {kept, "Get", 501, ""}, {kept, "POST", 405, ""},
	} {
		text := converse(t, test.server.addresses[0], test.method+" /"+strings.ToLower(test.method)+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		status, body := statusAndBody(t, text)
		if status != test.status || test.body != "" && body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.method, status, body, test.status, test.body)
		}
		if allow := strings.Contains(text, "\r\nAllow: "); allow != (test.status > 400) {
			t.Errorf("%s: Allow in %q", test.method, text)
		}
	}
}

// TestDisconnectEndsTheContext has clients leave while a handler waits: it is
// told, whatever the request looks like that it answers.
func TestDisconnectEndsTheContext(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error)
	action := func(req *aerys.Request, res *aerys.Response) {
		if req.URL.Path == "/first" {
			res.End()
			return
		}
		io.Copy(io.Discard, req.Body())
		if req.URL.Path == "/events" {
			res.Flush()
		}
		entered <- struct{}{}
		select {
		case <-req.Context().Done():
			ended <- nil
		case <-time.After(5 * time.Second):
			ended <- io.ErrNoProgress
		}
	}
	_, dialers := both(t, run, aerys.Options{}, action)
	key := "Sec-WebSocket-Key: "
	for name, text := range map[string]string{
		"plain":                        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/1.0":                     "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"a WebSocket key, empty":       "GET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a WebSocket handshake":        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		"a key, for events":            "GET /events HTTP/1.1\r\nHost: a\r\n" + key + "x\r\n\r\n",
		"a key in the second request":  "GET /first HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a key in both":                "GET /first HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n" + key + "\r\n\r\n",
		"a key and a body":             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n" + key + "\r\n\r\nbody",
		"a body in chunks":             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
		"a body that was asked for":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
		"a body that holds a key":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n\r\nSec-WebSocket-Key: x\r\n\r\n ",
		"a body that the handler left": "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for over, dial := range dialers {
			conn := dial()
			go io.WriteString(conn, text)
			select {
			case <-entered:
			case <-time.After(5 * time.Second):
				t.Fatalf("%s, %s: not served", name, over)
			}
			conn.Close()
			if err := <-ended; err != nil {
				t.Errorf("%s, %s: the context did not end", name, over)
			}
		}
	}
}

// TestSlashesWithinSegments sends slashes in all disguises. What was sent
// encoded stays in its segment, what was not divides the path, and no other
// byte is taken for either.
func TestSlashesWithinSegments(t *testing.T) {
	router := aerys.Router()
	for _, pattern := range []string{"/a/{x}/b", "/any/{x:.+}", `/word/{x:\w+}`, "/both/{x}-{y}", "/pre{x}post", "/pre{x}%2Fpost",
		"/s%2Fx", "/s/x", "/s%2F%2Fx", "/t%2f{x}", "/%EF%B7%90/{x}", "/opt[/{x}[%2F{y}]]", "/go/{x}/?",
		"/dots/{x:[^.]+}", "/no/{x:[^/.]+}", "/up/{x}/{y}"} {
		router.Get(pattern, func(req *aerys.Request, res *aerys.Response) {
			text := pattern
			for _, name := range []string{"x", "y"} {
				if value := req.PathValue(name); value != "" {
					text += fmt.Sprintf(" %s=%q", name, value)
				}
			}
			res.End(text)
		})
	}
	router.Get("/std/{x}/b", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "std %q", r.PathValue("x")) })
	s := run(t, aerys.Options{}, at(router))
	for _, test := range []struct{ path, want string }{
		{"/a/x%2Fy/b", `/a/{x}/b x="x/y"`},
		{"/a/x%2fy/b", `/a/{x}/b x="x/y"`},
		{"/a/%2F/b", `/a/{x}/b x="/"`},
		{"/a/x%252Fy/b", `/a/{x}/b x="x%2Fy"`},
		{"/a/x%25252Fy%2F/b", `/a/{x}/b x="x%252Fy/"`},
		{"/a/..%EF%B7%90etc/b", `/a/{x}/b x="..\ufdd0etc"`},
		{"/a/\ufdd0/b", `/a/{x}/b x="\ufdd0"`},
		{"/a/%EF%B7%90%2F%EF%B7%90/b", `/a/{x}/b x="\ufdd0/\ufdd0"`},
		{"/a/\ufdd0%2F/b", `/a/{x}/b x="\ufdd0/"`},
		{"/a/%FF/b", `/a/{x}/b x="\xff"`},
		{"/a/%FF%2F%FE/b", `/a/{x}/b x="\xff/\xfe"`},
		{"/a/%00%2F%00/b", `/a/{x}/b x="\x00/\x00"`},
		{"/a/%0A%2F/b", `/a/{x}/b x="\n/"`},
		{"/a/%C0%AF/b", `/a/{x}/b x="\xc0\xaf"`}, // an overlong slash is none
		{"/a/%5C%2F/b", `/a/{x}/b x="\\/"`},
		{"/a/%25%2F/b", `/a/{x}/b x="%/"`},
		{"/a%2Fx/b", ""},
		{"/a/x%2Fb", ""},
		{"%2Fa/x/b", ""},
		{"/any/x%2Fy", `/any/{x:.+} x="x/y"`},
		{"/any/%EF%B7%90%2F", `/any/{x:.+} x="\ufdd0/"`},
		{"/any/x/y", `/any/{x:.+} x="x/y"`},
		{"/word/x%2Fy", ""},
		{"/word/x%EF%B7%90", ""},
		{"/both/a%2Fb-c%2Fd", `/both/{x}-{y} x="a/b" y="c/d"`},
		{"/both/%FF%0A-%2F", `/both/{x}-{y} x="\xff\n" y="/"`},
		{"/both/a/b-c", ""},
		{"/prex%2Fpost", `/pre{x}%2Fpost x="x"`},
		{"/pre%2Fpost", `/pre{x}post x="/"`},
		{"/prex%FFpost", `/pre{x}post x="x\xff"`},
		{"/s%2Fx", "/s%2Fx"},
		{"/s%2fx", "/s%2Fx"},
		{"/s/x", "/s/x"},
		{"/s%FFx", ""},
		{"/s%25x", ""},
		{"/s%EF%B7%90x", ""},
		{"/s%2F/x", ""},
		{"/s%2F%2Fx", "/s%2F%2Fx"},
		{"/t%2Fx", `/t%2f{x} x="x"`},
		{"/t%2F%2F", `/t%2f{x} x="/"`},
		{"/t/x", ""},
		{"/%EF%B7%90/%2F", `/%EF%B7%90/{x} x="/"`},
		{"/\ufdd0/x", `/%EF%B7%90/{x} x="x"`},
		{"/%2F/x", ""},
		{"/opt/x%2Fy", `/opt[/{x}[%2F{y}]] x="x" y="y"`},
		{"/opt/x%2F", `/opt[/{x}[%2F{y}]] x="x/"`},
		{"/go/x%2F/", "302 /go/x%2F"},
		{"/go/x%2F%EF%B7%90/", "302 /go/x%2F%EF%B7%90"},
		{"/go/\u00e9%2F/", "302 /go/%C3%A9%2F"},
		{"/go/\\%2F/", "302 /go/%5C%2F"},
		{"/go/x%2F", `/go/{x}/? x="x/"`},
		{"/dots/a%2Fb", `/dots/{x:[^.]+} x="a/b"`},
		{"/no/a%2Fb", ""}, // as the regexp has it
		{"/up/%2E%2E%2F%2E%2E/x%2F", `/up/{x}/{y} x="../.." y="x/"`},
		{"/std/x%2Fy/b", `std "x/y"`},
		{"/std/..%EF%B7%90etc/b", `std "..\ufdd0etc"`},
	} {
		text := s.get(t, test.path)
		status, body := statusAndBody(t, text)
		switch status {
		case http.StatusNotFound, http.StatusBadRequest:
			body = ""
		case http.StatusFound:
			_, location, _ := strings.Cut(text, "Location: ")
			location, _, _ = strings.Cut(location, "\r\n")
			body = "302 " + location
		}
		if body != test.want {
			t.Errorf("%s: %d %q, want %q", test.path, status, body, test.want)
		}
	}
}
