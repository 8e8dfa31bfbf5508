package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"

	"aerys/internal/loop"
)

// How a handler takes the connection for another protocol: Hijack gives it away,
// with Detach it stays the loop's.

// A Detacher is a ResponseWriter whose connection can be taken for another
// protocol.
type Detacher interface {
	Detach() (Detached, error)
}

// Detached is a connection that another protocol takes.
type Detached struct {
	Carrier *loop.Conn // to be given another owner, or hijacked, before the handler returns
	Counted Counted    // to be told when that is over
	Conn    net.Conn   // where no loop carries it
	Early   []byte     // what was read behind the request

	// Stay has something serve Conn when all that answer have returned. It is nil but
	// for a stream of HTTP/2, which is over when that returns.
	Stay func(serve func())
}

// Detach implements Detacher.
func (w *response) Detach() (Detached, error) {
	early, err := w.takeOver()
	if err != nil {
		return Detached{}, err
	}
	c := w.conn
	c.handed = true
	return Detached{Carrier: c.transport.(*loop.Conn), Counted: c.counted.Upgraded(), Early: early}, nil
}

// Hijack implements http.Hijacker. What was read behind the request is in the
// reader.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	early, err := w.takeOver()
	if err != nil {
		return nil, nil, err
	}
	conn, err := w.conn.transport.Hijack()
	if err != nil {
		w.conn.transport.Interrupt()
		return nil, nil, err
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), conn), max(hijackedSize, len(early)))
	reader.Peek(len(early))
	return conn, bufio.NewReadWriter(reader, bufio.NewWriterSize(conn, hijackedSize)), nil
}

// hijackedSize is that of the buffers that net/http's server gives away.
const hijackedSize = 4096

// takeOver ends what is HTTP about the connection. The handler may have written a
// response before, say 101 and its fields. early is what was read behind the
// request. It fails after the handler has returned.
func (w *response) takeOver() (early []byte, err error) {
	c := w.conn
	if err := w.hurry(); err != nil {
		return nil, err
	}
	c.endWatch(w, false)
	w.body.surrender()
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.usable(); err != nil {
		return nil, err
	}
	w.facts |= takenOver
	local := c.transport.LocalAddr() // who asks later cannot find out
	c.life.Lock()
	w.local = local
	c.life.Unlock()
	c.phase.Store(uint32(over))
	return bytes.Clone(c.input.rest), nil
}

// hurry sends what there is of a response, for a connection that is taken over.
func (w *response) hurry() error {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.usable(); err != nil {
		return err
	}
	w.body.mayInvite.Store(false)
	if w.status != 0 {
		w.flushBody()
	}
	return w.conn.flushReady()
}
