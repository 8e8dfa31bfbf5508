package aerys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// exchanging is a running server that serves every request as a host does. What is logged is in log.
type exchanging struct {
	*httptest.Server
	log *lockedBuffer
}

type lockedBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

func serveExchange(t *testing.T, options Options, actions ...Action) exchanging {
	log := new(lockedBuffer)
	options.Logger = slog.New(slog.NewTextHandler(log, nil))
	complete := options.withDefaults()
	host := newSite(new(Host).Use(actions...), complete)
	host.methods = nil // any
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host.serve(w, r, nil) }))
	server.Config.ErrorLog = slog.NewLogLogger(options.Logger.Handler(), slog.LevelError)
	server.Start()
	t.Cleanup(server.Close)
	return exchanging{server, log}
}

// dial connects to the server.
func (s exchanging) dial(t *testing.T) net.Conn {
	connection, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { connection.Close() })
	return connection
}

var unimportant = regexp.MustCompile(`(Date|Connection): [^\r]*\r\n`)

// raw sends a request with header as its first line and fields, and returns
// what came back as it was sent, save for the Date and Connection fields.
func (s exchanging) raw(t *testing.T, header, body string) string {
	t.Helper()
	connection := s.dial(t)
	header = strings.ReplaceAll(header, "\n", "\r\n")
	fmt.Fprintf(connection, "%s\r\nHost: x\r\nConnection: close\r\n\r\n%s", header, body)
	answer, err := io.ReadAll(connection)
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return unimportant.ReplaceAllString(string(answer), "")
}

// get sends a GET, and returns the answer and its body as it was sent.
func (s exchanging) get(t *testing.T, fields ...string) (*http.Response, string) {
	t.Helper()
	answer := s.raw(t, strings.Join(append([]string{"GET / HTTP/1.1"}, fields...), "\n"), "")
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		t.Fatalf("%v in %q", err, answer)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%v in %q", err, answer)
	}
	return response, string(body)
}

// statusAndBody takes an answer apart.
func statusAndBody(t *testing.T, text string) (status int, body string) {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("%v in %.200q", err, text)
	}
	all, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(all)
}

const (
	status200 = "HTTP/1.1 200 OK\r\n"
	plainHTML = "Content-Type: text/html; charset=utf-8\r\n"
	noSniff   = "X-Content-Type-Options: nosniff\r\n"
	typeHTML  = plainHTML + noSniff
)

// TestResponseOnTheWire has what each sequence of calls sends, byte for byte.
func TestResponseOnTheWire(t *testing.T) {
	long, full := strings.Repeat("x", 5000), strings.Repeat("x", 8192)
	for _, test := range []struct {
		name   string
		action func(*Request, *Response)
		want   string
		head   string // the answer to HEAD, where it is not want without its body
	}{
		{"End alone", func(_ *Request, r *Response) { r.End() }, status200 + "Content-Length: 0\r\n\r\n", status200 + "\r\n"},
		{"End with a body", func(_ *Request, r *Response) { r.End("hello") }, status200 + typeHTML + "Content-Length: 5\r\n\r\nhello", ""},
		{"End with many parts", func(_ *Request, r *Response) { r.End("a", "b", "c") }, status200 + typeHTML + "Content-Length: 3\r\n\r\nabc", ""},
		{"Write left open", func(_ *Request, r *Response) { r.Write([]byte("hello")) }, status200 + typeHTML + "Content-Length: 5\r\n\r\nhello", ""},
		{"WriteString, then End", func(_ *Request, r *Response) { r.WriteString("hel"); r.End("lo") }, status200 + typeHTML + "Content-Length: 5\r\n\r\nhello", ""},
		{"a status alone", func(_ *Request, r *Response) { r.SetStatus(403) }, "", "HTTP/1.1 403 Forbidden\r\n" + plainHTML + "Vary: Accept\r\n" + noSniff + "Content-Length: 471\r\n\r\n"},
		{"a status and a header", func(_ *Request, r *Response) { r.SetHeader("Location", "/a").SetStatus(302) },
			"HTTP/1.1 302 Found\r\nLocation: /a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /a\r\n\r\n"},
		{"a status after the body", func(_ *Request, r *Response) { r.WriteString("no"); r.SetStatus(403) }, "HTTP/1.1 403 Forbidden\r\n" + typeHTML + "Content-Length: 2\r\n\r\nno", ""},
		{"above what net/http counts", func(_ *Request, r *Response) { r.WriteString(long) }, status200 + "Content-Length: 5000\r\n" + typeHTML + "\r\n" + long, ""},
		{"as much as is held back", func(_ *Request, r *Response) { r.WriteString(full[1:]); r.WriteString("x") }, status200 + "Content-Length: 8192\r\n" + typeHTML + "\r\n" + full, ""},
		{"long parts at once", func(_ *Request, r *Response) { r.End(full, full) }, status200 + "Content-Length: 16384\r\n" + typeHTML + "\r\n" + full + full, ""},
		{"a long End", func(_ *Request, r *Response) { r.WriteString("x"); r.End(full) }, status200 + "Content-Length: 8193\r\n" + typeHTML + "\r\nx" + full, ""},
		{"Flush", func(_ *Request, r *Response) {
			r.WriteString("a")
			r.Flush()
			r.WriteString("b")
			r.Flush()
			r.End("c")
		},
			status200 + typeHTML + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", status200 + typeHTML + "\r\n"},
		{"no body with 204", func(_ *Request, r *Response) { r.WriteString("x"); r.SetStatus(204) }, "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"no body with 304", func(_ *Request, r *Response) { r.SetStatus(304).End("x") }, "HTTP/1.1 304 Not Modified\r\n\r\n", ""},
		{"Content-Length of the application", func(_ *Request, r *Response) { r.SetHeader("Content-Length", "2").Flush(); r.End("ab") }, status200 + "Content-Length: 2\r\n" + typeHTML + "\r\nab", ""},
		{"charset added", func(_ *Request, r *Response) { r.SetHeader("Content-Type", "text/css").End("x") }, status200 + "Content-Type: text/css; charset=utf-8\r\nContent-Length: 1\r\n\r\nx", ""},
		{"charset kept", func(_ *Request, r *Response) { r.SetHeader("Content-Type", "text/css; charset=x").End("x") }, status200 + "Content-Type: text/css; charset=x\r\nContent-Length: 1\r\n\r\nx", ""},
		{"no charset", func(_ *Request, r *Response) { r.SetHeader("Content-Type", "image/png").End("x") }, status200 + "Content-Type: image/png\r\nContent-Length: 1\r\n\r\nx", ""},
		{"no Content-Type", func(_ *Request, r *Response) { r.Header()["Content-Type"] = nil; r.End("x") }, status200 + "Content-Length: 1\r\n\r\nx", ""},
		{"declared trailer, set while held back", func(_ *Request, r *Response) {
			r.SetHeader("Trailer", "x-a, X-B")
			r.WriteString("body")
			r.SetHeader("X-A", "1").SetHeader("X-C", "2").End()
		}, status200 + plainHTML + "Trailer: x-a, X-B\r\nX-C: 2\r\n" + noSniff + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-A: 1\r\n\r\n", status200 + plainHTML + "Trailer: x-a, X-B\r\nX-C: 2\r\n" + noSniff + "\r\n"},
		{"trailer while streaming", func(_ *Request, r *Response) {
			r.End(long)
			r.SetHeader(http.TrailerPrefix+"X", "1")
		}, status200 + "Content-Length: 5000\r\n" + typeHTML + "\r\n" + long, ""},
		{"undeclared trailer", func(_ *Request, r *Response) { r.Header()[http.TrailerPrefix+"X"] = []string{"1"}; r.End("body") },
			status200 + typeHTML + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX: 1\r\n\r\n", status200 + typeHTML + "\r\n"},
		{"early hints", func(_ *Request, r *Response) {
			r.SetHeader("Link", "</a.css>").WriteHeader(103)
			if r.State() == None {
				r.End("x")
			}
		}, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + status200 + plainHTML + "Link: </a.css>\r\n" + noSniff + "Content-Length: 1\r\n\r\nx",
			"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + status200 + plainHTML + "Link: </a.css>\r\n" + noSniff + "Content-Length: 1\r\n\r\n"},
		{"WriteHeader: the first decides", func(_ *Request, r *Response) { r.WriteHeader(201); r.WriteHeader(500) }, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 201 Created\r\n\r\n"},
		{"WriteHeader with a code of one's own", func(_ *Request, r *Response) { r.WriteHeader(799) }, "HTTP/1.1 799 status code 799\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 799 status code 799\r\n\r\n"},
		{"http.Error", func(_ *Request, r *Response) { http.Error(r, "no", 400) },
			"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 3\r\n\r\nno\n", ""},
		{"Link for a push", func(_ *Request, r *Response) { r.Push("/a.js", nil).End() }, status200 + "Link: </a.js>; rel=preload\r\nContent-Length: 0\r\n\r\n", status200 + "Link: </a.js>; rel=preload\r\n\r\n"},
		{"cookies", func(_ *Request, r *Response) {
			r.SetCookie(&http.Cookie{Name: "a", Value: "1"}).SetCookie(&http.Cookie{Name: "b", Value: "2", HttpOnly: true}).End()
		}, status200 + "Set-Cookie: a=1\r\nSet-Cookie: b=2; HttpOnly\r\nContent-Length: 0\r\n\r\n", status200 + "Set-Cookie: a=1\r\nSet-Cookie: b=2; HttpOnly\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := serveExchange(t, Options{DisableCompression: true}, test.action)
			if got := server.raw(t, "GET / HTTP/1.1", ""); test.want != "" && got != test.want {
				t.Errorf("GET:\n got %.300q\nwant %.300q", got, test.want)
			}
			if test.head == "" {
				header, _, _ := strings.Cut(test.want, "\r\n\r\n")
				test.head = header + "\r\n\r\n"
			}
			if got := server.raw(t, "HEAD / HTTP/1.1", ""); got != test.head {
				t.Errorf("HEAD:\n got %q\nwant %q", got, test.head)
			}
		})
	}
}

// TestStreamed: what is more than the buffer holds leaves in chunks, with the
// trailers after it.
func TestStreamed(t *testing.T) {
	full := strings.Repeat("x", 8192)
	for name, action := range map[string]func(*Request, *Response){
		"a byte more":  func(_ *Request, r *Response) { r.WriteString(full); r.WriteString("y") },
		"in one piece": func(_ *Request, r *Response) { r.Write([]byte(full + "y")) },
		"copied":       func(_ *Request, r *Response) { io.Copy(r, struct{ io.Reader }{strings.NewReader(full + "y")}) },
		"undeclared":   func(_ *Request, r *Response) { r.Header()[http.TrailerPrefix+"T"] = []string{"1"}; r.End(full, "y") },
		"trailers":     func(_ *Request, r *Response) { r.SetHeader("Trailer", "T").SetHeader("T", "1").End(full, "y") },
	} {
		response, body := serveExchange(t, Options{}, action).get(t)
		if response.ContentLength != -1 || response.TransferEncoding[0] != "chunked" || body != full+"y" {
			t.Error(name, response.ContentLength, response.TransferEncoding, len(body))
		}
		if (name == "trailers" || name == "undeclared") && (response.Trailer.Get("T") != "1" || response.Header["T"] != nil) {
			t.Error(response.Header, response.Trailer)
		}
	}
}

func TestResponseOptions(t *testing.T) {
	server := serveExchange(t, Options{SendServerToken: true, DefaultContentType: "text/plain", DefaultTextCharset: "latin1", OutputBufferSize: 3},
		func(_ *Request, r *Response) {
			r.WriteString("abc")
			if r.State() != Started {
				t.Error("after three bytes:", r.State())
			}
			if r.WriteString("d"); r.State() != Streaming {
				t.Error("after four bytes:", r.State())
			}
		})
	response, body := server.get(t)
	if response.Header.Get("Server") != "aerys" || response.Header.Get("Content-Type") != "text/plain; charset=latin1" || body != "abcd" {
		t.Error(response.Header, body)
	}
}

// TestContentLengthMismatch: as in net/http, what is too much is not sent, and
// too little closes the connection.
func TestContentLengthMismatch(t *testing.T) {
	for _, body := range []string{"abcd", "ab"} {
		server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
			r.SetHeader("Content-Length", "3").End(body)
			if len(body) > 3 && !errors.Is(r.Err(), http.ErrContentLength) {
				t.Error(r.Err())
			}
		})
		answer := server.raw(t, "GET / HTTP/1.1", "")
		if !strings.Contains(answer, "Content-Length: 3\r\n") || strings.HasSuffix(answer, "abcd") {
			t.Errorf("%q", answer)
		}
	}
}

func TestState(t *testing.T) {
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		check := func(step string, want State, status int) {
			t.Helper()
			if r.State() != want || r.Status() != status {
				t.Errorf("%s: state %v, status %d; want %v, %d", step, r.State(), r.Status(), want, status)
			}
		}
		check("at first", None, 200)
		r.SetStatus(404).SetHeader("A", "b").AddHeader("A", "c").Push("/x", nil).SetCookie(&http.Cookie{Name: "a"})
		check("set up", None, 404)
		r.WriteString("")
		check("written", Started, 404)
		r.SetStatus(403)
		r.Flush()
		check("flushed", Streaming, 403)
		r.SetStatus(200).WriteHeader(201)
		check("too late", Streaming, 403)
		r.End()
		check("ended", Ended, 403)
		r.End()
		if r.Flush(); r.Err() != nil {
			t.Error("End and Flush of an ended response:", r.Err())
		}
		if _, err := r.Write([]byte("x")); err != ErrEnded || r.Err() != ErrEnded {
			t.Error("Write after End:", err, r.Err())
		}
		if _, err := r.WriteString("x"); err != ErrEnded {
			t.Error("WriteString after End:", err)
		}
		if _, err := r.ReadFrom(strings.NewReader("x")); err != ErrEnded {
			t.Error("ReadFrom after End:", err)
		}
		if _, _, err := r.Hijack(); err != ErrEnded {
			t.Error("Hijack after End:", err)
		}
		r.SetStatus(500)
		r.End("x")
		check("at last", Ended, 403)
	})
	if response, _ := server.get(t); response.StatusCode != 403 || len(response.Header["A"]) != 2 {
		t.Error(response)
	}
	if log := server.log.String(); strings.Count(log, "status set too late") != 3 {
		t.Error("the log:", log)
	}
}

func TestMisuseOfResponse(t *testing.T) {
	for name, call := range map[string]func(*Response){
		"aerys: SetStatus(99): a status is from 100 to 599":           func(r *Response) { r.SetStatus(99) },
		"aerys: SetStatus(600): a status is from 100 to 599":          func(r *Response) { r.SetStatus(600) },
		"aerys: WriteHeader(0): a status has three digits":            func(r *Response) { r.WriteHeader(0) },
		"aerys: WriteHeader(1000): a status has three digits":         func(r *Response) { r.WriteHeader(1000) },
		"aerys: Filter after the response's header was sent: add it ": func(r *Response) { r.Flush(); r.Filter(nil) },
		"aerys: status 200 in OnHandshake: leave it at 101 to accept": func(r *Response) { r.BeginHandshake(); r.SetStatus(200) },
		"aerys: status 103 in OnHandshake: leave it at 101 to accept": func(r *Response) { r.BeginHandshake(); r.WriteHeader(103) },
	} {
		serveExchange(t, Options{}, func(_ *Request, r *Response) {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, name) {
					t.Errorf("got panic %q, want %q", got, name)
				}
			}()
			call(r)
		}).raw(t, "GET / HTTP/1.1", "")
	}
}

func TestInvalidHeader(t *testing.T) {
	for name, call := range map[string]func(*Response){
		"X-Field":    func(r *Response) { r.SetHeader("X-Field", "a\r\nSet-Cookie: b") },
		"X-Lf":       func(r *Response) { r.AddHeader("X-Lf", "a\nb") },
		"X-Nul":      func(r *Response) { r.SetHeader("X-Nul", "a\x00b") },
		"X-Del":      func(r *Response) { r.SetHeader("X-Del", "a\x7fb") },
		`X\\nY`:      func(r *Response) { r.SetHeader("X\nY", "a") },
		`\"X Y\`:     func(r *Response) { r.SetHeader("X Y", "a") },
		`name \"\"`:  func(r *Response) { r.AddHeader("", "a") },
		"Set-Cookie": func(r *Response) { r.SetCookie(&http.Cookie{Name: "a", Value: "b\r\n"}) },
		"Link":       func(r *Response) { r.Push("/a>; rel=x", nil) },
		"X-Hint":     func(r *Response) { r.Header()["X-Hint"] = []string{"\n"}; r.WriteHeader(103) },
		"X-Length": func(r *Response) {
			r.SetHeader("Content-Length", "4").Header()["X-Length"] = []string{"\r"}
			r.ReadFrom(strings.NewReader("body"))
		},
		"X-Direct":   func(r *Response) { r.Header()["X-Direct"] = []string{"a", "b\r"} },
		`X\\rDirect`: func(r *Response) { r.Header()["X\rDirect"] = []string{"a"} },
		"X-Trailer":  func(r *Response) { r.Header()[http.TrailerPrefix+"X-Trailer"] = []string{"a\n"} },
	} {
		for how, finish := range map[string]func(*Response){
			"nothing": func(r *Response) {},
			"End":     func(r *Response) { r.End("body") },
			"Write":   func(r *Response) { r.WriteString("body") },
			"Flush":   func(r *Response) { r.WriteHeader(201); r.Flush(); r.End() },
		} {
			server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
				r.SetHeader("Content-Encoding", "br").SetHeader("Etag", "1").SetHeader("X-Frame-Options", "DENY")
				call(r)
				r.SetStatus(200)
				finish(r)
				if r.State() == Ended && !errors.Is(r.Err(), ErrInvalidHeader) {
					t.Error(name, how, "Err:", r.Err())
				}
			})
			response, body := server.get(t)
			if response.StatusCode != 500 || !strings.Contains(body, "500 Internal Server Error") || strings.Contains(body, "body\n") ||
				response.Header["Content-Encoding"] != nil || response.Header["Etag"] != nil || response.Header.Get("X-Frame-Options") != "DENY" {
				t.Error(name, how, response, body)
			}
			if log := server.log.String(); !strings.Contains(log, name) || strings.Count(log, "response refused") != 1 {
				t.Error(name, how, "the log:", log)
			}
		}
	}
}

// TestInvalidHeaderTooLate: what is on the wire already goes on.
func TestInvalidHeaderTooLate(t *testing.T) {
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		r.Flush()
		r.SetHeader("X-B", "\n").WriteString("all")
		if !errors.Is(r.Err(), ErrInvalidHeader) {
			t.Error(r.Err())
		}
	})
	if response, body := server.get(t); response.StatusCode != 200 || body != "all" {
		t.Error(response, body)
	}
}

func TestBodyNotAllowed(t *testing.T) {
	serveExchange(t, Options{}, func(_ *Request, r *Response) {
		n, err := r.SetStatus(304).Write([]byte("x"))
		if n != 0 || err != http.ErrBodyNotAllowed || r.Err() != err {
			t.Error(n, err, r.Err())
		}
		if n, err := r.WriteString(""); n != 0 || err != nil {
			t.Error("nothing:", n, err)
		}
	}).get(t)
}

func TestWriteFailsWithFault(t *testing.T) {
	serveExchange(t, Options{}, func(_ *Request, r *Response) {
		r.SetHeader("X", "\n")
		_, err1 := r.Write([]byte("x"))
		_, err2 := r.ReadFrom(strings.NewReader("x"))
		if !errors.Is(err1, ErrInvalidHeader) || !errors.Is(err2, ErrInvalidHeader) || r.State() != Started {
			t.Error(err1, err2, r.State())
		}
		if err := http.NewResponseController(r).Flush(); !errors.Is(err, ErrInvalidHeader) || r.State() != Ended {
			t.Error(err, r.State())
		}
	}).get(t)
}

func TestFail(t *testing.T) {
	for _, test := range []struct {
		name   string
		debug  bool
		action func(*Request, *Response)
		status int // 0: the connection is aborted
		body   string
	}{
		{"nothing written", false, func(*Request, *Response) { panic("<secret>") }, 500, "500 Internal Server Error"},
		{"held back", false, func(_ *Request, r *Response) {
			r.SetHeader("Content-Length", "4").WriteString("half")
			panic("<secret>")
		}, 500, "500 Internal Server Error"},
		{"debug", true, func(*Request, *Response) { panic("<secret>") }, 500, "&lt;secret&gt;"},
		{"streaming", false, func(_ *Request, r *Response) { r.WriteString("half"); r.Flush(); panic("<secret>") }, 0, ""},
		{"ended", false, func(_ *Request, r *Response) { r.End("whole"); panic("<secret>") }, 200, "whole"},
		{"in a handshake", false, func(_ *Request, r *Response) { r.BeginHandshake(); r.SetStatus(403).End("no"); panic("<secret>") }, 500, "500 Internal Server Error"},
	} {
		server := serveExchange(t, Options{Debug: test.debug}, test.action)
		response, err := http.Get(server.URL)
		if err != nil {
			t.Error(test.name, err)
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if test.status == 0 {
			if err == nil {
				t.Error(test.name, "was not aborted")
			}
			continue
		}
		if response.StatusCode != test.status || !strings.Contains(string(body), test.body) || !test.debug && strings.Contains(string(body), "secret") {
			t.Error(test.name, response.StatusCode, string(body))
		}
	}
}

func TestNotFoundPage(t *testing.T) {
	response, body := serveExchange(t, Options{}, func(*Request, *Response) {}).get(t)
	if response.StatusCode != 404 || !strings.Contains(body, "<h1>404 Not Found</h1>") || response.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Error(response, body)
	}
}

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
