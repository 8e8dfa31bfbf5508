package aerys

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHandshake has what OnHandshake may do, and what becomes of it.
func TestHandshake(t *testing.T) {
	for _, test := range []struct {
		name     string
		action   func(*Response)
		accepted bool
		status   int
		body     string
		err      error
	}{
		{"nothing", func(r *Response) {}, true, 101, "", nil},
		{"headers", func(r *Response) {
			r.SetHeader("X", "1").SetCookie(&http.Cookie{Name: "a"}).Push("/a", nil)
		}, true, 101, "", nil},
		{"101 once more", func(r *Response) { r.SetStatus(403).SetStatus(101) }, true, 101, "", nil},
		{"End with 101", func(r *Response) { r.End() }, true, 101, "", nil},
		{"Flush with 101", func(r *Response) { r.Flush() }, true, 101, "", nil},
		{"a status", func(r *Response) { r.SetStatus(403) }, false, 403, "", nil},
		{"a status and a body", func(r *Response) { r.SetStatus(403).End("Nope.") }, false, 403, "Nope.", nil},
		{"a body left open", func(r *Response) { r.SetStatus(403).WriteString("Nope.") }, false, 403, "Nope.", nil},
		{"a long one, flushed", func(r *Response) {
			r.SetStatus(403)
			io.Copy(r, strings.NewReader(strings.Repeat("x", 20000)))
			io.Copy(r, struct{ io.Reader }{strings.NewReader("y")})
			r.Flush()
		}, false, 403, strings.Repeat("x", 20000) + "y", nil},
		{"a redirect", func(r *Response) { http.Redirect(r, httptest.NewRequest("GET", "/", nil), "/login", 302) }, false, 302, "<a href=\"/login\">Found</a>.\n\n", nil},
		{"the status after End", func(r *Response) { r.SetStatus(403).End("a"); r.SetStatus(404) }, false, 404, "a", nil},
		{"Write with 101", func(r *Response) { r.WriteString("a") }, false, 500, "500 Inter", ErrHandshakeBody},
		{"End with a body and 101", func(r *Response) { r.End("a") }, false, 500, "500 Inter", ErrHandshakeBody},
		{"a body, and 101 again", func(r *Response) { r.SetStatus(403).WriteString("a"); r.SetStatus(101) }, false, 500, "500 Inter", ErrHandshakeBody},
		{"an invalid header", func(r *Response) { r.SetHeader("X", "a\r\nb") }, false, 500, "500 Inter", ErrInvalidHeader},
		{"an invalid header, put directly", func(r *Response) { r.Header()["X"] = []string{"\n"} }, false, 500, "500 Inter", ErrInvalidHeader},
		{"an invalid header with a status", func(r *Response) { r.SetHeader("X", "\n").SetStatus(403) }, false, 500, "500 Inter", ErrInvalidHeader},
	} {
		server := serveExchange(t, Options{}, func(q *Request, r *Response) {
			if q.URL.Path == "/second" {
				r.End("second")
				return
			}
			r.BeginHandshake()
			test.action(r)
			if accepted := r.EndHandshake(); accepted != test.accepted || !errors.Is(r.Err(), test.err) {
				t.Error(test.name, "accepted:", accepted, r.Err())
			}
			if test.accepted {
				accept(t, r)
			}
		})
		connection := server.dial(t)
		fmt.Fprint(connection, "GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
		reader := bufio.NewReader(connection)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(test.name, err)
		}
		body, _ := io.ReadAll(response.Body)
		if response.StatusCode != test.status || !strings.Contains(string(body), test.body) {
			t.Errorf("%s: got %d, %.100q", test.name, response.StatusCode, body)
		}
		if test.accepted {
			continue
		}
		fmt.Fprint(connection, "GET /second HTTP/1.1\r\nHost: x\r\n\r\n")
		if response, err = http.ReadResponse(reader, nil); err != nil {
			t.Fatal(test.name, "the second request:", err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != "second" {
			t.Errorf("%s: got %q for the second request", test.name, body)
		}
	}
}

// accept writes the 101 as package ws does.
func accept(t *testing.T, r *Response) {
	if r.State() != None || r.Status() != 101 {
		t.Error("state and status:", r.State(), r.Status())
	}
	connection, _, err := r.Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n")
	r.Header().Write(connection)
	fmt.Fprint(connection, "\r\n")
	connection.Close()
	if r.State() != Ended {
		t.Error("state after Hijack:", r.State())
	}
}

// TestHijackUnsupported: the response can be answered otherwise.
func TestHijackUnsupported(t *testing.T) {
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		r.out.Writer = struct{ http.ResponseWriter }{r.out.Writer}
		if _, _, err := r.Hijack(); !errors.Is(err, http.ErrNotSupported) || r.State() != None {
			t.Error(err, r.State())
		}
		r.SetStatus(501)
	})
	if response, _ := server.get(t); response.StatusCode != 501 {
		t.Error(response)
	}
}
