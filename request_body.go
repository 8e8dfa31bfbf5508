package aerys

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// ErrBodyTooLarge is what reading a request's body fails with beyond a limit,
// as a *LimitError that names it. Unless the handler sets another status, the
// answer is then 413, and the connection is closed without reading the rest.
var ErrBodyTooLarge = errors.New("aerys: the request's body is too large")

// LimitError is an ErrBodyTooLarge with the limit that was passed.
type LimitError struct {
	Option string // MaxBodySize, MaxInputVars, MaxFieldLen, or Field.Limit
	Limit  int64
}

// Error names the option and its limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: more than %s (%d) allows", ErrBodyTooLarge, e.Option, e.Limit)
}

// Unwrap returns ErrBodyTooLarge.
func (e *LimitError) Unwrap() error { return ErrBodyTooLarge }

// Body returns the request's body, of which Options.MaxBodySize bytes can be
// read, or max where it is given, which may be more or less; negative is no
// limit. A Read beyond fails with ErrBodyTooLarge; a body whose Content-Length
// is over the limit fails at the first.
func (r *Request) Body(max ...int64) io.Reader {
	r.live()
	if r.Request.Body == nil {
		return http.NoBody
	}
	if r.input != nil && len(max) > 0 {
		r.input.raise(max[0])
	}
	return r.Request.Body
}

// limitedBody stands in the place of http.Request.Body. It is not pooled, for
// the transports of net/http read a body that they relay from a goroutine that
// may outlive the handler.
type limitedBody struct {
	io.ReadCloser
	writer  http.ResponseWriter
	size    int64 // as declared, or -1
	limit   int64
	read    int64
	failure atomic.Pointer[LimitError] // set once the body was refused
}

// limit puts a limit on the body of r, unless it has one.
func limit(w http.ResponseWriter, r *http.Request, max int64) *limitedBody {
	if b, ok := r.Body.(*limitedBody); ok {
		return b
	}
	b := &limitedBody{ReadCloser: r.Body, writer: w, size: r.ContentLength}
	b.raise(max)
	r.Body = b
	return b
}

func (b *limitedBody) raise(max int64) {
	if max < 0 {
		max = math.MaxInt64 - 1
	}
	b.limit = max
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if failure := b.failure.Load(); failure != nil {
		return 0, failure
	}
	if b.size > b.limit {
		return 0, b.refuse("MaxBodySize", b.limit)
	}
	left := b.limit - b.read
	if int64(len(p)) > left+1 { // one more, to tell the end from too much
		p = p[:left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	if int64(n) > left {
		return int(left), b.refuse("MaxBodySize", b.limit)
	}
	return n, err
}

// refuse makes 413 the answer and has net/http close the connection after it.
// It does that for its own MaxBytesReader only, so one is made to overflow. The
// deadline keeps it from reading on, and waiting for a client that does not
// send what it declared.
func (b *limitedBody) refuse(option string, limit int64) error {
	failure := &LimitError{Option: option, Limit: limit}
	if b.failure.CompareAndSwap(nil, failure) {
		overflowing := http.MaxBytesReader(b.writer, io.NopCloser(strings.NewReader("x")), 0)
		overflowing.Read(make([]byte, 1))
		http.NewResponseController(b.writer).SetReadDeadline(time.Unix(1, 0))
	}
	return failure
}

// refused reports whether the body was over a limit.
func (b *limitedBody) refused() bool { return b != nil && b.failure.Load() != nil }
