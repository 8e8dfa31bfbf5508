package spec

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/static"
)

// bodyless are handlers that do not read a body, each by its path.
func bodyless(t *testing.T) []aerys.Action {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	actions := map[string]aerys.Action{
		"/small":    says("x"),
		"/large":    says(strings.Repeat("x", 10_000)),
		"/401":      refusing(401, 10),
		"/large401": refusing(401, 100_000),
		"/abort":    func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) },
		"/panic":    func(*aerys.Request, *aerys.Response) { panic("x") },
		"/flush":    func(_ *aerys.Request, res *aerys.Response) { res.Flush(); res.End("x") },
		"/close": func(w http.ResponseWriter, r *http.Request) {
			defer r.Body.Close()
			http.Error(w, "want JSON", 415)
		},
		"/duplex": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "x")
		},
		"/forever": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Time{})
		},
		"/read": func(req *aerys.Request, res *aerys.Response) {
			_, err := io.Copy(io.Discard, req.Body(-1))
			res.SetStatus(400).End(fmt.Sprint(err))
		},
	}
	router := aerys.Router().Post("/post", says("x")).Put("/401", refusing(401, 10))
	for path, action := range actions {
		for _, method := range []string{"GET", "POST"} {
			router.Route(method, path, action)
		}
	}
	return []aerys.Action{router, static.Root(dir)}
}

func refusing(status, size int) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(status).End(strings.Repeat("x", size)) }
}

// TestEarlyAnswers has clients that wait for an answer before they send (more
// of) a body: an error comes at once, and where leave to send was asked for any
// answer; likewise where more than 256 KiB would have to be read. Such an answer
// is the connection's last.
func TestEarlyAnswers(t *testing.T) {
	t.Parallel()
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	var all sync.WaitGroup
	for _, test := range []struct {
		request, body string
		status        int
	}{
		{"POST /401", "Content-Length: 10", 401},
		{"POST /401", "Transfer-Encoding: chunked", 401},
		{"POST /401", "Content-Length: 50000000", 401},
		{"POST /large401", "Content-Length: 10", 401},
		{"POST /nowhere", "Content-Length: 10", 404},
		{"POST /file", "Content-Length: 10", 405},
		{"PUT /small", "Content-Length: 10", 405},
		{"TRACE /small", "Content-Length: 10", 405},
		{"BREW /small", "Content-Length: 10", 501},
		{"POST http://b/", "Content-Length: 10", 400},
		{"POST /close", "Content-Length: 10", 415},
		{"POST /panic", "Content-Length: 10", 500},
		{"POST /small", "Content-Length: 300000", 200},
		{"POST /large", "Content-Length: 300000", 200},
		{"POST /flush", "Content-Length: 300000", 200},
		{"GET /file", "Content-Length: 300000", 200},
		{"OPTIONS *", "Content-Length: 300000", 200},
		{"POST /small", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /large", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /flush", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"OPTIONS *", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 10", 401},
		{"POST /401", "Expect: 100-continue\r\nTransfer-Encoding: chunked", 401},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /large401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /nowhere", "Expect: 100-continue\r\nContent-Length: 10", 404},
		{"POST /file", "Expect: 100-continue\r\nContent-Length: 10", 405},
		{"POST /close", "Expect: 100-continue\r\nContent-Length: 10", 415},
		{"POST /small", "Expect: x\r\nContent-Length: 10", 417},
	} {
		for over, dial := range dialers {
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.request, test.body)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || answer.StatusCode != test.status || !answer.Close {
					t.Errorf("%s, %s, %s: %+v, %v", test.request, test.body, over, answer, err)
				}
			}()
		}
	}
	all.Wait()
}

// TestBodiesOnTheirWay: a connection goes on where the rest of a body, which no
// handler reads, comes in time. Who is refused before all of it is there gets the
// answer, and may have to connect again.
func TestBodiesOnTheirWay(t *testing.T) {
	t.Parallel()
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	for over, dial := range dialers {
		for _, path := range []string{"/small", "/large", "/401", "/large401", "/nowhere", "/close", "/panic", "/file", "/duplex", "/forever"} {
			for _, size := range []int{10, 20_000, 200_000} {
				conn := dial()
				reader := bufio.NewReader(conn)
				for range 2 {
					if conn == nil {
						conn = dial()
						reader.Reset(conn)
					}
					answer, _, err := ask(conn, reader, post(path, size))
					if err != nil {
						t.Fatalf("%s of %d bytes, %s: %v", path, size, over, err)
					}
					if answer.Close && answer.StatusCode < 400 {
						t.Errorf("%s of %d bytes, %s: the connection is closed", path, size, over)
					}
					if answer.Close {
						conn.Close()
						conn = nil
					}
				}
				if conn != nil {
					conn.Close()
				}
			}
		}
	}
}

// post is a request with so many bytes.
func post(path string, size int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", path, size, strings.Repeat("x", size))
}

// TestCurlUploads has curl send 50 MB to who does not want them: it reads the
// answer, and sends no more of the file than fits on the way.
func TestCurlUploads(t *testing.T) {
	curl := tool(t, "curl", "apt-get install curl")
	file := sparseFile(t, 50_000_000)
	s := run(t, aerys.Options{}, at(bodyless(t)...))
	for _, test := range []struct {
		path, header, want string
	}{
		{"/401", "", "401 0"}, {"/nowhere", "", "404 0"}, {"/file", "", "405 0"}, {"/small", "", "405 0"},
		{"/401", "Expect:", "401"}, {"/nowhere", "Expect:", "404"}, {"/file", "Expect:", "405"},
	} {
		var output strings.Builder
		run := command(t, curl, "-s", "-S", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-T", file,
			"-H", test.header, s.url()+test.path)
		run.Stdout, run.Stderr = &output, &output
		err := run.Run()
		var failed *exec.ExitError
		if errors.As(err, &failed) && failed.ExitCode() == 55 && test.header != "" {
			continue // it could not send all, and says that: the answer comes last, and it may not have looked
		}
		if err != nil || !strings.HasPrefix(output.String(), test.want) || strings.HasSuffix(output.String(), "50000000") {
			t.Errorf("%s %s: %v, %q", test.path, test.header, err, output.String())
		}
	}
}

// sparseFile makes a file of zeros.
func sparseFile(t *testing.T, size int64) (name string) {
	name = filepath.Join(t.TempDir(), "zeros")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return name
}

// standardFunc is a handler of net/http as an action.
type standardFunc = func(http.ResponseWriter, *http.Request)

// refusals are what handlers do with a request whose body they do not, or not
// entirely, read.
func refusals(t *testing.T) map[string]aerys.Action {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 403) }))
	t.Cleanup(backend.Close)
	address, _ := url.Parse(backend.URL)
	relay := httputil.NewSingleHostReverseProxy(address)
	relay.ErrorLog = log.New(io.Discard, "", 0)
	duplex := func(w http.ResponseWriter) { http.NewResponseController(w).EnableFullDuplex() }
	return map[string]aerys.Action{
		"answers":           func(_ *aerys.Request, res *aerys.Response) { res.End("x") },
		"answers an error":  func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(401).End("x") },
		"answers much":      func(_ *aerys.Request, res *aerys.Response) { res.End(strings.Repeat("x", 50_000)) },
		"streams":           func(_ *aerys.Request, res *aerys.Response) { res.Flush(); res.End("x") },
		"falls through":     func(_ *aerys.Request, res *aerys.Response) {},
		"sends 103 before":  func(_ *aerys.Request, res *aerys.Response) { res.WriteHeader(103); res.End("x") },
		"panics":            func(*aerys.Request, *aerys.Response) { panic("x") },
		"panics at the end": func(_ *aerys.Request, res *aerys.Response) { res.End("x"); panic("x") },
		"aborts":            func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) },
		"closes the body": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			defer r.Body.Close()
			http.Error(w, "want JSON", 415)
		}),
		"closes the body first": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			io.WriteString(w, "x")
		}),
		"closes the body when it has answered": func(req *aerys.Request, res *aerys.Response) { res.Flush(); req.Request.Body.Close() },
		"reads some": func(req *aerys.Request, res *aerys.Response) {
			io.ReadFull(req.Body(-1), make([]byte, 1024))
			res.End("x")
		},
		"reads some and closes": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1024))
			r.Body.Close()
			http.Error(w, "x", 400)
		}),
		"reads all":               func(req *aerys.Request, res *aerys.Response) { io.Copy(io.Discard, req.Body(-1)) },
		"reads too much":          func(req *aerys.Request, res *aerys.Response) { io.Copy(io.Discard, req.Body(1024)) },
		"reads until a deadline":  readsUntilDeadline,
		"parses what is no form":  func(req *aerys.Request, res *aerys.Response) { req.ParseBody() },
		"reads when it answered":  func(req *aerys.Request, res *aerys.Response) { res.Flush(); io.CopyN(io.Discard, req.Body(-1), 1024) },
		"reads when it returned":  func(req *aerys.Request, res *aerys.Response) { go io.Copy(io.Discard, req.Body(-1)) },
		"replaces the body":       standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Body = http.NoBody }),
		"says that there is none": standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Body, r.ContentLength = nil, 0 }),
		"changes the method":      standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Method = "HEAD"; io.WriteString(w, "x") }),
		"changes the version":     standardFunc(func(w http.ResponseWriter, r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }),
		"full duplex":             standardFunc(func(w http.ResponseWriter, r *http.Request) { duplex(w); http.Error(w, "x", 400) }),
		"full duplex, closes": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			duplex(w)
			r.Body.Close()
			io.WriteString(w, "x")
		}),
		"full duplex, streams": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			duplex(w)
			w.(http.Flusher).Flush()
			io.CopyN(io.Discard, r.Body, 1024)
		}),
		"wants to be kept": func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("Connection", "keep-alive").End("x") },
		"MaxBytesHandler": http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				r.Body.Close()
				http.Error(w, err.Error(), 413)
			}
		}), 100),
		"TimeoutHandler": http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1024))
			<-r.Context().Done()
			io.Copy(io.Discard, r.Body)
		}), 10*time.Millisecond, "x"),
		"ReverseProxy": relay,
	}
}

func readsUntilDeadline(req *aerys.Request, res *aerys.Response) {
	http.NewResponseController(res).SetReadDeadline(time.Unix(1, 0))
	io.Copy(io.Discard, req.Body(-1))
	res.SetStatus(408).End("x")
}

// TestBodiesAreNotRequests: whatever a handler does with a request, nothing of
// its body is read as another one, and an answer that is the connection's last
// says so. It is tried with every framing of the body, on both kinds of server.
func TestBodiesAreNotRequests(t *testing.T) {
	t.Parallel()
	actions := refusals(t)
	var smuggled sync.Map // names of actions
	router := aerys.Router().Get("/behind", says("behind")).
		Get("/smuggled", func(req *aerys.Request, _ *aerys.Response) { smuggled.Store(req.Param("after"), true) })
	for name, action := range actions {
		router.Post("/"+url.PathEscape(name), action)
	}
	servers := bodyServers(t, router)
	var all sync.WaitGroup
	slots := make(chan struct{}, 100)
	for name := range actions {
		evil := "GET /smuggled?after=" + url.QueryEscape(name) + " HTTP/1.1\r\nHost: a\r\nA: "
		evil += strings.Repeat("x", 1024-len(evil)-4) + "\r\n\r\n" // read from any kilobyte on, it is one
		for server, dial := range servers {
			for _, size := range []int{1, 300} {
				for framing, request := range framings("/"+url.PathEscape(name), strings.Repeat(evil, size)) {
					slots <- struct{}{}
					all.Add(1)
					go func() {
						defer func() { <-slots; all.Done() }()
						if wrong := checkLast(exchange(t, dial(), request), name); wrong != "" {
							t.Errorf("%s: %s, %s of %d KiB: %s", name, server, framing, size, wrong)
						}
					}()
				}
			}
		}
	}
	all.Wait()
	smuggled.Range(func(name, _ any) bool {
		t.Errorf("%s: a request was read from the body", name)
		return true
	})
}

// framings are the ways to send a body, each followed by another request.
func framings(target, body string) map[string]string {
	var chunks bytes.Buffer
	writer := httputil.NewChunkedWriter(&chunks)
	for rest := body; rest != ""; rest = rest[1024:] {
		io.WriteString(writer, rest[:1024])
	}
	writer.Close()
	behind := "GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	post := "POST " + target + " HTTP/1.1\r\nHost: a\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	return map[string]string{
		"Content-Length":  post + length + "\r\n" + body + behind,
		"chunked":         post + "Transfer-Encoding: chunked\r\n\r\n" + chunks.String() + "\r\n" + behind,
		"Expect":          post + length + "Expect: 100-continue\r\n\r\n" + body + behind,
		"Expect, chunked": post + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + chunks.String() + "\r\n" + behind,
		"HTTP/1.0":        "POST " + target + " HTTP/1.0\r\nConnection: keep-alive\r\n" + length + "\r\n" + body + behind,
	}
}

// bodyServers has actions served by a Server and by net/http's, in clear text and
// over TLS, and returns how to connect to each.
func bodyServers(t *testing.T, actions ...aerys.Action) map[string]func() net.Conn {
	_, dialers := both(t, run, aerys.Options{}, actions...)
	for over, start := range map[string]func(*httptest.Server){"in clear text": (*httptest.Server).Start, "over TLS": (*httptest.Server).StartTLS} {
		server := httptest.NewUnstartedServer(new(aerys.Host).Use(actions...))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "a")}} // costs less than its own
		start(server)
		t.Cleanup(server.Close)
		dialers["net/http's, "+over] = func() net.Conn {
			if server.URL[:5] == "https" {
				return dialTLS(t, server.Listener.Addr())
			}
			return dial(t, server.Listener.Addr())
		}
	}
	return dialers
}

// checkLast reads the answers and says what is wrong with them.
func checkLast(text, name string) (wrong string) {
	reader := bufio.NewReader(strings.NewReader(text))
	for {
		first, err := http.ReadResponse(reader, nil)
		if err != nil {
			if name == "aborts" || name == "panics at the end" {
				return ""
			}
			return fmt.Sprintf("no answer: %v, %.200q", err, text)
		}
		if first.StatusCode < 200 {
			continue
		}
		io.Copy(io.Discard, first.Body)
		second, err := http.ReadResponse(reader, nil)
		switch {
		case err != nil && !first.Close && name != "full duplex, streams":
			return fmt.Sprintf("the last answer does not say so: %.200q", text)
		case err == nil && first.Close:
			return fmt.Sprintf("an answer behind the last one: %.200q", text)
		case err == nil && second.StatusCode != 200:
			return fmt.Sprintf("behind the body: %d, %.200q", second.StatusCode, text)
		}
		return ""
	}
}

// TestHandlersChangeTheMethod: an answer is framed for the request that came,
// whatever middleware makes of it for those that follow.
func TestHandlersChangeTheMethod(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		servers := bodyServers(t, func(w http.ResponseWriter, r *http.Request) {
			r.Method, r.Proto, r.ProtoMinor, r.Close = map[string]string{"GET": "HEAD", "HEAD": "GET"}[method], "HTTP/1.0", 0, true
			io.WriteString(w, strings.Repeat("x", 3000))
		})
		for server, dial := range servers {
			conn := dial()
			reader := bufio.NewReader(conn)
			for range 2 {
				io.WriteString(conn, method+" / HTTP/1.1\r\nHost: a\r\n\r\n")
				answer, err := http.ReadResponse(reader, &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%s, %s: %v", method, server, err)
				}
				body, _ := io.ReadAll(answer.Body)
				if answer.Close || answer.Proto != "HTTP/1.1" || (len(body) > 0) != (method == "GET") {
					t.Errorf("%s, %s: %+v, %d bytes", method, server, answer, len(body))
				}
			}
		}
	}
}

// TestTrailersOfRequests: they are in the request that the handler has, once it
// has read the body, whether the client announced them or not (RFC 9110 §6.5).
func TestTrailersOfRequests(t *testing.T) {
	t.Parallel()
	action := func(q *aerys.Request, r *aerys.Response) {
		body, err := io.ReadAll(q.Body())
		r.End(fmt.Sprint(string(body), " ", err, " ", q.Trailer.Get("Sum")))
	}
	servers := bodyServers(t, action)
	for _, announced := range []string{"", "Trailer: Sum\r\n"} {
		text := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + announced +
			"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nSum: 294\r\n\r\n"
		for server, dial := range servers {
			if _, body := statusAndBody(t, exchange(t, dial(), text)); body != "abc <nil> 294" {
				t.Errorf("%s, announced by %q: %q", server, announced, body)
			}
		}
	}
}

// TestFilesOfForms: what net/http's ParseMultipartForm puts into files is gone
// with the request.
func TestFilesOfForms(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	files := func() int {
		entries, _ := os.ReadDir(dir)
		return len(entries)
	}
	s := run(t, aerys.Options{}, at(aerys.Router().Mount("/", func(q *aerys.Request, r *aerys.Response) {
		err := q.ParseMultipartForm(0)
		r.End(fmt.Sprint(err, " ", files()))
	})))
	form := "--b\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n" + strings.Repeat("x", 1000) + "\r\n--b--\r\n"
	text := converse(t, s.addresses[0], fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+
		"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s", len(form), form))
	if _, body := statusAndBody(t, text); body != "<nil> 1" && runtime.GOOS != "windows" {
		t.Errorf("in the handler: %s", body)
	}
	eventually(t, "no files", func() bool { return files() == 0 })
}
