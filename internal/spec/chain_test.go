package spec

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aerys"
)

// seen is what a middleware knows of an answer when the next handler has returned.
type seen struct {
	status  int
	written int64
}

// watching is middleware that tells what it sees.
func watching(to chan<- seen) aerys.Middleware {
	return func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			next.Serve(req, res)
			to <- seen{res.Status(), res.Written()}
		})
	}
}

// counter is a writer as access logs of net/http put it around another.
type counter struct {
	http.ResponseWriter
	seen
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = 200
	}
	n, err := c.ResponseWriter.Write(p)
	c.written += int64(n)
	return n, err
}

func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// counting is watching for net/http.
func counting(to chan<- seen) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := &counter{ResponseWriter: w}
			next.ServeHTTP(c, r)
			if c.status == 0 {
				c.status = 200 // as net/http will
			}
			to <- c.seen
		})
	}
}

// bounded is middleware with a limit of its own.
func bounded(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 5) }

// various answers each path in another way.
var various = aerys.Router().
	Get("/hello", hello).
	Get("/silent", func(http.ResponseWriter, *http.Request) {}).
	Get("/stream", func(_ *aerys.Request, res *aerys.Response) {
		for range 3 {
			res.WriteString("data: x\n\n")
			res.Flush()
		}
	}).
	Get("/panic", func(*aerys.Request, *aerys.Response) { panic("at the disco") }).
	Get("/late", func(_ *aerys.Request, res *aerys.Response) { res.WriteString("secret"); panic(io.EOF) }).
	Get("/401", func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("WWW-Authenticate", "Basic").SetStatus(401) }, hello).
	Get("/302", func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("Location", "/hello").SetStatus(302) }, hello).
	Get("/204", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(204) }).
	Get("/409", func(_ *aerys.Request, res *aerys.Response) {
		res.Fail(fmt.Errorf("storing: %w", &aerys.Error{Status: 409, Err: errors.New("taken already"), Public: true}))
	}).
	Get("/hidden", func(_ *aerys.Request, res *aerys.Response) {
		res.Fail(&aerys.Error{Status: 403, Err: errors.New("a secret of ours")})
	}).
	Get("/fail", func(_ *aerys.Request, res *aerys.Response) {
		res.WriteString("half")
		res.Fail(errors.New("the secret disk is full"))
	}).
	Get("/header", func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("A", "\n").WriteString("secret") }).
	Get("/wrong", func(_ *aerys.Request, res *aerys.Response) { res.JSON(make(chan int)) }).
	Get("/json", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(201).JSON(map[string]string{"a": "<b>"}) }).
	Get("/deadline", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithDeadline(r.Context(), time.Now())
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}, func(req *aerys.Request, res *aerys.Response) {
		<-req.Context().Done()
		res.Fail(&aerys.Error{Status: 504, Err: req.Context().Err()})
	}).
	Post("/body", func(req *aerys.Request, _ *aerys.Response) { io.ReadAll(req.Body()) }, hello).
	Post("/body/standard", func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }).
	Post("/form", func(req *aerys.Request, _ *aerys.Response) { req.ParseBody() }, hello).
	Post("/body/fail", func(req *aerys.Request, res *aerys.Response) {
		if _, err := io.ReadAll(req.Body()); err != nil {
			res.Fail(fmt.Errorf("reading: %w", err))
		}
	}, hello).
	Post("/form/fail", func(req *aerys.Request, res *aerys.Response) {
		if _, err := req.ParseBody(); err != nil {
			res.Fail(err)
		}
	}, hello).
	Post("/body/500", func(req *aerys.Request, res *aerys.Response) {
		_, err := io.ReadAll(req.Body())
		res.Fail(&aerys.Error{Status: 500, Err: err})
	}).
	Post("/body/bounded", bounded, func(req *aerys.Request, _ *aerys.Response) { io.ReadAll(req.Body()) }, hello).
	Post("/body/bounded/standard", bounded, func(w http.ResponseWriter, r *http.Request) { io.ReadAll(r.Body) }).
	Post("/form/bounded", bounded, func(req *aerys.Request, _ *aerys.Response) { req.ParseBody() }, hello).
	Post("/order", func(req *aerys.Request, res *aerys.Response) {
		var order struct{ Count int }
		if req.JSON(&order) == nil {
			res.JSON(order)
		}
	}, hello)

func posted(path, fields, body string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + fields + "\r\n\r\n" + body
}

// chainRows are requests to various, and the status and some of the body of
// their answers.
var chainRows = []struct {
	name, request string
	status        int
	body          string // "" is an empty one
}{
	{"a handler that answers", request("a", "/hello"), 200, "Hello, world!"},
	{"one of net/http's that does not", request("a", "/silent"), 200, ""},
	{"a stream", request("a", "/stream"), 200, "data: x"},
	{"no route", request("a", "/nowhere"), 404, "There is nothing at this address."},
	{"a route for another method", posted("/hello", "Content-Length: 0", ""), 405, "does not take requests of this kind"},
	{"a method that the host does not allow", "TRACE /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "does not take requests of this kind"},
	{"a method that nobody knows", "BREW /panic HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 501, "does not know requests of this kind"},
	{"a panic", request("a", "/panic"), 500, "Something went wrong"},
	{"a panic behind some of the body", request("a", "/late"), 500, "Something went wrong"},
	{"a status alone", request("a", "/401"), 401, "This needs you to log in."},
	{"a redirection alone", request("a", "/302"), 302, ""},
	{"no content", request("a", "/204"), 204, ""},
	{"an Error", request("a", "/409"), 409, "taken already"},
	{"an Error that is not shown", request("a", "/hidden"), 403, "You may not see this."},
	{"any other error", request("a", "/fail"), 500, "Something went wrong"},
	{"a header that cannot be sent", request("a", "/header"), 500, "Something went wrong"},
	{"JSON", request("a", "/json"), 201, `{"a":"\u003cb\u003e"}`},
	{"what JSON cannot express", request("a", "/wrong"), 500, "Something went wrong"},
	{"a deadline of the middleware's", request("a", "/deadline"), 504, "It took too long"},
	{"a body over the limit", posted("/body", "Content-Length: 101", strings.Repeat("x", 101)), 413, "MaxBodySize (100)"},
	{"a body at the limit", posted("/body", "Content-Length: 100", strings.Repeat("x", 100)), 200, "Hello"},
	{"one in chunks", posted("/body", "Transfer-Encoding: chunked", "65\r\n"+strings.Repeat("x", 101)+"\r\n0\r\n\r\n"), 413, "MaxBodySize (100)"},
	{"one over the limit, for net/http", posted("/body/standard", "Content-Length: 101", strings.Repeat("x", 101)), 413, "MaxBodySize (100)"},
	{"chunks that are none", posted("/body", "Transfer-Encoding: chunked", "x\r\n"), 400, "does not understand"},
	{"a form that is none", posted("/form", "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3", "xyz"), 400, "malformed form"},
	{"chunks that are none, told to Fail", posted("/body/fail", "Transfer-Encoding: chunked", "x\r\n"), 400, "does not understand"},
	{"and with a status", posted("/body/500", "Transfer-Encoding: chunked", "x\r\n"), 500, "Something went wrong"},
	{"a form that is none, told to Fail", posted("/form/fail", "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 3", "xyz"), 400, "malformed form"},
	{"no form, told to Fail", posted("/form/fail", "Content-Type: text/plain\r\nContent-Length: 3", "xyz"), 415, "of a type that is not taken here"},
	{"a form that was sent", posted("/form", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 3", "a=b"), 200, "Hello"},
	{"a form over the limit", posted("/form", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 101", strings.Repeat("x", 101)), 413, "MaxBodySize (100)"},
	{"one over a limit of net/http's", posted("/body/bounded", "Content-Length: 6", "123456"), 413, "request body too large"},
	{"one at that limit", posted("/body/bounded", "Content-Length: 5", "12345"), 200, "Hello"},
	{"one over it, for net/http", posted("/body/bounded/standard", "Content-Length: 6", "123456"), 413, "request body too large"},
	{"a form over a limit of net/http's", posted("/form/bounded", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 6", "a=bcde"), 413, "request body too large"},
	{"JSON that was sent", posted("/order", "Content-Type: application/json\r\nContent-Length: 11", `{"Count":7}`), 200, `{"Count":7}`},
	{"JSON that is none", posted("/order", "Content-Type: application/json\r\nContent-Length: 6", `{"Cou"`), 400, "unexpected end"},
	{"no JSON", posted("/order", "Content-Type: text/plain\r\nContent-Length: 1", `1`), 415, "want Content-Type: application/json"},
	{"JSON over the limit", posted("/order", "Content-Type: application/json\r\nContent-Length: 101", strings.Repeat(" ", 101)), 413, "MaxBodySize (100)"},
}

// TestMiddlewareSeesEveryAnswer: what the server answers by itself is an answer to
// the middleware of the host, ours and net/http's, as any other is.
func TestMiddlewareSeesEveryAnswer(t *testing.T) {
	ours, theirs := make(chan seen, 1), make(chan seen, 1)
	s := run(t, aerys.Options{MaxBodySize: 100}, at(watching(ours), various), new(aerys.Host).Expose("::1", 0).Use(counting(theirs), various))
	for _, row := range chainRows {
		t.Run(row.name, func(t *testing.T) {
			for i, middleware := range []chan seen{ours, theirs} {
				text := converse(t, s.addresses[i], row.request)
				status, body := statusAndBody(t, text)
				if status != row.status || !strings.Contains(body, row.body) || (body == "") != (row.body == "") || strings.Contains(text, "secret") {
					t.Errorf("answered %q", text)
				}
				got := <-middleware
				if got.status != row.status || got.written != int64(len(body)) {
					t.Errorf("middleware saw %+v, the body has %d bytes", got, len(body))
				}
			}
		})
	}
	if log := s.log.String(); strings.Contains(log, "superfluous") || !strings.Contains(log, "the secret disk is full") || !strings.Contains(log, "at the disco") {
		t.Error(log)
	}
}

// TestErrorsLookAsTheHostSays has the same requests answered by Host.Errors.
func TestErrorsLookAsTheHostSays(t *testing.T) {
	asked := make(chan seen, 1)
	host := at(watching(asked), various).Errors(func(req *aerys.Request, res *aerys.Response, e *aerys.Error) {
		if res.State() != aerys.None || res.Status() != e.Status {
			t.Errorf("%s: state %v, status %d of %d", req.URL, res.State(), res.Status(), e.Status)
		}
		res.SetHeader("X-Path", req.URL.Path).JSON(map[string]any{"code": e.Status, "error": e.Text(), "panicked": e.Stack != nil})
	})
	s := run(t, aerys.Options{MaxBodySize: 100}, host)
	for _, row := range chainRows {
		text := converse(t, s.addresses[0], row.request)
		<-asked
		var got struct {
			Code     int
			Error    string
			Panicked bool
		}
		status, body := statusAndBody(t, text)
		switch err := json.Unmarshal([]byte(body), &got); {
		case row.status < 400 || row.body == "": // or net/http's
			if status != row.status {
				t.Errorf("%s: %q", row.name, text)
			}
		case err != nil || status != row.status || got.Code != status || !strings.Contains(got.Error, row.body) ||
			got.Panicked != strings.Contains(row.name, "panic") || !strings.Contains(text, "X-Path: /") || strings.Contains(text, "secret"):
			t.Errorf("%s: %v, %q", row.name, err, text)
		}
	}
}

// TestErrorsThatFail: what goes wrong with an error's answer gets the page.
func TestErrorsThatFail(t *testing.T) {
	for name, answer := range map[string]func(*aerys.Request, *aerys.Response, *aerys.Error){
		"does nothing":                 func(*aerys.Request, *aerys.Response, *aerys.Error) {},
		"panics":                       func(*aerys.Request, *aerys.Response, *aerys.Error) { panic("again") },
		"fails":                        func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.Fail(e) },
		"fails, having taken all back": func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.Reset().Fail(e) },
		"fails, having written":        func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.WriteString("secret"); res.Fail(e) },
		"sets a header wrongly":        func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.SetHeader("A", "\n").End("secret") },
		"puts one there": func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) {
			res.Header()["A"] = []string{"\n"}
			res.End("x")
		},
		"encodes what it cannot": func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.JSON(func() {}) },
	} {
		for _, path := range []string{"/nowhere", "/panic", "/fail", "/header", "/401"} {
			s := run(t, aerys.Options{}, at(various).Errors(answer))
			text := s.get(t, path)
			status, body := statusAndBody(t, text)
			if status < 400 || strings.Count(text, "Vary: ") != 1 || strings.Count(body, "<h1>") != 1 || !strings.Contains(body, fmt.Sprint("<h1>", status)) || strings.Contains(body, "secret") {
				t.Errorf("%s, %s: %d %s", name, path, status, body)
			}
		}
	}
}

// TestTooLateToFail: an answer some of which has left is cut off, and one that is
// complete is left alone.
func TestTooLateToFail(t *testing.T) {
	routes := aerys.Router().
		Get("/streaming", func(_ *aerys.Request, res *aerys.Response) {
			res.WriteString("begun")
			res.Flush()
			res.Fail(errors.New("lost")).WriteString(" and more")
		}).
		Get("/ended", func(_ *aerys.Request, res *aerys.Response) { res.End("done"); res.Fail(errors.New("late")) })
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&counter{ResponseWriter: w}, r) })
	}
	for name, host := range map[string]*aerys.Host{"alone": at(routes), "in a writer of net/http's": at(wrap, routes)} {
		s := run(t, aerys.Options{}, host)
		if text := s.get(t, "/streaming"); !strings.Contains(text, "begun") || strings.HasSuffix(text, "0\r\n\r\n") {
			t.Errorf("%s: %q", name, text)
		}
		if _, body := statusAndBody(t, s.get(t, "/ended")); body != "done" {
			t.Errorf("%s: %q", name, body)
		}
		if log := s.log.String(); !strings.Contains(log, "lost") || !strings.Contains(log, "late") {
			t.Error(log)
		}
	}
}

// TestRefusedMethodsPassMiddlewareOnce: a method that the host does not allow goes
// through each of its middlewares, and to none of its actions.
func TestRefusedMethodsPassMiddlewareOnce(t *testing.T) {
	var made, passed, ran atomic.Int32
	once := func(next aerys.Handler) aerys.Handler {
		made.Add(1)
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			passed.Add(1)
			if req.Header.Get("Shortcut") != "" {
				res.SetStatus(429)
				return
			}
			next.Serve(req, res)
		})
	}
	act := func(*aerys.Request, *aerys.Response) { ran.Add(1) }
	s := run(t, aerys.Options{}, at(act, once, act, counting(make(chan seen, 10)), act, once, aerys.Router().Get("/", act), http.NotFoundHandler()))
	for _, test := range []struct {
		method, field string
		status        int
	}{{"TRACE", "", 405}, {"BREW", "", 501}, {"BREW", "Shortcut: x\r\n", 429}} {
		text := converse(t, s.addresses[0], test.method+" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+test.field+"\r\n")
		if status, _ := statusAndBody(t, text); status != test.status || !strings.Contains(text, "\r\nAllow: DELETE, GET,") {
			t.Errorf("%q", text)
		}
	}
	if made.Load() != 2 || passed.Load() != 5 || ran.Load() != 0 {
		t.Errorf("made %d, passed %d, ran %d", made.Load(), passed.Load(), ran.Load())
	}
}

// TestStatusStaysOpen: a handler of net/http that returns without writing leaves
// the status to the middleware around it, as chi's Timeout wants it.
func TestStatusStaysOpen(t *testing.T) {
	late := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer w.WriteHeader(504)
			next.ServeHTTP(w, r)
		})
	}
	log := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&counter{ResponseWriter: w}, r) })
	}
	silent := func(http.ResponseWriter, *http.Request) {}
	for name, actions := range map[string][]aerys.Action{
		"directly":           {late, silent, hello},
		"within a log":       {log, late, silent, hello},
		"around a log":       {late, log, silent, hello},
		"on a route":         {aerys.Router().Get("/", late, log, silent), hello},
		"around middleware":  {late, log, func(http.Handler) http.Handler { return http.HandlerFunc(silent) }, hello},
		"hidden from us too": {func(next http.Handler) http.Handler { return late(hiding(next)) }, silent, hello},
	} {
		s := run(t, aerys.Options{}, at(actions...))
		if status, body := statusAndBody(t, s.get(t, "/")); status != 504 || body != "" {
			t.Errorf("%s: %d %q", name, status, body)
		}
		if strings.Contains(s.log.String(), "too late") {
			t.Errorf("%s: %s", name, s.log)
		}
	}
}

// hiding is middleware whose writer cannot be unwrapped.
func hiding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
	})
}

// TestErrorsBehindHidingWriters: they look as the host says, also where it cannot
// be found from the writer, and where it is mounted elsewhere.
func TestErrorsBehindHidingWriters(t *testing.T) {
	host := at(hiding, various).Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.End("ours") })
	s := run(t, aerys.Options{}, host)
	mounted := httptest.NewServer(host)
	defer mounted.Close()
	for _, url := range []string{s.url(), mounted.URL} {
		response, err := http.Get(url + "/nowhere")
		if err != nil {
			t.Fatal(err)
		}
		if body := bodyOf(response); response.StatusCode != 404 || body != "ours" {
			t.Errorf("%d %s", response.StatusCode, body)
		}
	}
}

// TestErrorPages holds the three forms of an error, and what debug mode adds.
func TestErrorPages(t *testing.T) {
	plain := run(t, aerys.Options{}, at(various).Name("a"))
	debug := run(t, aerys.Options{Debug: true}, at(various).Name("a"))
	for _, test := range []struct {
		name, accept, kind string
		contains           string
	}{
		{"a browser", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<meta name=color-scheme content=\"light dark\">"},
		{"anything", "*/*", "text/html; charset=utf-8", "<meta name=viewport"},
		{"nothing said", "", "text/html; charset=utf-8", "<!DOCTYPE html>"},
		{"text", "text/plain", "text/plain; charset=utf-8", " "},
		{"JSON", "application/json", "application/problem+json", `"title":`},
		{"a problem", "application/problem+json, */*;q=0.1", "application/problem+json", `"status":`},
		{"rather JSON", "text/html;q=0.4, application/json;q=0.5", "application/problem+json", `"detail":`},
		{"rather HTML", "text/html;q=0.6, application/json;q=0.5", "text/html; charset=utf-8", "<h1>"},
		{"JSON refused", "application/json;q=0, text/*;q=0.5", "text/html; charset=utf-8", "<h1>"},
	} {
		for host, path := range map[string]string{"a": "/nowhere", "b": "/", "a:1": "/panic"} {
			for _, s := range []*server{plain, debug} {
				conn := dial(t, s.addresses[0])
				answer, body, err := ask(conn, bufio.NewReader(conn), "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nX-Mine: <script>\r\nAccept: "+test.accept+"\r\n\r\n")
				if err != nil {
					t.Fatal(err)
				}
				if answer.Header.Get("Content-Type") != test.kind || !strings.Contains(body, test.contains) || strings.Contains(body, "<script>") && strings.HasPrefix(test.kind, "text/html") ||
					!strings.Contains(answer.Header.Get("Vary"), "Accept") || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s, %s: %v %s", test.name, path, answer.Header, body)
				}
				shows := s == debug && path == "/panic"
				if strings.Contains(body, "disco") != shows || strings.Contains(body, "chain_test.go") != shows {
					t.Errorf("%s, %s, debug %t: %s", test.name, path, s == debug, body)
				}
			}
		}
	}
}

// TestDebugPage holds the order of things: what happened, the request, and the
// stack from the handler on.
func TestDebugPage(t *testing.T) {
	s := run(t, aerys.Options{Debug: true}, at(various).Use(func(*aerys.Request, *aerys.Response) { var m map[string]int; m["x"] = 1 }))
	for path, message := range map[string]string{"/panic": "at the disco", "/else": "assignment to entry in nil map"} {
		_, body := statusAndBody(t, converse(t, s.addresses[0], "GET "+path+" HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\nConnection: close\r\nX-Mine: yes\r\n\r\n"))
		parts := strings.Split(body, "\n\n")
		if len(parts) != 4 || !strings.Contains(parts[1], message) || !strings.HasPrefix(parts[2], "GET "+path+" HTTP/1.1\nHost: a\n") ||
			!strings.Contains(parts[2], "X-Mine: yes") || !strings.HasPrefix(parts[3], "aerys/internal/spec.") || strings.Contains(parts[3], "panic(") {
			t.Errorf("%q", body)
		}
	}
}

// TestSniffing: what a handler of net/http writes is what net/http documents, and
// what an action of ours writes is not to be guessed.
func TestSniffing(t *testing.T) {
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 9000)
	writes := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if length := r.Header.Get("Length"); length != "" {
				w.Header().Set("Content-Length", length)
			}
			if r.Header.Get("Coded") != "" {
				w.Header().Set("Content-Encoding", "x")
			}
			io.Copy(struct{ io.Writer }{w}, strings.NewReader(text))
		}
	}
	pass := func(next http.Handler) http.Handler { return next }
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(&counter{ResponseWriter: w}, r) })
	}
	own := func(_ *aerys.Request, res *aerys.Response) { res.End(`{"a":1}`) }
	flushed := func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, `{"a":"<script>"}`)
	}
	ownFlushed := func(req *aerys.Request, res *aerys.Response) { res.Flush(); own(req, res) }
	s := run(t, aerys.Options{DisableCompression: true}, at(aerys.Router().
		Get("/json", writes(`{"a":1}`)).Get("/png", writes(png)).Get("/short", writes(png[:8])).Get("/html", writes("<html>")).
		Get("/wrapped", wrap, writes(png)).Get("/passed", pass, writes(png)).
		Get("/flushed", flushed).Get("/flushed/wrapped", wrap, flushed).Get("/own/flushed", ownFlushed).
		Get("/own", own).Get("/own/passed", pass, own).Get("/own/wrapped", wrap, own)))
	const ours = "text/html; charset=utf-8, nosniff"
	for _, test := range []struct{ path, field, want string }{
		{"/json", "X: x", "text/plain; charset=utf-8"}, {"/png", "X: x", "image/png"}, {"/short", "X: x", "image/png"},
		{"/html", "X: x", "text/html; charset=utf-8"}, {"/png", "Length: 9008", "image/png"}, {"/png", "Coded: x", ""},
		{"/flushed", "X: x", ""}, {"/flushed/wrapped", "X: x", ""}, {"/own/flushed", "X: x", ours}, // as net/http
		{"/wrapped", "X: x", "image/png"}, {"/passed", "X: x", "image/png"},
		{"/own", "X: x", ours}, {"/own/passed", "X: x", ours}, {"/own/wrapped", "X: x", ours},
	} {
		conn := dial(t, s.addresses[0])
		answer, _, err := ask(conn, bufio.NewReader(conn), "GET "+test.path+" HTTP/1.1\r\nHost: a\r\n"+test.field+"\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(append(answer.Header["Content-Type"], answer.Header["X-Content-Type-Options"]...), ", ")
		if got != test.want {
			t.Errorf("%s, %s: %s, want %s", test.path, test.field, got, test.want)
		}
	}
}

// TestReset has middleware replace what was answered.
func TestReset(t *testing.T) {
	replace := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			res.SetHeader("X-Outer", "stays")
			if next.Serve(req, res); res.Status() >= 400 {
				if res.Reset(); res.State() == aerys.None && res.Status() == 200 && res.Written() == 0 {
					res.SetHeader("X-Replaced", "yes").End("replaced")
				}
			}
		})
	}
	s := run(t, aerys.Options{OutputBufferSize: 2000}, at(replace, various).Use(func(req *aerys.Request, res *aerys.Response) {
		res.SetStatus(500).SetHeader("Content-Type", "image/png").SetHeader("ETag", `"x"`).WriteString("x")
		switch req.URL.Path {
		case "/flushed":
			res.Flush()
		case "/long":
			res.WriteString(strings.Repeat("x", 2000))
		case "/ended":
			res.End()
		}
	}))
	for path, replaced := range map[string]bool{"/held": true, "/panic": true, "/fail": true, "/401": true, "/header": true,
		"/hello": false, "/flushed": false, "/long": false, "/ended": false} {
		text := s.get(t, path)
		_, body := statusAndBody(t, text)
		if (body == "replaced") != replaced || replaced != strings.Contains(text, "X-Replaced") || !strings.Contains(text, "X-Outer: stays") ||
			replaced && (strings.Contains(text, "image/png") || strings.Contains(text, "Etag") || !strings.HasPrefix(text, "HTTP/1.1 200 ")) {
			t.Errorf("%s: %q", path, text)
		}
	}
}

// TestFailIsLoggedOnce: 500 with its cause, what the client did wrong not at all.
func TestFailIsLoggedOnce(t *testing.T) {
	s := run(t, aerys.Options{}, at(various))
	for path, lines := range map[string]int{"/fail": 1, "/panic": 1, "/wrong": 1, "/header": 1, "/409": 0, "/hidden": 0, "/401": 0, "/nowhere": 0} {
		before := strings.Count(s.log.String(), "\n")
		s.get(t, path)
		if n := strings.Count(s.log.String(), "\n") - before; n != lines {
			t.Errorf("%s: %d lines, want %d: %s", path, n, lines, s.log)
		}
	}
	if log := s.log.String(); !strings.Contains(log, `msg="aerys: request failed" status=500 error="the secret disk is full" host=* method=GET path=/fail client=127.0.0.1:`) {
		t.Error(log)
	}
}

// TestErrorsAreFiltered: what middleware does with every body it does with that of
// an error, and the coding that it has set stays; a handler's own goes with its body.
func TestErrorsAreFiltered(t *testing.T) {
	shouting := func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("Content-Encoding", "shout").Filter(shout) }
	coding := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			shouting(req, res)
			next.Serve(req, res)
		})
	}
	broken := func(w io.Writer) io.WriteCloser { panic("no filter") }
	s := run(t, aerys.Options{}, at(aerys.Router().
		Get("/filtered", coding, func(*aerys.Request, *aerys.Response) { panic("x") }).
		Get("/failed", coding, func(_ *aerys.Request, res *aerys.Response) { res.Fail(errors.New("x")) }).
		Get("/own", func(_ *aerys.Request, res *aerys.Response) {
			res.SetHeader("Content-Encoding", "br").SetHeader("Content-Length", "7").WriteString("x")
			panic("x")
		}).
		Get("/action", shouting, func(*aerys.Request, *aerys.Response) { panic("x") }).
		Get("/status", func(req *aerys.Request, res *aerys.Response) { shouting(req, res); res.SetStatus(500) }).
		Get("/own/filter", func(req *aerys.Request, res *aerys.Response) { shouting(req, res); panic("x") }).
		Get("/own/reset", coding, func(req *aerys.Request, res *aerys.Response) {
			shouting(req, res)
			res.Reset().SetStatus(500).End("<h1>500")
		}).
		Get("/coding/broken", coding, func(_ *aerys.Request, res *aerys.Response) { res.Filter(broken).End("x") }).
		Get("/broken", func(_ *aerys.Request, res *aerys.Response) { res.Filter(broken).End("x") }).
		Get("/broken/late", func(_ *aerys.Request, res *aerys.Response) { res.Filter(broken).WriteString("x") })))
	for path, want := range map[string]string{"/filtered": "shout <H1>500", "/failed": "shout <H1>500", "/own": " <h1>500",
		"/action": "shout <H1>500", "/status": "shout <H1>500", "/own/filter": " <h1>500", "/own/reset": "shout <H1>500", "/coding/broken": " <h1>500",
		"/broken": " <h1>500", "/broken/late": " <h1>500"} {
		conn := dial(t, s.addresses[0])
		answer, body, err := ask(conn, bufio.NewReader(conn), "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		coding, heading, _ := strings.Cut(want, " ")
		if answer.StatusCode != 500 || answer.Header.Get("Content-Encoding") != coding || !strings.Contains(body, heading) {
			t.Errorf("%s: %v %s", path, answer, body)
		}
	}
}

// TestErrorsBehindAnothersCoding: a Host that another server has mounted behind a
// middleware that codes leaves the coding alone.
func TestErrorsBehindAnothersCoding(t *testing.T) {
	recorder := httptest.NewRecorder()
	recorder.Header().Set("Content-Encoding", "br")
	new(aerys.Host).Use(various).ServeHTTP(recorder, httptest.NewRequest("GET", "/nowhere", nil))
	is(t, recorder.Code, "404")
	is(t, recorder.Header().Get("Content-Encoding"), "br")
}

// TestErrorsKnowTheRequest: Host.Errors gets the request as the middleware around the
// action has made it, request ids included.
func TestErrorsKnowTheRequest(t *testing.T) {
	type key struct{}
	ids := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, r.Header.Get("Id"))))
		})
	}
	wrapped := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ids(next).ServeHTTP(&counter{ResponseWriter: w}, r) })
	}
	for name, middleware := range map[string]func(http.Handler) http.Handler{"direct": ids, "wrapped": wrapped} {
		s := run(t, aerys.Options{}, at(middleware, various).Errors(func(req *aerys.Request, res *aerys.Response, _ *aerys.Error) {
			res.End(fmt.Sprint(req.Context().Value(key{})))
		}))
		for _, path := range []string{"/nowhere", "/fail", "/panic", "/409", "/header", "/wrong", "/401"} {
			if _, body := statusAndBody(t, converse(t, s.addresses[0], "GET "+path+" HTTP/1.1\r\nHost: a\r\nId: seven\r\nConnection: close\r\n\r\n")); body != "seven" {
				t.Errorf("%s, %s: %s", name, path, body)
			}
		}
	}
}

// TestErrorsOfAHostOnItsOwn: one that another server, or another host, has mounted says
// itself how its errors look, also where a middleware hides what it writes to.
func TestErrorsOfAHostOnItsOwn(t *testing.T) {
	hiding := func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "late") }
	host := new(aerys.Host).Use(hiding, various).Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.End(fmt.Sprint("own ", e.Status)) })
	mux := http.NewServeMux()
	mux.Handle("/", host)
	server := httptest.NewServer(mux)
	defer server.Close()
	for _, url := range []string{server.URL, run(t, aerys.Options{}, at(host)).url()} {
		for path, want := range map[string]string{"/nowhere": "own 404", "/fail": "own 500", "/panic": "own 500", "/401": "own 401", "/hello": "Hello, world!"} {
			response, err := http.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			is(t, bodyOf(response), want)
		}
	}
}

// TestErrorsBelowAMount: Host.Errors, and the log, see all of the path, wherever below
// a mount something went wrong.
func TestErrorsBelowAMount(t *testing.T) {
	pass := func(next aerys.Handler) aerys.Handler { return next }
	host := at(aerys.Router().Mount("/m", various).Mount("/n", pass, aerys.Router().Mount("/m", pass, various, hello).Mount("/one", various.Serve))).
		Errors(func(req *aerys.Request, res *aerys.Response, _ *aerys.Error) { res.End(req.URL.Path) })
	s := run(t, aerys.Options{}, host)
	for _, prefix := range []string{"/m", "/n/m", "/n/one"} {
		for _, path := range []string{"/fail", "/panic", "/409", "/header", "/wrong", "/401", "/body"} {
			if _, body := statusAndBody(t, s.get(t, prefix+path)); body != prefix+path {
				t.Errorf("%s%s: %s", prefix, path, body)
			}
		}
		if log := s.log.String(); !strings.Contains(log, "path="+prefix+"/panic") || !strings.Contains(log, "path="+prefix+"/header") {
			t.Errorf("below %s: %s", prefix, log)
		}
	}
}

// TestErrorsOverEveryProtocol: the same over TLS and HTTP/2, where an answer that is
// cut off shows, too.
func TestErrorsOverEveryProtocol(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			saw := make(chan seen, 1)
			_, url, client := runOver(t, protocol, aerys.Options{}, new(aerys.Host).Use(watching(saw), various, func(_ *aerys.Request, res *aerys.Response) {
				res.WriteString("begun")
				res.Flush()
				res.Fail(errors.New("lost"))
			}))
			for path, status := range map[string]int{"/hello": 200, "/stream": 200, "/silent": 200, "/panic": 500, "/late": 500, "/401": 401,
				"/409": 409, "/fail": 500, "/header": 500, "/json": 201, "/deadline": 504, "/cut": 200, "/body": 405} {
				response, err := client.Get(url + path)
				if err != nil {
					t.Fatal(path, err)
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				got := <-saw
				if response.StatusCode != status || got.status != status || got.written != int64(len(body)) || (err != nil) != (path == "/cut") {
					t.Errorf("%s: %d, %d bytes, %v; middleware saw %+v", path, response.StatusCode, len(body), err, got)
				}
			}
		})
	}
}

// TestWritten holds what Response.Written counts: what was written, whatever becomes
// of it.
func TestWritten(t *testing.T) {
	file, _ := randomFile(t, 20_000)
	long := strings.Repeat("x", 9000)
	for name, write := range map[string]func(*aerys.Response) int{
		"nothing":        func(*aerys.Response) int { return 0 },
		"End":            func(res *aerys.Response) int { res.End("a", long); return 9001 },
		"Write":          func(res *aerys.Response) int { fmt.Fprint(res, "a"); fmt.Fprint(res, "b"); return 2 },
		"more than held": func(res *aerys.Response) int { res.WriteString("a"); res.WriteString(long); return 9001 },
		"a stream":       func(res *aerys.Response) int { res.WriteString("a"); res.Flush(); res.End("b"); return 2 },
		"a file":         func(res *aerys.Response) int { res.ReadFrom(io.NewSectionReader(file, 5, 10_000)); return 10_000 },
		"a file of length": func(res *aerys.Response) int {
			res.SetHeader("Content-Length", "20000").ReadFrom(io.NewSectionReader(file, 0, 20_000))
			return 20_000
		},
		"JSON":           func(res *aerys.Response) int { res.JSON(1); return 2 },
		"after the end":  func(res *aerys.Response) int { res.End("a"); res.WriteString("b"); res.End("c"); return 1 },
		"without a body": func(res *aerys.Response) int { res.SetStatus(204).WriteString("a"); return 0 },
		"taken back":     func(res *aerys.Response) int { res.WriteString("abc"); res.Reset().WriteString("a"); return 1 },
	} {
		counted := make(chan string, 1)
		s := run(t, aerys.Options{}, at(func(next aerys.Handler) aerys.Handler {
			return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
				want := write(res)
				counted <- fmt.Sprint(res.Written() == int64(want), " ", res.Written())
			})
		}))
		for _, request := range []string{request("a", "/"), "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"} {
			converse(t, s.addresses[0], request)
			if got := <-counted; !strings.HasPrefix(got, "true") {
				t.Errorf("%s, %.4s: %s", name, request, got)
			}
		}
	}
}
