package aerys

import (
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
)

// corkFrom is how long a write must be to be worth gathering. net/http writes
// through a buffer of 4096 bytes, the header first, so what is not much shorter
// leaves in several system calls.
const corkFrom = 2048

// cork gathers what is written to a connection.
type cork struct {
	held    []byte
	both    [2][]byte
	buffers net.Buffers
	files   transmission
}

var corks = sync.Pool{New: func() any { return &cork{held: make([]byte, 0, 16<<10)} }}

// gather calls write, which writes size bytes of a response to net/http, so
// that what comes out of net/http in pieces leaves in one system call, or few.
// Nothing stays behind when it returns: what is gathered is sent by then. It
// works for HTTP/1 in clear text; elsewhere it just calls write.
func gather(r *http.Request, size int, write func() (int, error)) (n int, err error) {
	if c := corked(r, int64(size)); c != nil {
		defer c.uncork(&err)
	}
	return write()
}

// corked corks the connection of r, for a response of that size, and returns
// it; nil if that is no gain or already done.
func corked(r *http.Request, size int64) *connection {
	if size <= corkFrom || r.ProtoMajor != 1 || r.TLS != nil {
		return nil
	}
	c, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok || c.cork != nil {
		return nil
	}
	c.cork = corks.Get().(*cork)
	return c
}

// uncork sends what was gathered. If that fails, the connection is closed, for
// net/http takes it for sent.
func (c *connection) uncork(err *error) {
	k := c.cork
	c.cork = nil
	if len(k.held) > 0 {
		if _, failure := c.Write(k.held); failure != nil {
			c.Close()
			*err = failure
		}
	}
	k.held = k.held[:0]
	corks.Put(k)
}

// writeCorked keeps p, or sends it with what is kept when that gets too much.
func (c *connection) writeCorked(p []byte) (int, error) {
	k := c.cork
	if len(k.held)+len(p) <= cap(k.held) {
		k.held = append(k.held, p...)
		return len(p), nil
	}
	k.both = [2][]byte{k.held, p}
	k.buffers = k.both[:]
	n, err := c.sending(func() (int64, error) { return k.buffers.WriteTo(c.Conn) })
	c.all.sent.Add(n)
	n -= int64(len(k.held))
	k.held, k.both = k.held[:0], [2][]byte{}
	return int(max(0, n)), err
}

// readCorked sends what is kept and what r has. It leaves in one piece where
// the kernel sends a section of a file.
func (c *connection) readCorked(r io.Reader) (int64, error) {
	head := c.cork.held
	c.cork.held = head[:0]
	c.all.sent.Add(int64(len(head)))
	if section, length := sectionOf(r); section != nil {
		outer, _, _ := section.Outer()
		if file, ok := outer.(*os.File); ok {
			n, err := c.cork.files.sendFile(c, head, section, file, length)
			if limited, ok := r.(*io.LimitedReader); ok {
				limited.N -= n
			}
			return n, err
		}
	}
	if _, err := c.write(head); err != nil {
		return 0, err
	}
	return c.copy(r)
}

// sectionOf returns the section that r reads, and how much of it r does; nil if
// it reads something else. An io.LimitedReader reads some of what its section
// has, so the rest is about to follow.
func sectionOf(r io.Reader) (section *io.SectionReader, length int64) {
	length = math.MaxInt64
	if limited, ok := r.(*io.LimitedReader); ok {
		r, length = limited.R, limited.N
	}
	section, ok := r.(*io.SectionReader)
	if !ok {
		return nil, 0
	}
	position, _ := section.Seek(0, io.SeekCurrent)
	return section, max(0, min(length, section.Size()-position))
}
