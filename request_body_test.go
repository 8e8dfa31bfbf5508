package aerys

import (
	"errors"
	"fmt"
	"io"
	"math"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// TestLimitsAtTheirEdges has how much of a body of 50 bytes can be read by one
// call after the other, and what the last one fails with.
func TestLimitsAtTheirEdges(t *testing.T) {
	t.Parallel()
	const all = math.MaxInt
	for _, test := range []struct {
		name   string
		limits []int64 // of each call of Body
		sizes  []int   // of each read from it
		read   int
		fails  bool
	}{
		{"the largest number", []int64{math.MaxInt64}, []int{all}, 50, false},
		{"one less", []int64{math.MaxInt64 - 1}, []int{all}, 50, false},
		{"negative", []int64{-1}, []int{all}, 50, false},
		{"the smallest number", []int64{math.MinInt64}, []int{all}, 50, false},
		{"none", []int64{0}, []int{all}, 0, true},
		{"all of it", []int64{50}, []int{all}, 50, false},
		{"one byte less", []int64{49}, []int{all}, 49, true},
		{"lowered below what was read", []int64{-1, 10}, []int{20, all}, 20, true},
		{"lowered when all was read", []int64{math.MaxInt64, 10}, []int{50, all}, 50, true},
		{"lowered to what was read", []int64{-1, 50}, []int{50, all}, 50, false},
		{"raised", []int64{60, math.MaxInt64}, []int{20, all}, 50, false},
		{"raised from the largest number", []int64{math.MaxInt64, -1}, []int{20, all}, 50, false},
	} {
		for _, chunked := range []bool{false, true} {
			server := serveExchange(t, Options{MaxBodySize: math.MaxInt64}, func(q *Request, r *Response) {
				total := 0
				var err error
				for i, limit := range test.limits {
					var n int64
					n, err = io.Copy(io.Discard, io.LimitReader(q.Body(limit), int64(test.sizes[i])))
					total += int(n)
				}
				fmt.Fprint(r, total, " ", errors.Is(err, ErrBodyTooLarge))
			})
			header, body := "POST / HTTP/1.1\nContent-Length: 50", strings.Repeat("x", 50)
			want := test.read
			if chunked {
				header, body = "POST / HTTP/1.1\nTransfer-Encoding: chunked", "32\r\n"+body+"\r\n0\r\n\r\n"
			} else if test.fails && len(test.limits) == 1 {
				want = 0 // it is declared to be too large
			}
			status, text := statusAndBody(t, server.raw(t, header, body))
			if text != fmt.Sprint(want, " ", test.fails) || (status == 413) != test.fails {
				t.Errorf("%s, chunked %t: %d, %s; want %d, %t", test.name, chunked, status, text, want, test.fails)
			}
		}
	}
}

// TestFormsAtTheirLimits is TestLimitsAtTheirEdges for what reads forms.
func TestFormsAtTheirLimits(t *testing.T) {
	t.Parallel()
	parse := func(max ...int64) func(*Request) (string, error) {
		return func(q *Request) (string, error) {
			form, err := q.ParseBody(max...)
			if err != nil {
				return "", err
			}
			return form.Get("a"), nil
		}
	}
	field := func(limit int64) func(*Request) (string, error) {
		return func(q *Request) (value string, err error) {
			for field, err := range q.Fields(math.MaxInt64) {
				if err != nil {
					return "", err
				}
				b, err := io.ReadAll(field.Limit(limit))
				if value += string(b); err != nil {
					return value, err
				}
			}
			return value, nil
		}
	}
	for _, test := range []struct {
		name, body string
		read       func(*Request) (string, error)
		want       string
		tooLarge   bool
	}{
		{"ParseBody", "a=123", parse(), "123", false},
		{"ParseBody, the largest number", "a=123", parse(math.MaxInt64), "123", false},
		{"ParseBody, negative", "a=123", parse(-1), "123", false},
		{"ParseBody, the smallest number", "a=123", parse(math.MinInt64), "123", false},
		{"ParseBody, none", "a=123", parse(0), "", true},
		{"ParseBody, too small", "a=123", parse(4), "", true},
		{"Field", "a=123", field(3), "123", false},
		{"Field, too small", "a=123", field(2), "", true},
		{"Field, none", "a=123", field(0), "", true},
		{"Field, none and empty", "a=", field(0), "", false},
		{"Field, the largest number", "a=123", field(math.MaxInt64), "123", false},
		{"Field, negative", "a=123", field(math.MinInt64), "123", false},
	} {
		server := serveExchange(t, Options{MaxBodySize: math.MaxInt64}, func(q *Request, r *Response) {
			value, err := test.read(q)
			fmt.Fprint(r, value, " ", errors.Is(err, ErrBodyTooLarge))
		})
		text := server.raw(t, fmt.Sprintf("POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d", len(test.body)), test.body)
		if _, body := statusAndBody(t, text); body != fmt.Sprint(test.want, " ", test.tooLarge) {
			t.Errorf("%s: %s", test.name, body)
		}
	}
}

// TestParseBodyAgain: the second call returns what the first did, be it an error
// or a form, though nothing is left of the body.
func TestParseBodyAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, mediaType, body, want string }{
		{"a form", "application/x-www-form-urlencoded", "a=1", ""},
		{"no form", "text/plain", "a=1", ErrNotForm.Error()},
		{"a malformed one", "multipart/form-data; boundary=b", "a", "malformed"},
		{"too large a one", "application/x-www-form-urlencoded", "a=" + strings.Repeat("x", 100), "too large"},
		{"too many fields", "application/x-www-form-urlencoded", "a&b&c&d&e", "MaxInputVars"},
		{"one without an end", "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "EOF"},
	} {
		server := serveExchange(t, Options{MaxBodySize: 100, MaxInputVars: 3}, func(q *Request, r *Response) {
			first, err := q.ParseBody()
			second, again := q.ParseBody(-1)
			if first != second || err != again || (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, %v; again: %v, %v", test.name, first, err, second, again)
			}
		})
		server.raw(t, fmt.Sprintf("POST / HTTP/1.1\nContent-Type: %s\nContent-Length: %d", test.mediaType, len(test.body)), test.body)
	}
}

const urlencodedType = "application/x-www-form-urlencoded"

// multipartForm returns a form with the fields a=1, a=2 and b, and files f.
func multipartForm(t *testing.T, content string) (contentType, body string) {
	var b strings.Builder
	w := multipart.NewWriter(&b)
	w.WriteField("a", "1")
	w.WriteField("b", "x&y")
	for _, disposition := range []string{`form-data; name="f"; filename="../dir/p.png"`, `form-data; name="f"; filename="q"`, `form-data; name="none"; filename=""`} {
		header := textproto.MIMEHeader{"Content-Disposition": {disposition}}
		if strings.Contains(disposition, "png") {
			header.Set("Content-Type", "image/png")
		}
		part, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(disposition, "none") {
			io.WriteString(part, content)
		}
	}
	w.WriteField("a", "2")
	w.Close()
	return w.FormDataContentType(), b.String()
}

func (s exchanging) post(t *testing.T, contentType, body string) string {
	t.Helper()
	return s.raw(t, fmt.Sprintf("POST / HTTP/1.1\nContent-Type: %s\nContent-Length: %d", contentType, len(body)), body)
}

func TestParseUrlencoded(t *testing.T) {
	long := strings.Repeat("l", 10000)
	for _, test := range []struct{ body, want string }{
		{"", ""},
		{"a=1", "a=1"},
		{"a=1&b=2&a=3", "a=1,3 b=2"},
		{"a&b=&=c&&", "a= b= =c"},
		{"&", ""},
		{"a%3D+b=c+d%26%e2%82%AC%3d=x", "a= b=c d&€==x"},
		{"a=" + long + "&b=1", "a=" + long + " b=1"},
		{"a=%&b=2", "a=% b=2"}, // a percent sign of no escape is one
		{"a=%1", "a=%1"},
		{"a%+1=2", "a% 1=2"},
		{"a=%gg%41&%%42=x", "a=%ggA %B=x"},
	} {
		var got string
		server := serveExchange(t, Options{}, func(q *Request, r *Response) {
			form, err := q.ParseBody()
			if err != nil {
				got = err.Error()
				return
			}
			var fields []string
			for _, name := range form.Names() {
				fields = append(fields, name+"="+strings.Join(form.All(name), ","))
				if form.Get(name) != form.All(name)[0] {
					t.Error(form.Get(name), form.All(name))
				}
			}
			got = strings.Join(fields, " ")
			if again, err := q.ParseBody(); again != form || err != nil {
				t.Error("parsed again:", again, err)
			}
			if file, ok := form.File("a"); ok || form.Get("none") != "" || form.All("none") != nil {
				t.Error("what is not there:", file)
			}
		})
		if server.post(t, urlencodedType+"; charset=utf-8", test.body); got != test.want {
			t.Errorf("%.50q: got %.50q, want %.50q", test.body, got, test.want)
		}
	}
}

func TestParseMultipart(t *testing.T) {
	contentType, body := multipartForm(t, "\x89PNG\r\n\x00")
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		form, err := q.ParseBody()
		if err != nil {
			t.Error(err)
			return
		}
		file, ok := form.File("f")
		if fmt.Sprint(form.Names(), form.All("a"), form.All("b")) != "[a b f none] [1 2] [x&y]" || form.Get("f") != "\x89PNG\r\n\x00" ||
			!ok || file.Filename != "p.png" || file.MIMEType != "image/png" || string(file.Content) != "\x89PNG\r\n\x00" {
			t.Error(form, file)
		}
		if files := form.Files("f"); len(files) != 2 || files[1].Filename != "q" || files[1].MIMEType != "text/plain" {
			t.Error(files)
		}
		if _, ok := form.File("none"); ok {
			t.Error("a file input that was left empty is a file")
		}
		r.End("done")
	})
	if answer := server.post(t, contentType, body); !strings.HasSuffix(answer, "done") {
		t.Error(answer)
	}
}

// TestFormErrors has what is refused, with its status where nothing is answered
// and the options at 3 fields, names of 5 bytes and 200 bytes in all.
func TestFormErrors(t *testing.T) {
	t.Parallel()
	multi := "multipart/form-data; boundary=B"
	part := func(name, value string) string {
		return "--B\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + value + "\r\n"
	}
	for _, test := range []struct {
		name, contentType, body string
		want                    string // of the error
		status                  int
	}{
		{"no type", "", "a=1", ErrNotForm.Error(), 404},
		{"another type", "application/json", "{}", ErrNotForm.Error(), 404},
		{"no boundary", "multipart/form-data", "x", ErrNotForm.Error(), 404},
		{"as many as may be", urlencodedType, "a=1&b=2&c=3", "<nil>", 404},
		{"too many", urlencodedType, "a=1&b=2&c=3&d=4", "more than MaxInputVars (3)", 413},
		{"too many parts", multi, part("a", "1") + part("b", "1") + part("c", "1") + part("d", "1"), "more than MaxInputVars (3)", 413},
		{"as long as may be", urlencodedType, "%61bcde=1", "<nil>", 404},
		{"a name too long", urlencodedType, "abcdef=1", "more than MaxFieldLen (5)", 413},
		{"the last name too long", urlencodedType, "a=1&abcdef", "more than MaxFieldLen (5)", 413},
		{"a part's name too long", multi, part("abcdef", "1") + "--B--", "more than MaxFieldLen (5)", 413},
		{"too large", urlencodedType, "a=" + strings.Repeat("x", 199), "more than MaxBodySize (200)", 413},
		{"too large a part", multi, part("a", strings.Repeat("x", 199)) + "--B--", "more than MaxBodySize (200)", 413},
		{"truncated", multi, part("a", "1"), "unexpected EOF", 400},
		{"no part", multi, "x", "aerys: malformed form: multipart: NextPart: EOF", 400},
	} {
		server := serveExchange(t, Options{MaxInputVars: 3, MaxFieldLen: 5, MaxBodySize: 200}, func(q *Request, r *Response) {
			_, err := q.ParseBody()
			if !strings.Contains(fmt.Sprint(err), test.want) || errors.Is(err, ErrBodyTooLarge) != (test.status == 413) {
				t.Error(test.name, "error:", err)
			}
			var limit *LimitError
			if errors.As(err, &limit) != (test.status == 413) {
				t.Error(test.name, "error:", err)
			}
		})
		if answer := server.post(t, test.contentType, test.body); !strings.HasPrefix(answer, fmt.Sprint("HTTP/1.1 ", test.status)) {
			t.Errorf("%s: %.100q", test.name, answer)
		}
	}
}

// TestFields: fields are read as they arrive, what is left of one is skipped,
// and each may have a limit of its own.
func TestFields(t *testing.T) {
	contentType, multi := multipartForm(t, "12345")
	for contentType, body := range map[string]string{contentType: multi, urlencodedType: "a=1&b=x%26y&f=12345&f=12345&none=&a=2"} {
		var got []string
		server := serveExchange(t, Options{MaxBodySize: 10}, func(q *Request, r *Response) {
			for field, err := range q.Fields(1 << 20) {
				if err != nil {
					t.Error(err)
					return
				}
				var value []byte
				switch field.Name {
				case "f":
					value = make([]byte, 2)
					io.ReadFull(field, value)
				case "b":
					value, err = io.ReadAll(field.Limit(3))
				default:
					value, err = io.ReadAll(field)
				}
				if got = append(got, field.Name+"="+string(value)); err != nil {
					t.Error(field.Name, err)
				}
			}
		})
		server.post(t, contentType, body)
		if fmt.Sprint(got) != "[a=1 b=x&y f=12 f=12 none= a=2]" {
			t.Error(got)
		}
	}
}

// TestFieldsSkipping: a body that turns out too large while a field is skipped.
func TestFieldsSkipping(t *testing.T) {
	t.Parallel()
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		var last error
		for _, err := range q.Fields(10) {
			last = err
		}
		if !errors.Is(last, ErrBodyTooLarge) {
			t.Error(last)
		}
	})
	for _, body := range []string{"a=12345678901", "a=123%45678", "abc&456789%12"} {
		chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		answer := server.raw(t, "POST / HTTP/1.1\nContent-Type: "+urlencodedType+"\nTransfer-Encoding: chunked", chunk)
		if !strings.HasPrefix(answer, "HTTP/1.1 413 ") {
			t.Error(body, answer)
		}
	}
}

func TestFieldLimit(t *testing.T) {
	t.Parallel()
	server := serveExchange(t, Options{}, func(q *Request, r *Response) {
		for field, err := range q.Fields() {
			if field == nil || field.Name != "b" {
				t.Fatal("a field after the end:", field, err)
			}
			_, err = io.Copy(io.Discard, field.Limit(3))
			if !errors.Is(err, ErrBodyTooLarge) || !strings.Contains(err.Error(), "Field.Limit (3)") {
				t.Error(err)
			}
			break
		}
	})
	if answer := server.post(t, urlencodedType, "b=1234&c=1"); !strings.HasPrefix(answer, "HTTP/1.1 413 ") {
		t.Error(answer)
	}
}

// escapes are those of a form, and what is none.
var escapes = regexp.MustCompile("%([0-9a-fA-F]{2})?")

// FuzzUrlencoded: fields are those of url.ParseQuery, whatever is sent, but that a
// percent sign of no escape is one.
func FuzzUrlencoded(f *testing.F) {
	for _, seed := range []string{"a=1&b=%26+x", "=&&=x", "a=%", "%3d=%3D"} {
		f.Add(seed)
	}
	options := Options{MaxInputVars: 1 << 20, MaxFieldLen: 1 << 20}.withDefaults()
	f.Fuzz(func(t *testing.T, body string) {
		escaped := escapes.ReplaceAllStringFunc(body, func(escape string) string { return (escape + "25")[:3] })
		want, err := url.ParseQuery(strings.ReplaceAll(escaped, ";", "%3B"))
		r := httptest.NewRequest("POST", "/", iotest.HalfReader(strings.NewReader(body)))
		r.Header.Set("Content-Type", urlencodedType)
		form, failed := newExchange(httptest.NewRecorder(), r, options).request.ParseBody(-1)
		if err != nil || failed != nil || len(form.Names()) != len(want) {
			t.Fatalf("%v, %q, want %v, %q", failed, form.Names(), err, want)
		}
		for name, values := range want {
			if !slices.Equal(form.All(name), values) {
				t.Errorf("%q: got %q, want %q", name, form.All(name), values)
			}
		}
	})
}

// TestBodyLimit has how much of a body can be read, and what is answered.
func TestBodyLimit(t *testing.T) {
	t.Parallel()
	readAll := func(max ...int64) func(*Request, *Response) {
		return func(q *Request, r *Response) {
			body, err := io.ReadAll(q.Body(max...))
			fmt.Fprint(r, len(body), " ", err)
		}
	}
	const tooLarge = "aerys: the request's body is too large: more than MaxBodySize "
	for _, test := range []struct {
		name   string
		action func(*Request, *Response)
		size   int
		status int
		answer string
		closes bool
	}{
		{"none", readAll(), 0, 200, "0 <nil>", false},
		{"below", readAll(), 9, 200, "9 <nil>", false},
		{"at the limit", readAll(), 10, 200, "10 <nil>", false},
		{"above", readAll(), 11, 413, tooLarge + "(10) allows", true},
		{"far above", readAll(), 1 << 20, 413, tooLarge + "(10) allows", true},
		{"raised", readAll(20), 20, 200, "20 <nil>", false},
		{"above what it was raised to", readAll(20), 21, 413, tooLarge + "(20) allows", true},
		{"lowered", readAll(5), 6, 413, tooLarge + "(5) allows", true},
		{"no limit", readAll(-1), 1 << 20, 200, "1048576 <nil>", false},
		{"not read", func(_ *Request, r *Response) { r.End("x") }, 11, 200, "x", false},
		{"by net/http", func(q *Request, r *Response) {
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				fmt.Fprint(w, len(body), " ", err)
			}).ServeHTTP(r, q.Request)
		}, 11, 413, tooLarge + "(10) allows", true},
		{"nothing answered", func(q *Request, r *Response) { io.ReadAll(q.Body()) }, 11, 413, "413 Request Entity Too Large", true},
		{"the handler's own status", func(q *Request, r *Response) { io.ReadAll(q.Body()); r.SetStatus(400).End("x") }, 11, 400, "x", true},
		{"read on", func(q *Request, r *Response) {
			io.ReadAll(q.Body())
			n, err := q.Body(100).Read(make([]byte, 10))
			fmt.Fprint(r, n, " ", err)
		}, 11, 413, "0 " + tooLarge + "(10) allows", true},
	} {
		for _, chunked := range []bool{false, true} {
			server := serveExchange(t, Options{MaxBodySize: 10}, test.action)
			var body io.Reader = strings.NewReader(strings.Repeat("x", test.size))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			response, err := http.Post(server.URL, "", body)
			if err != nil {
				t.Error(test.name, err)
				continue
			}
			answer, _ := io.ReadAll(response.Body)
			if response.StatusCode != test.status || !strings.Contains(string(answer), test.answer) || response.Close != test.closes {
				t.Errorf("%s, chunked %t: %d, closes %t, %q", test.name, chunked, response.StatusCode, response.Close, answer)
			}
		}
	}
}

// TestBodyNotReadToItsEnd: what follows a body over the limit stays unread,
// and a client that waits for leave to send (RFC 9110 §10.1.1) does not get it.
func TestBodyNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"200000", "100000000000", "200000\nExpect: 100-continue"} {
		server := serveExchange(t, Options{}, func(q *Request, r *Response) { io.ReadAll(q.Body()) })
		answer := server.raw(t, "POST / HTTP/1.1\nContent-Length: "+header, "unfinished")
		if !strings.HasPrefix(answer, "HTTP/1.1 413 ") || strings.Contains(answer, "100 Continue") {
			t.Errorf("%q", answer)
		}
	}
}

func TestNoBody(t *testing.T) {
	x := newExchange(httptest.NewRecorder(), &http.Request{}, Options{}.withDefaults())
	if body, err := io.ReadAll(x.request.Body(5)); len(body) != 0 || err != nil {
		t.Error(body, err)
	}
}

// TestLimitedOnce: an exchange within another one shares its limit.
func TestLimitedOnce(t *testing.T) {
	options := Options{MaxBodySize: 4}.withDefaults()
	writer := httptest.NewRecorder()
	outer := newExchange(writer, httptest.NewRequest("POST", "/", strings.NewReader("12345")), options)
	inner := newExchange(&outer.response, outer.request.Request, options)
	if body, err := io.ReadAll(inner.request.Body(5)); string(body) != "12345" || err != nil {
		t.Error(body, err)
	}
	(&list{last: true}).Serve(&inner.request, &inner.response)
	inner.finish()
	outer.finish()
	if writer.Code != 404 || strings.Count(writer.Body.String(), "<h1>") != 1 {
		t.Error(writer.Code, writer.Body)
	}
}
