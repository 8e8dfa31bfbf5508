package aerys

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
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
		{"a malformed one", "application/x-www-form-urlencoded", "a=1&b=%zz&c=2", "malformed"},
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

// TestTrailersOfRequests: they are in the request that the handler has, once it
// has read the body, whether the client announced them or not (RFC 9110 §6.5).
func TestTrailersOfRequests(t *testing.T) {
	t.Parallel()
	action := func(q *Request, r *Response) {
		io.Copy(io.Discard, q.Body())
		r.End(q.Trailer.Get("Sum"))
	}
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(action))
	mounted := serveExchange(t, Options{}, action)
	for _, announced := range []string{"", "Trailer: Sum\r\n"} {
		text := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + announced +
			"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nSum: 294\r\n\r\n"
		for _, address := range []net.Addr{s.addresses[0], mounted.Listener.Addr()} {
			if _, body := statusAndBody(t, converse(t, address, text)); body != "294" {
				t.Errorf("announced by %q: %q", announced, body)
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
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(q *Request, r *Response) {
		err := q.ParseMultipartForm(0)
		r.End(fmt.Sprint(err, " ", files()))
	}))
	form := "--b\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n" + strings.Repeat("x", 1000) + "\r\n--b--\r\n"
	text := converse(t, s.addresses[0], fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+
		"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n%s", len(form), form))
	if _, body := statusAndBody(t, text); body != "<nil> 1" && runtime.GOOS != "windows" {
		t.Errorf("in the handler: %s", body)
	}
	eventually(t, "no files", func() bool { return files() == 0 })
}
