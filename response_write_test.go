package aerys

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// closing is a filter that closes what it writes to, if that can be closed.
type closing struct{ io.Writer }

func (c closing) Close() error {
	c.Writer.(io.Closer).Close()
	return c.Writer.(io.Closer).Close()
}

// TestFilterThatClosesWhatItWritesTo has such a filter in front of compression,
// and then compresses two responses at once: each has what was written to it.
func TestFilterThatClosesWhatItWritesTo(t *testing.T) {
	options := Options{}.withDefaults()
	begin := func() (*exchange, *httptest.ResponseRecorder) {
		writer := httptest.NewRecorder()
		request := httptest.NewRequest("GET", "/", nil)
		request.Header.Set("Accept-Encoding", "gzip")
		return newExchange(writer, request, options), writer
	}
	end := func(x *exchange, writer *httptest.ResponseRecorder, want string) {
		t.Helper()
		x.finish()
		x.close()
		reader, err := gzip.NewReader(writer.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(reader); string(got) != want || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	long := func(letter string) string { return strings.Repeat(letter, 20_000) }
	for _, flush := range []bool{false, true} {
		for range 10 {
			x, writer := begin()
			x.response.Filter(func(w io.Writer) io.WriteCloser { return closing{w} })
			if x.response.WriteString(long("a")[:5000]); flush {
				x.response.Flush()
			}
			end(x, writer, long("a")[:5000])
			first, firstWriter := begin()
			second, secondWriter := begin()
			first.response.WriteString(long("b"))
			second.response.WriteString(long("c"))
			first.response.WriteString(long("b"))
			end(second, secondWriter, long("c"))
			end(first, firstWriter, long("b")+long("b"))
		}
	}
}

// compressible is the length from which bodies are compressed.
const compressible = 860

func gunzip(t *testing.T, body io.Reader) string {
	t.Helper()
	reader, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// TestCompression has which bodies are compressed: the default case is, and
// each row says what keeps it from being.
func TestCompression(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)[:compressible]
	fields := func(pairs ...string) func(*Request, *Response) {
		return func(_ *Request, r *Response) {
			for i := 0; i < len(pairs); i += 2 {
				r.SetHeader(pairs[i], pairs[i+1])
			}
			r.End(body)
		}
	}
	const gzipped, varies, plain = "gzip", "plain, but varies", "plain"
	for _, test := range []struct {
		name    string
		action  func(*Request, *Response)
		accept  string
		options Options
		want    string
	}{
		{"the default type", fields(), "gzip", Options{}, gzipped},
		{"switched off", fields(), "gzip", Options{DisableCompression: true}, plain},
		{"too short", func(_ *Request, r *Response) { r.End(body[1:]) }, "gzip", Options{}, plain},
		{"of undecided length", func(_ *Request, r *Response) { r.WriteString("short"); r.Flush() }, "gzip", Options{}, gzipped},
		{"more than is held back", func(_ *Request, r *Response) { r.WriteString(body); r.WriteString(body) }, "gzip", Options{OutputBufferSize: 1000}, gzipped},
		{"End with more than is held back", func(_ *Request, r *Response) { r.End(body) }, "gzip", Options{OutputBufferSize: 100}, gzipped},
		{"declared as short", func(_ *Request, r *Response) { r.SetHeader("Content-Length", "5").Flush(); r.End("short") }, "gzip", Options{}, plain},
		{"declared as long", func(_ *Request, r *Response) { r.SetHeader("Content-Length", "860").Flush(); r.End(body) }, "gzip", Options{}, gzipped},
		{"text/css", fields("Content-Type", "text/css"), "gzip", Options{}, gzipped},
		{"JSON", fields("Content-Type", "application/json"), "gzip", Options{}, gzipped},
		{"JSON of some kind", fields("Content-Type", "application/ld+json; a=b"), "gzip", Options{}, gzipped},
		{"XML", fields("Content-Type", "Application/XML"), "gzip", Options{}, gzipped},
		{"SVG", fields("Content-Type", "image/svg+xml"), "gzip", Options{}, gzipped},
		{"JavaScript", fields("Content-Type", "application/javascript"), "gzip", Options{}, gzipped},
		{"PNG", fields("Content-Type", "image/png"), "gzip", Options{}, plain},
		{"not XML", fields("Content-Type", "application/xmlx"), "gzip", Options{}, plain},
		{"server-sent events", fields("Content-Type", "text/event-stream"), "gzip", Options{}, plain},
		{"no type", func(_ *Request, r *Response) { r.Header()["Content-Type"] = nil; r.End(body) }, "gzip", Options{}, plain},
		{"encoded already", fields("Content-Encoding", "br"), "gzip", Options{}, plain},
		{"a range", func(_ *Request, r *Response) { r.SetStatus(206).SetHeader("Content-Range", "bytes 0-859/9").End(body) }, "gzip", Options{}, plain},
		{"many ranges", func(_ *Request, r *Response) { r.SetStatus(206).End(body) }, "gzip", Options{}, plain},
		{"not to be transformed", fields("Cache-Control", "public, no-transform"), "gzip", Options{}, plain},
		{"an error page", func(_ *Request, r *Response) { r.SetStatus(500).End(body) }, "gzip", Options{}, gzipped},

		// Accept-Encoding, RFC 9110 §12.5.3
		{"no header", fields(), "", Options{}, varies},
		{"others only", fields(), "br, deflate", Options{}, varies},
		{"in a list", fields(), "br, GZIP ;q=0.5,deflate", Options{}, gzipped},
		{"the old name", fields(), "x-gzip", Options{}, gzipped},
		{"excluded", fields(), "gzip;q=0, *", Options{}, varies},
		{"by wildcard", fields(), "br, *;q=0.1", Options{}, gzipped},
		{"wildcard excluded", fields(), "*;q=0", Options{}, varies},
		{"plain is liked better", fields(), "gzip;q=0.5, identity", Options{}, varies},
		{"plain is liked less", fields(), "gzip, identity;q=0.5", Options{}, gzipped},
		{"weights that make no sense", fields(), "gzip;q=x, gzip;v=1, gzip;q=2, gzip;q=NaN", Options{}, varies},
	} {
		server := serveExchange(t, test.options, test.action)
		var request []string
		if test.accept != "" {
			request = append(request, "Accept-Encoding: "+test.accept)
		}
		response, got := server.get(t, request...)
		result := plain
		switch {
		case response.Header.Get("Content-Encoding") == "gzip":
			result, got = gzipped, gunzip(t, strings.NewReader(got))
			if response.Header.Get("Vary") != "Accept-Encoding" {
				t.Error(test.name, "Vary:", response.Header["Vary"])
			}
		case response.Header["Vary"] != nil:
			result = varies
		}
		if result != test.want || !strings.HasPrefix(body+body, got) && !strings.Contains(test.name, "short") && got != "short" || got == "" {
			t.Errorf("%s: %s, want %s; %.50q", test.name, result, test.want, got)
		}
	}
}

func TestCompressedHeader(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)
	for _, test := range []struct{ name, value, want string }{
		{"Etag", `"a"`, `W/"a"`},
		{"Etag", `W/"a"`, `W/"a"`},
		{"Accept-Ranges", "bytes", ""},
		{"Vary", "Cookie", "Cookie, Accept-Encoding"},
		{"Vary", "Cookie, accept-encoding", "Cookie, accept-encoding"},
		{"Vary", "*", "*"},
		{"Content-Length", "2100", "by net/http"},
	} {
		server := serveExchange(t, Options{}, func(_ *Request, r *Response) { r.SetHeader(test.name, test.value).End(body) })
		response, compressed := server.get(t, "Accept-Encoding: gzip")
		if got := strings.Join(response.Header[test.name], ", "); got != test.want && test.name != "Content-Length" {
			t.Errorf("%s: %q became %q, want %q", test.name, test.value, got, test.want)
		}
		if response.ContentLength != int64(len(compressed)) || gunzip(t, strings.NewReader(compressed)) != body {
			t.Error(test.name, response.ContentLength, len(compressed))
		}
	}
}

// TestCompressedHead: HEAD tells the same as GET, whether the action writes the
// body or only declares its length.
func TestCompressedHead(t *testing.T) {
	body := strings.Repeat("all work and no play ", 100)
	for _, test := range []struct {
		action func(*Request, *Response)
		length bool // that of the compressed body is told
	}{
		{func(_ *Request, r *Response) { r.End(body) }, true},
		{func(q *Request, r *Response) {
			r.SetHeader("Content-Length", "2100")
			if q.Method != "HEAD" {
				r.WriteString(body)
			}
			r.End()
		}, false},
	} {
		server := serveExchange(t, Options{}, test.action)
		get := server.raw(t, "GET / HTTP/1.1\nAccept-Encoding: gzip", "")
		get = get[:strings.Index(get, "\r\n\r\n")+4]
		head := server.raw(t, "HEAD / HTTP/1.1\nAccept-Encoding: gzip", "")
		if !test.length { // may be left out, RFC 9110 §8.6
			get = regexp.MustCompile("Content-Length: .*\r\n").ReplaceAllString(get, "")
		}
		if head != get {
			t.Errorf("HEAD:\n got %q\nwant %q", head, get)
		}
	}
}

// TestCompressedStream: each Flush lets the client read all that was written.
func TestCompressedStream(t *testing.T) {
	next := make(chan string)
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		for line := range next {
			r.WriteString(line)
			if err := r.Flush(); err != nil {
				t.Error(err)
			}
		}
	})
	request, _ := http.NewRequest("GET", server.URL, nil)
	request.Header.Set("Accept-Encoding", "gzip")
	go func() { next <- "first\n" }()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	reader, err := gzip.NewReader(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(reader)
	for _, line := range []string{"second\n", "third\n", ""} {
		if got, err := lines.ReadString('\n'); err != nil || got == "" {
			t.Fatal(got, err)
		}
		if line == "" {
			close(next)
		} else {
			next <- line
		}
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Error("the end:", err)
	}
}

// readerFrom tells what net/http was given to read from, which is what makes it
// send a file by the kernel.
type readerFrom struct {
	http.ResponseWriter
	given func(io.Reader)
}

func (w readerFrom) ReadFrom(source io.Reader) (int64, error) {
	w.given(source)
	return io.Copy(w.ResponseWriter, source)
}

func (w readerFrom) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestReadFrom(t *testing.T) {
	full := strings.Repeat("x", 8192)
	for _, test := range []struct {
		name    string
		prepare func(*Response)
		content string
		kernel  bool
		length  int64
	}{
		{"short", func(r *Response) {}, "short", false, 5},
		{"as much as is held back", func(r *Response) {}, full, false, 8192},
		{"more", func(r *Response) {}, full + full, true, -1},
		{"of known length", func(r *Response) { r.SetHeader("Content-Length", "5") }, "short", true, 5},
		{"streaming", func(r *Response) { r.Flush() }, "short", true, -1},
		{"after more", func(r *Response) { r.WriteString("x") }, full[1:], false, 8192},
		{"after too much", func(r *Response) { r.WriteString("x") }, full, true, -1},
		{"filtered", func(r *Response) {
			r.SetHeader("Content-Length", "5").Filter(func(w io.Writer) io.WriteCloser { return upper{w, nil} })
		}, "short", false, 5},
		{"no body", func(r *Response) { r.SetStatus(204) }, "", false, 0},
	} {
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		file.WriteString(test.content)
		kernel := false
		server := serveExchange(t, Options{DisableCompression: true}, func(_ *Request, r *Response) {
			r.out.Writer = readerFrom{r.out.Writer, func(source io.Reader) { kernel = true }}
			test.prepare(r)
			held := int64(len(r.body))
			file.Seek(0, io.SeekStart)
			if n, err := io.Copy(r, file); err != nil || n != int64(len(test.content)) {
				t.Error(test.name, n, held, err)
			}
		})
		response, body := server.get(t)
		if kernel != test.kernel || response.ContentLength != test.length || !strings.HasSuffix(strings.ToLower(body), test.content) {
			t.Errorf("%s: by the kernel: %t, length %d, %.100q", test.name, kernel, response.ContentLength, body)
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrInvalid }

// A file is read on from behind what was sent of it, whoever serves.
func TestReadFromLeavesFileWhereItEnded(t *testing.T) {
	file, content := filepath.Join(t.TempDir(), "file"), strings.Repeat("x", 2999)+"!"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(new(Host).Use(func(req *Request, res *Response) {
		opened, err := os.Open(file)
		if err != nil {
			t.Error(err)
			return
		}
		defer opened.Close()
		res.SetHeader("Content-Length", strconv.Itoa(len(content))).SetHeader("Content-Type", "application/octet-stream")
		io.CopyN(res, opened, int64(len(content)-1))
		rest, _ := io.ReadAll(opened)
		res.Write(rest)
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); string(got) != content {
		t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
	}
}

func TestReadFromFailingSource(t *testing.T) {
	serveExchange(t, Options{}, func(_ *Request, r *Response) {
		n, err := r.ReadFrom(io.MultiReader(strings.NewReader("ab"), failing{}))
		if n != 2 || err != os.ErrInvalid || r.State() != Started {
			t.Error(n, err, r.State())
		}
	}).get(t)
}

// upper and quote are filters.
type upper struct {
	io.Writer
	closed *[]string
}

func (u upper) Write(p []byte) (int, error) { return u.Writer.Write(bytes.ToUpper(p)) }

func (u upper) Close() error {
	if u.closed != nil {
		*u.closed = append(*u.closed, "upper")
	}
	return nil
}

type quote struct {
	*bufio.Writer
	closed *[]string
}

func (q quote) Close() error {
	*q.closed = append(*q.closed, "quote")
	q.WriteString(" end>")
	return q.Writer.Flush()
}

func TestFilter(t *testing.T) {
	long := strings.Repeat("long ", 4000)
	for _, test := range []struct {
		name   string
		action func(*Response)
		want   string
		length int64
	}{
		{"End", func(r *Response) { r.End("body") }, "<BODY end>", 10},
		{"held back", func(r *Response) { r.WriteString("body") }, "<BODY end>", 10},
		{"declared length", func(r *Response) { r.SetHeader("Content-Length", "4").End("body") }, "<BODY end>", 10},
		{"flushed", func(r *Response) { r.WriteString("bo"); r.Flush(); r.WriteString("dy") }, "<BODY end>", -1},
		{"long", func(r *Response) { r.End(long) }, "<" + strings.ToUpper(long) + " end>", -1},
	} {
		var closed []string
		server := serveExchange(t, Options{DisableCompression: true}, func(_ *Request, r *Response) {
			r.Filter(func(w io.Writer) io.WriteCloser { return upper{w, &closed} })
			r.Filter(func(w io.Writer) io.WriteCloser {
				q := quote{bufio.NewWriter(w), &closed}
				q.WriteString("<")
				return q
			})
			test.action(r)
			r.End()
			if fmt.Sprint(closed) != "[upper quote]" {
				t.Error(test.name, "closed:", closed)
			}
		})
		if response, body := server.get(t); body != test.want || response.ContentLength != test.length {
			t.Errorf("%s: %d, %.100q", test.name, response.ContentLength, body)
		}
	}
}

// brokenFilter fails to flush and to close.
type brokenFilter struct{ io.Writer }

func (brokenFilter) Flush() error { return os.ErrInvalid }

func (brokenFilter) Close() error { return os.ErrExist }

func TestBrokenFilter(t *testing.T) {
	serveExchange(t, Options{}, func(_ *Request, r *Response) {
		r.Filter(func(w io.Writer) io.WriteCloser { return brokenFilter{w} })
		if err := r.Flush(); err != os.ErrInvalid || r.Err() != err {
			t.Error(err, r.Err())
		}
	}).get(t)
	serveExchange(t, Options{}, func(_ *Request, r *Response) {
		r.Filter(func(w io.Writer) io.WriteCloser { return brokenFilter{w} })
		if r.End("x"); r.Err() != os.ErrExist {
			t.Error(r.Err())
		}
	}).get(t)
}

// TestServerSentEvents: each event arrives when it is flushed, and the handler
// learns that the client left.
func TestServerSentEvents(t *testing.T) {
	left, next := make(chan error, 1), make(chan int)
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		r.SetHeader("Content-Type", "text/event-stream")
		for event := range next {
			fmt.Fprintf(r, "data: %d\n\n", event)
			if err := r.Flush(); err != nil {
				t.Error(err)
			}
		}
		<-q.Context().Done()
		left <- q.Context().Err()
	})
	connection := server.dial(t)
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
	next <- 1
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil || response.Header.Get("Content-Type") != "text/event-stream" || response.Header["Content-Encoding"] != nil {
		t.Fatal(response, err)
	}
	events := bufio.NewReader(response.Body)
	for event := 1; event <= 3; event++ {
		if got, err := events.ReadString('\n'); err != nil || got != fmt.Sprintf("data: %d\n", event) {
			t.Fatal(got, err)
		}
		events.ReadString('\n')
		if event < 3 {
			next <- event + 1
		}
	}
	close(next)
	connection.Close()
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the handler was not told that the client left")
	}
}

// TestWriteToLostClient: the error of the connection is told and kept.
func TestWriteToLostClient(t *testing.T) {
	done := make(chan error, 1)
	server := serveExchange(t, Options{DisableCompression: true}, func(q *Request, r *Response) {
		<-q.Context().Done()
		var err error
		for i := 0; i < 10000 && err == nil; i++ {
			_, err = r.Write(make([]byte, 64<<10))
		}
		if r.Err() != err {
			t.Error("Err:", r.Err(), "Write:", err)
		}
		done <- err
	})
	connection := server.dial(t)
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	connection.Close()
	if <-done == nil {
		t.Error("no error")
	}
}

// TestStandardWriter: net/http's handlers find the interfaces that they ask for.
func TestStandardWriter(t *testing.T) {
	server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
		var w http.ResponseWriter = standardWriter{&standardCall{Response: r}}
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		controller := http.NewResponseController(w)
		if err := controller.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil || r.State() != Streaming {
			t.Error(err, r.State())
		}
		_, reads := w.(io.ReaderFrom)
		_, hijacks := w.(http.Hijacker)
		_, flushes := w.(interface{ FlushError() error })
		if !reads || !hijacks || !flushes || w.(interface{ Unwrap() http.ResponseWriter }).Unwrap() != http.ResponseWriter(r) {
			t.Error(reads, hijacks)
		}
	})
	server.get(t)
}

// pusher is a writer as HTTP/2 offers it.
type pusher struct {
	http.ResponseWriter
	pushed *[]string
}

func (p pusher) Push(target string, options *http.PushOptions) error {
	*p.pushed = append(*p.pushed, target+" "+options.Header.Get("Accept"))
	return nil
}

func TestPush(t *testing.T) {
	var pushed []string
	writer := httptest.NewRecorder()
	options := Options{Logger: slog.New(slog.DiscardHandler)}.withDefaults()
	x := newExchange(pusher{writer, &pushed}, httptest.NewRequest("GET", "/", nil), options)
	x.response.Push("/a.css", http.Header{"Accept": {"text/css"}}).Push("/ b", nil)
	if fmt.Sprint(pushed) != "[/a.css text/css]" || writer.Header().Get("Link") != "</a.css>; rel=preload" || !errors.Is(x.response.Err(), ErrInvalidHeader) {
		t.Error(pushed, writer.Header(), x.response.Err())
	}
	x.finish()
	if writer.Code != 500 {
		t.Error(writer.Code)
	}
}

// TestUseAfterEnd: what is used after its handler returned is what it was, and
// does nothing to whoever comes next.
func TestUseAfterEnd(t *testing.T) {
	writer := httptest.NewRecorder()
	x := newExchange(writer, httptest.NewRequest("POST", "/?a=b", strings.NewReader("body")), Options{}.withDefaults())
	q, r := &x.request, &x.response
	q.SetLocal("key", 1)
	var filter io.Writer
	r.Filter(func(w io.Writer) io.WriteCloser { filter = w; return upper{w, nil} }).SetStatus(201).End("first")
	x.finish()
	x.close()
	if q.URL.Path != "/" || q.Param("a") != "b" || q.Local("key") != 1 || q.CookieValue("a") != "" || q.Info().Protocol != "HTTP/1.1" {
		t.Errorf("the request shows %v", q)
	}
	r.SetStatus(202).SetHeader("A", "b").AddHeader("A", "b").SetCookie(&http.Cookie{Name: "a"}).Push("/", nil).End("x", "y")
	r.Filter(nil).WriteHeader(203)
	r.Header().Set("A", "b")
	r.BeginHandshake()
	if r.EndHandshake() || r.State() != Ended || r.Status() != 201 || r.Err() != nil {
		t.Error("the response is", r.State(), r.Status(), r.Err())
	}
	for name, use := range map[string]func() error{
		"Write":           func() error { _, err := r.Write([]byte("x")); return err },
		"WriteString":     func() error { _, err := r.WriteString("x"); return err },
		"ReadFrom":        func() error { _, err := r.ReadFrom(strings.NewReader("x")); return err },
		"Flush":           func() error { return r.Flush() },
		"Hijack":          func() error { _, _, err := r.Hijack(); return err },
		"a filter":        func() error { _, err := io.WriteString(filter, "x"); return err },
		"the writer":      func() error { r.Unwrap().WriteHeader(1); _, err := r.Unwrap().Write(nil); return err },
		"its hijacker":    func() error { _, _, err := http.NewResponseController(r.Unwrap()).Hijack(); return err },
		"a read deadline": func() error { return http.NewResponseController(r).SetReadDeadline(time.Now()) },
		"a deadline":      func() error { return http.NewResponseController(r).SetWriteDeadline(time.Now()) },
		"duplex":          func() error { return http.NewResponseController(r).EnableFullDuplex() },
		"a flush":         func() error { return http.NewResponseController(r.Unwrap()).Flush() },
	} {
		if err := use(); err != ErrEnded {
			t.Error(name, err)
		}
	}
	if got := fmt.Sprint(writer.Code, writer.Body, writer.Header()); got != "201 FIRST map[Content-Type:[text/html; charset=utf-8] X-Content-Type-Options:[nosniff]]" {
		t.Error("written was", got)
	}
}

// TestOverHTTP2: length, streaming, trailers, early hints and limits are the
// same there.
func TestOverHTTP2(t *testing.T) {
	server := serveExchange(t, Options{MaxBodySize: 5, DisableCompression: true}, func(q *Request, r *Response) {
		switch q.URL.Path {
		case "/complete":
			r.End(strings.Repeat("x", 5000))
		case "/streamed":
			r.SetHeader("Trailer", "T").Flush()
			r.WriteString("abc")
			r.SetHeader("T", "1")
		case "/body":
			io.ReadAll(q.Body())
		}
	})
	secure := httptest.NewUnstartedServer(server.Config.Handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	for _, test := range []struct {
		path, body string
		status     int
		length     int64
		trailer    string
	}{
		{"/complete", "", 200, 5000, ""},
		{"/streamed", "", 200, -1, "1"},
		{"/body", "123456", 413, 549, ""},
		{"/body", "12345", 404, 483, ""},
	} {
		response, err := secure.Client().Post(secure.URL+test.path, "", strings.NewReader(test.body))
		if err != nil {
			t.Fatal(test.path, err)
		}
		io.ReadAll(response.Body)
		response.Body.Close()
		if response.ProtoMajor != 2 || response.StatusCode != test.status || response.ContentLength != test.length || response.Trailer.Get("T") != test.trailer {
			t.Error(test.path, response)
		}
	}
}
