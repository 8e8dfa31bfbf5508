package aerys

import (
	"net"
	"net/http"
	"sync"
)

// net/http writes a response through a buffer of 4096 bytes, so that a longer
// one leaves in two writes at least: the buffer, full, and the rest. Between
// cork and uncork a connection keeps such a first write until the next one, and
// sends both in one system call. Nothing stays behind: whoever corks uncorks
// before it returns, and flushes net/http's buffer in between if the response
// is complete.

// fullBuffer is the size of net/http's buffer.
const fullBuffer = 4096

// cork is what a corked connection needs.
type cork struct {
	held    []byte // a full buffer, or nothing
	both    [2][]byte
	buffers net.Buffers
}

var corks = sync.Pool{New: func() any { return &cork{held: make([]byte, 0, fullBuffer)} }}

// corkResponse corks the connection of a request, if it is one where that
// works: HTTP/1 in clear text. It may return nil.
func corkResponse(r *http.Request) *connection {
	if r.ProtoMajor != 1 || r.TLS != nil {
		return nil
	}
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return nil
	}
	c.cork = corks.Get().(*cork)
	return c
}

// uncork sends what is still held. Its error is the connection's end.
func (c *connection) uncork() (err error) {
	if c == nil {
		return nil
	}
	k := c.cork
	c.cork = nil
	if len(k.held) > 0 {
		if _, err = c.Write(k.held); err != nil {
			c.Close() // net/http takes it for sent
		}
	}
	k.held = k.held[:0]
	corks.Put(k)
	return err
}

// writeCorked is Write while corked.
func (c *connection) writeCorked(p []byte) (int, error) {
	k := c.cork
	if len(k.held) == 0 {
		if len(p) != fullBuffer {
			n, err := c.Conn.Write(p)
			c.all.sent.Add(int64(n))
			return n, err
		}
		k.held = append(k.held, p...)
		return len(p), nil
	}
	k.both = [2][]byte{k.held, p}
	k.buffers = k.both[:]
	n, err := k.buffers.WriteTo(c.Conn)
	c.all.sent.Add(n)
	n -= int64(len(k.held))
	k.held, k.both = k.held[:0], [2][]byte{}
	return int(max(0, n)), err
}
