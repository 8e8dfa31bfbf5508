package aerys

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"sync/atomic"
)

// ErrBodyTooLarge is what reading a request's body fails with beyond a limit,
// as a *LimitError that names it. Unless the handler sets another status, the
// answer is then 413, and the connection is closed after it.
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
// is over the limit, or of which more was read already, fails at the first.
func (r *Request) Body(max ...int64) io.Reader {
	if r.Request.Body == nil {
		return http.NoBody
	}
	if r.input != nil && len(max) > 0 {
		r.input.raise(max[0])
	}
	return r.Request.Body
}

// limitedBody stands in the place of http.Request.Body. The transports of
// net/http read a body that they relay from a goroutine that may outlive the
// handler.
type limitedBody struct {
	io.ReadCloser
	size    int64 // as declared, or -1
	limit   atomic.Int64
	read    atomic.Int64
	failure atomic.Pointer[LimitError] // set once the body was refused
}

// limit puts a limit on the body of r, unless it has one.
func limit(r *http.Request, max int64) *limitedBody {
	if b, ok := r.Body.(*limitedBody); ok {
		return b
	}
	b := &limitedBody{ReadCloser: r.Body, size: r.ContentLength}
	b.raise(max)
	r.Body = b
	return b
}

func (b *limitedBody) raise(max int64) {
	if max < 0 {
		max = math.MaxInt64
	}
	b.limit.Store(max)
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if failure := b.failure.Load(); failure != nil {
		return 0, failure
	}
	limit := b.limit.Load()
	left := limit - b.read.Load()
	if b.size > limit || left < 0 {
		return 0, b.refuse("MaxBodySize", limit)
	}
	if int64(len(p)) > left { // one more, to tell the end from too much
		p = p[:left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if int64(n) > left {
		return int(left), b.refuse("MaxBodySize", limit)
	}
	return n, err
}

// refuse makes 413 the answer, and it the last one on the connection.
func (b *limitedBody) refuse(option string, limit int64) error {
	failure := &LimitError{Option: option, Limit: limit}
	if b != nil { // a handler may parse what it has put in the place of no body
		b.failure.CompareAndSwap(nil, failure)
	}
	return failure
}

// refused reports whether the body was over a limit.
func (b *limitedBody) refused() bool { return b != nil && b.failure.Load() != nil }
