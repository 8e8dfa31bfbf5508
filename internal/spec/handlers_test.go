package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys"
)

func TestPanics(t *testing.T) {
	s := run(t, aerys.Options{}, at(func(req *aerys.Request, res *aerys.Response) {
		switch req.URL.Path {
		case "/":
			res.End("alive")
			return
		case "/held":
			res.WriteString("secret")
		case "/streaming":
			res.WriteString("begun")
			res.Flush()
		case "/ended":
			res.End("done")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		panic("at the disco")
	}))
	for _, test := range []struct {
		path   string
		status int // 0: the connection is aborted
		logged int
	}{{"/x%0aFAKE", 500, 1}, {"/held", 500, 1}, {"/streaming", 200, 1}, {"/ended", 200, 1}, {"/abort", 0, 0}} {
		before := strings.Count(s.log.String(), "panic in an action")
		text := s.get(t, test.path)
		if got := 0; text != "" {
			if fmt.Sscanf(text, "HTTP/1.1 %d", &got); got != test.status {
				t.Errorf("%s: status %d, want %d", test.path, got, test.status)
			}
		} else if test.status != 0 {
			t.Errorf("%s: no answer", test.path)
		}
		if strings.Contains(text, "disco") || strings.Contains(text, "secret") || strings.HasSuffix(text, "0\r\n\r\n") && test.status != 500 {
			t.Errorf("%s: answered %q", test.path, text)
		}
		if n := strings.Count(s.log.String(), "panic in an action") - before; n != test.logged {
			t.Errorf("%s: logged %d times, want %d", test.path, n, test.logged)
		}
	}
	if log := s.log.String(); strings.Contains(log, "\nFAKE") || !strings.Contains(log, `path="/x\nFAKE"`) || !strings.Contains(log, "handlers_test.go") {
		t.Errorf("log: %s", log)
	}
	if _, body := statusAndBody(t, s.get(t, "/")); body != "alive" {
		t.Errorf("afterwards: %q", body)
	}
}

func TestPanicIsShownInDebugMode(t *testing.T) {
	s := run(t, aerys.Options{Debug: true}, at(func(*aerys.Request, *aerys.Response) { panic("<here>") }))
	status, body := statusAndBody(t, s.get(t, "/"))
	if status != 500 || !strings.Contains(body, "&lt;here&gt;") || !strings.Contains(body, "handlers_test.go") {
		t.Errorf("%d %s", status, body)
	}
}

// askOwn posts to /?id= on many connections at once, and expects of each answer that
// its body, and each field of its header that begins with X-, are that id again
// and again, or that the body is that of another status.
func askOwn(t *testing.T, client *http.Client, url string, clients, requests int, tail string, others map[int]string) {
	t.Helper()
	var group sync.WaitGroup
	for i := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := range requests {
				id := fmt.Sprintf("<%d.%d>", i, j)
				response, err := client.Post(url+"/?id="+id, "application/x-www-form-urlencoded", strings.NewReader("id="+id))
				if err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				other, ok := others[response.StatusCode]
				ok = ok && string(body) == other ||
					response.StatusCode == 200 && strings.ReplaceAll(strings.TrimSuffix(string(body), tail), id, "") == "" && len(body) > 0
				response.Header.Del("X-Content-Type-Options")
				for name, values := range response.Header {
					ok = ok && (!strings.HasPrefix(name, "X-") || values[0] == id)
				}
				if !ok || err != nil {
					t.Errorf("%s was answered %d, %v, %.200q: %v", id, response.StatusCode, response.Header, body, err)
					return
				}
			}
		}()
	}
	group.Wait()
}

// impatient is middleware like http.TimeoutHandler, whose writer does not hide
// what it wraps.
func impatient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := &bufferingWriter{ResponseWriter: w, header: make(http.Header), status: 200}
		done := make(chan struct{})
		go func() {
			defer close(done)
			next.ServeHTTP(buffer, r)
		}()
		select {
		case <-done:
			buffer.mu.Lock()
			defer buffer.mu.Unlock()
			for name, values := range buffer.header {
				w.Header()[name] = values
			}
			w.WriteHeader(buffer.status)
			w.Write(buffer.body.Bytes())
		case <-time.After(2 * time.Millisecond):
			w.WriteHeader(503)
			io.WriteString(w, "late")
		}
	})
}

type bufferingWriter struct {
	http.ResponseWriter
	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *bufferingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *bufferingWriter) Header() http.Header         { return w.header }

func (w *bufferingWriter) FlushError() error { return http.ErrNotSupported }

func (w *bufferingWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *bufferingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.Write(p)
}

// TestAnswersOfTimeouts has middleware of net/http answer in the place of a
// handler that goes on in another goroutine, and writes what would be gathered
// or sent by the kernel: each answer is its own request's.
func TestAnswersOfTimeouts(t *testing.T) {
	file, content := randomFile(t, 20_000)
	slow := func(req *aerys.Request, res *aerys.Response) {
		id := req.Param("id")
		var delay time.Duration
		fmt.Sscanf(id, "<%d", &delay)
		time.Sleep(delay % 5 * time.Millisecond) // some before the timeout, some after it
		res.SetHeader("X-Id", id).SetHeader("Content-Type", "image/png")
		for range 3 {
			res.WriteString(strings.Repeat(id, 2000))
		}
		res.Flush()
		if delay%5 > 3 {
			res.ReadFrom(io.NewSectionReader(file, 0, 20_000))
		}
	}
	for _, protocol := range protocols {
		for name, middleware := range map[string]func(http.Handler) http.Handler{
			"http.TimeoutHandler": func(next http.Handler) http.Handler {
				return http.TimeoutHandler(next, 2*time.Millisecond, "late")
			},
			"one that can be unwrapped": impatient,
		} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				_, url, client := runOver(t, protocol, aerys.Options{DisableCompression: true}, new(aerys.Host).Use(middleware, slow))
				askOwn(t, client, url, 10, 15, string(content), map[int]string{503: "late"})
			})
		}
	}
}

// kept is what a handler has handed to goroutines that outlive it.
type kept struct {
	req    *aerys.Request
	res    *aerys.Response
	writer io.Writer // that a filter writes to
	id     string
	file   *os.File
}

// late uses all that there is of a request and a response that are over.
func (k kept) late() {
	k.req.Param("id")
	k.req.Params("id")
	k.req.PathValue("x")
	k.req.CookieValue("x")
	k.req.Local("x")
	k.req.SetLocal("x", k.id)
	k.req.Info()
	k.req.ParseBody()
	io.ReadAll(k.req.Body(1))
	io.ReadAll(k.req.Request.Body)
	_ = k.req.URL.String() + k.req.Header.Get("X") + k.req.Host + k.req.Method
	k.res.Header().Set("X-Late", k.id)
	k.res.SetStatus(202).SetHeader("X-Late", k.id).AddHeader("X-Late", k.id).
		SetCookie(&http.Cookie{Name: "late", Value: "x"}).Push("/late", nil).Filter(shout)
	k.res.WriteHeader(203)
	k.res.Hijack()
	k.res.BeginHandshake()
	k.res.EndHandshake()
	k.res.Err()
	k.res.Unwrap().WriteHeader(204)
	io.WriteString(k.res.Unwrap(), k.id)
	controller := http.NewResponseController(k.res)
	controller.SetWriteDeadline(time.Now())
	controller.SetReadDeadline(time.Now())
	controller.EnableFullDuplex()
	k.overlapping()
	k.res.ReadFrom(io.NewSectionReader(k.file, 0, 3000))
	k.res.End(k.id)
}

// overlapping is what may also be done while the handler returns, for it shows
// in the answer to the same client only.
func (k kept) overlapping() {
	k.res.State()
	k.res.Status()
	k.res.Write([]byte(k.id))
	k.res.WriteString(k.id)
	io.Copy(k.res, strings.NewReader(k.id))
	io.WriteString(k.writer, k.id)
	k.res.Flush()
}

// shouting is a filter.
type shouting struct{ io.Writer }

func shout(w io.Writer) io.WriteCloser { return shouting{w} }

func (s shouting) Write(p []byte) (int, error) { return s.Writer.Write(bytes.ToUpper(p)) }
func (shouting) Close() error                  { return nil }

// keeping is a filter that lets others have what it writes to.
type keeping struct{ io.Writer }

func (keeping) Close() error { return nil }

// TestKeptForLater has handlers keep what they were given, and goroutines use
// all of it while they return and later, while others are answered: no answer
// has anything of another one.
func TestKeptForLater(t *testing.T) {
	file, _ := randomFile(t, 3000)
	const clients, requests = 6, 12
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			var users sync.WaitGroup
			defer users.Wait()
			over := make(chan kept, 10)
			defer close(over)
			for range 4 {
				users.Add(1)
				go func() {
					defer users.Done()
					for k := range over {
						users.Add(1)
						go func() { defer users.Done(); k.late() }()
						k.late()
					}
				}()
			}
			var served atomic.Int32
			var previous sync.Map // by client: its answer has come, so it is over
			_, url, client := runOver(t, protocol, aerys.Options{}, new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
				id := req.Param("id")
				k := kept{req: req, res: res, id: id, file: file}
				name, _, _ := strings.Cut(id, ".")
				res.SetHeader("X-Id", id)
				res.Filter(func(w io.Writer) io.WriteCloser { k.writer = w; return keeping{w} })
				body := strings.Repeat(id, len(name)*1000)
				if before, ok := previous.Swap(name, &k); ok {
					over <- *before.(*kept)
				}
				switch served.Add(1) % 4 {
				case 0:
					res.End(body)
				case 1:
					res.WriteString(body)
				case 2:
					res.WriteString(body)
					go k.overlapping()
				default:
					res.WriteString(body)
					res.Flush()
					go k.overlapping()
				}
			}))
			askOwn(t, client, url, clients, requests, "", nil)
		})
	}
}

// TestOptionalIsNoError uses what a ResponseWriter need not have, where it does
// not: the caller hears of it, and the response is not the worse for it.
func TestOptionalIsNoError(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, use := range map[string]func(*aerys.Response) error{
		"Flush":                 func(r *aerys.Response) error { return r.Flush() },
		"Flush of a controller": func(r *aerys.Response) error { return http.NewResponseController(r).Flush() },
		"Hijack":                func(r *aerys.Response) error { _, _, err := r.Hijack(); return err },
		"a read deadline":       func(r *aerys.Response) error { return http.NewResponseController(r).SetReadDeadline(time.Now()) },
		"a write deadline":      func(r *aerys.Response) error { return http.NewResponseController(r).SetWriteDeadline(time.Now()) },
		"full duplex":           func(r *aerys.Response) error { return http.NewResponseController(r).EnableFullDuplex() },
		"Push":                  func(r *aerys.Response) error { return r.Push("/a", nil).Unwrap().(http.Pusher).Push("/a", nil) },
		"Flush of a filter": func(r *aerys.Response) error {
			r.Filter(func(w io.Writer) io.WriteCloser { return unflushable{w} })
			return r.Flush()
		},
	} {
		plain := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
			})
		}
		timeout := func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "late") }
		for around, middleware := range map[string]any{"a writer with no more": plain, "http.TimeoutHandler": timeout} {
			failure := make(chan error, 1)
			s := run(t, aerys.Options{}, at(middleware, func(_ *aerys.Request, res *aerys.Response) {
				err := use(res)
				if res.End(long); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s within %s returned %v", name, around, err)
				}
				failure <- res.Err()
			}))
			_, body := statusAndBody(t, s.get(t, "/"))
			if err := <-failure; !strings.Contains(body, long) || err != nil {
				t.Errorf("%s within %s: %d bytes, %v", name, around, len(body), err)
			}
		}
	}
}

// unflushable is a filter that cannot be flushed, and says so.
type unflushable struct{ io.Writer }

func (unflushable) Flush() error { return fmt.Errorf("not here: %w", errors.ErrUnsupported) }
func (unflushable) Close() error { return nil }

// Behind a writer that hides the Response the limits are still those of the server.
func TestOptionsBehindTimeoutHandler(t *testing.T) {
	timeout := func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "late") }
	s := run(t, aerys.Options{MaxInputVars: 7}, at(timeout, func(req *aerys.Request, res *aerys.Response) {
		_, err := req.ParseBody()
		res.End(fmt.Sprint(err))
	}))
	text := converse(t, s.addresses[0], "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 15\r\n\r\na&b&c&d&e&f&g&h")
	if !strings.Contains(text, "MaxInputVars (7)") {
		t.Errorf("%q", text)
	}
}
