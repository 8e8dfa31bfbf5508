package aerys

import (
	"io"
	"net/http"
	"sync/atomic"
)

// mountedBody is the body of a request that a server of net/http has read. It is
// in a copy of the request, and net/http's own is not closed from here: that
// would wait for the rest before the answer is known.
type mountedBody struct {
	io.ReadCloser
	server, own   *http.Request // net/http's, and the copy of it
	left          atomic.Int64  // of what was declared
	ended, closed atomic.Bool
	over          atomic.Bool // the handler has returned
	duplex        atomic.Bool // the handler reads on while it answers
}

// mount puts a mountedBody in the place of a request's, if it has one.
func mount(server, r *http.Request) *mountedBody {
	if _, inner := r.Body.(*limitedBody); inner || r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	b := &mountedBody{ReadCloser: r.Body, server: server, own: r}
	b.left.Store(r.ContentLength)
	r.Body = b
	return b
}

// maxRest is how much of a body that no handler reads net/http reads for the sake
// of the connection.
const maxRest = 256 << 10

// isLast reports whether a response is the connection's last because of what is
// left of the body, where net/http does not say so itself. One that is not
// complete may be given while the handler reads on.
func (b *mountedBody) isLast(complete bool) bool {
	return b != nil && !b.ended.Load() && (b.duplex.Load() && complete || b.left.Load() > maxRest)
}

// end is called when the handler has returned.
func (b *mountedBody) end() {
	if b != nil {
		b.over.Store(true)
	}
}

// Read implements io.Reader.
func (b *mountedBody) Read(p []byte) (int, error) {
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
func (b *mountedBody) Close() error {
	b.closed.Store(true)
	return nil
}
