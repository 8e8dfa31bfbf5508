package outlet

import (
	"io"
	"net/http"
	"sync/atomic"
)

// Body is the body of a request that a server of net/http has read. It is
// in a copy of the request, and net/http's own is not closed from here: that
// would wait for the rest before the answer is known.
type Body struct {
	io.ReadCloser
	server, own   *http.Request // net/http's, and the copy of it
	left          atomic.Int64  // of what was declared
	ended, closed atomic.Bool
	over          atomic.Bool // the handler has returned
	duplex        atomic.Bool // the handler reads on while it answers
}

// Mount puts a Body in the place of a request's, if it has one.
func Mount(server, r *http.Request) *Body {
	if r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	b := &Body{ReadCloser: r.Body, server: server, own: r}
	b.left.Store(r.ContentLength)
	r.Body = b
	return b
}

// maxRest is how much of a body that no handler reads net/http reads for the sake
// of the connection.
const maxRest = 256 << 10

// IsLast reports whether a response is the connection's last because of what is
// left of the body, where net/http does not say so itself. One that is not
// complete may be given while the handler reads on.
func (b *Body) IsLast(complete bool) bool {
	return b != nil && !b.ended.Load() && (b.duplex.Load() && complete || b.left.Load() > maxRest)
}

// End is called when the handler has returned.
func (b *Body) End() {
	if b != nil {
		b.over.Store(true)
	}
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.closed.Load() || b.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.ReadCloser.Read(p)
	b.left.Add(-int64(n))
	if err == io.EOF && !b.ended.Swap(true) && b.own.Trailer == nil {
		b.own.Trailer = b.server.Trailer
	}
	return n, err
}

// Close implements io.Closer: nothing more is read from here.
func (b *Body) Close() error {
	b.closed.Store(true)
	return nil
}
