package aerys

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// unflushable is a filter that cannot be flushed, and says so.
type unflushable struct{ io.Writer }

func (unflushable) Flush() error { return fmt.Errorf("not here: %w", errors.ErrUnsupported) }
func (unflushable) Close() error { return nil }

// TestOptionalIsNoError uses what a ResponseWriter need not have, where it does
// not: the caller hears of it, and the response is not the worse for it.
func TestOptionalIsNoError(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, use := range map[string]func(*Response) error{
		"Flush":                 func(r *Response) error { return r.Flush() },
		"Flush of a controller": func(r *Response) error { return http.NewResponseController(r).Flush() },
		"Hijack":                func(r *Response) error { _, _, err := r.Hijack(); return err },
		"a read deadline":       func(r *Response) error { return http.NewResponseController(r).SetReadDeadline(time.Now()) },
		"a write deadline":      func(r *Response) error { return http.NewResponseController(r).SetWriteDeadline(time.Now()) },
		"full duplex":           func(r *Response) error { return http.NewResponseController(r).EnableFullDuplex() },
		"Push":                  func(r *Response) error { return r.Push("/a", nil).Unwrap().(http.Pusher).Push("/a", nil) },
		"Flush of a filter": func(r *Response) error {
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
			s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(middleware, func(_ *Request, res *Response) {
				err := use(res)
				if res.End(long); !errors.Is(err, errors.ErrUnsupported) {
					t.Errorf("%s within %s returned %v", name, around, err)
				}
				failure <- res.Err()
			}))
			_, body := statusAndBody(t, s.get(t, s.addresses[0], "a", "/"))
			if err := <-failure; !strings.Contains(body, long) || err != nil {
				t.Errorf("%s within %s: %d bytes, %v", name, around, len(body), err)
			}
		}
	}
}

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
