package http1

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/loop"
)

var _ Transport = (*loop.Conn)(nil)

// Transport is what a Conn needs of the connection that it serves, which is a
// loop.Conn: a stream of bytes, and who drives it. One goroutine at a time calls
// TryRead and Wait, and one at a time Write; all others may be called at any
// time, beside them.
type Transport interface {
	RemoteAddr() netip.AddrPort
	LocalAddr() net.Addr

	TryRead(p []byte) (int, error) // loop.ErrAgain where nothing has come
	Wait() error                   // for something to read
	Write(p []byte) (int, error)
	SendFile(head []byte, p *loop.FilePart, progress func()) (int64, error)
	CloseWrite() error
	LimitUnsent() // what the kernel takes beyond what it can send

	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error

	PeerEnded() bool // the client has left, or ended its half
	Soon()           // has Conn.Flush called about a millisecond later
	Interrupt()      // reading and writing fail from now on
	Hijack() (net.Conn, error)
}

// bufferSize is how much is read, or gathered to be written, at once.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// input is what was read of a connection and not dealt with. It has a buffer
// only while there is something in it, and one of bufferSize only during a
// turn: the half of a request that waits for the other takes no more than it
// is long.
type input struct {
	rest   []byte            // what is to be dealt with
	buffer *[bufferSize]byte // where it is, if it is from the pool
}

// consume takes n bytes away.
func (i *input) consume(n int) {
	if i.rest = i.rest[n:]; len(i.rest) == 0 {
		i.release()
	}
}

func (i *input) release() {
	i.rest = nil
	if i.buffer != nil {
		buffers.Put(i.buffer)
		i.buffer = nil
	}
}

// fill reads once, behind what is there.
func (i *input) fill(read func([]byte) (int, error)) error {
	kept := len(i.rest)
	space := i.space()
	n, err := read(space[kept:])
	i.rest = space[:kept+n]
	if len(i.rest) == 0 {
		i.release()
	}
	if n > 0 {
		err = nil // it comes again
	}
	return err
}

// space moves what is there to the front of a buffer with room behind it.
func (i *input) space() []byte {
	switch {
	case len(i.rest) < bufferSize/2:
		if i.buffer == nil {
			i.buffer = buffers.Get().(*[bufferSize]byte)
		}
		copy(i.buffer[:], i.rest)
		return i.buffer[:]
	case i.buffer == nil && cap(i.rest)-len(i.rest) >= bufferSize/4:
		return i.rest[:cap(i.rest)]
	}
	larger := make([]byte, 2*len(i.rest))
	copy(larger, i.rest)
	i.release()
	return larger
}

// park gives the buffer back while the connection waits.
func (i *input) park() {
	if i.buffer != nil {
		rest := bytes.Clone(i.rest)
		i.release()
		i.rest = rest
	}
}

// writePiece is how much is written at once, so that progress shows.
const writePiece = 64 << 10

// output is what is about to leave a connection: responses, in order, which a
// batch of pipelined requests shares. It has a buffer only while there is
// something in it.
type output struct {
	transport Transport
	owner     interface{ Gone() } // told when nothing leaves any more
	clock     clock
	stuck     atomic.Bool // the client takes nothing: it was cut off

	mu     sync.Mutex // guards the following, and writing
	out    []byte
	buffer *[bufferSize]byte
	ready  int   // bytes of out that may leave; behind them is the head of a response that is not decided yet
	soon   bool  // the transport will call Flush
	sent   int64 // bytes, until they are writePiece
	err    error // why nothing leaves any more
}

// append adds to what leaves. mu is held.
func (o *output) append(s string) { o.out = append(o.room(), s...) }

// appendEnd is append of the end of something that may leave. mu is held.
func (o *output) appendEnd(s string) {
	o.append(s)
	o.ready = len(o.out)
}

// room is out, which has a buffer now. mu is held.
func (o *output) room() []byte {
	if o.out == nil {
		o.buffer = buffers.Get().(*[bufferSize]byte)
		o.out = o.buffer[:0]
	}
	return o.out
}

// release gives the buffer back. mu is held.
func (o *output) release() {
	if o.buffer != nil {
		buffers.Put(o.buffer)
	}
	o.out, o.buffer, o.ready, o.soon = nil, nil, 0, false
}

// hurryUp lets responses leave that wait behind a handler.
func (o *output) hurryUp() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ready > 0 && !o.soon {
		o.soon = true
		o.transport.Soon()
	}
}

// flush writes what may leave.
func (o *output) flush() {
	o.mu.Lock()
	o.flushReady()
	o.mu.Unlock()
}

// flushReady writes what may leave. mu is held.
func (o *output) flushReady() error {
	if o.ready == 0 {
		return o.err
	}
	err := o.transmit(o.out[:o.ready])
	if o.ready == len(o.out) {
		o.release()
		return err
	}
	o.out = append(o.out[:0], o.out[o.ready:]...)
	o.ready, o.soon = 0, false
	return err
}

// send adds bytes of a body; what has no room leaves. mu is held.
func (o *output) send(p []byte) error {
	if o.err != nil {
		return o.err
	}
	for {
		o.out = o.room()
		free := max(0, bufferSize-len(o.out))
		if len(p) <= free {
			o.out = append(o.out, p...)
			o.ready = len(o.out)
			return nil
		}
		if len(o.out) == 0 {
			o.release()
			return o.transmit(p)
		}
		o.out, p = append(o.out, p[:free]...), p[free:]
		o.ready = len(o.out)
		if err := o.flushReady(); err != nil {
			return err
		}
	}
}

// transmit writes. mu is held.
func (o *output) transmit(p []byte) error {
	for len(p) > 0 && o.err == nil {
		piece := p[:min(len(p), writePiece)]
		o.leaves(int64(len(piece)))
		o.clock.writing()
		_, err := o.transport.Write(piece)
		o.clock.wrote()
		if p = p[len(piece):]; err != nil {
			o.failed(err)
		}
	}
	return o.err
}

// leaves is told of bytes before they are written. Of a large response that
// nobody reads the kernel would take four megabytes, out of what it has for all
// connections. mu is held.
func (o *output) leaves(n int64) {
	if o.sent < writePiece {
		if o.sent += n; o.sent >= writePiece {
			o.transport.LimitUnsent()
		}
	}
}

// failed notes that nothing leaves any more. mu is held.
func (o *output) failed(err error) {
	if o.err = err; o.stuck.Load() {
		o.err = os.ErrDeadlineExceeded
	}
	o.owner.Gone()
}
