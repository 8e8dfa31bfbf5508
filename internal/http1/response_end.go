package http1

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// sendBody frames bytes of the body. output.mu is held.
func (w *response) sendBody(p []byte) error {
	c := w.conn
	switch {
	case len(p) == 0 || w.method == http.MethodHead || !bodyAllowed(w.status):
		return c.err
	case !w.fields.chunked:
		return c.send(p)
	}
	if len(c.out) > bufferSize-chunkLine {
		c.flushReady()
	}
	c.out = strconv.AppendInt(c.room(), int64(len(p)), 16)
	c.append("\r\n")
	if err := c.send(p); err != nil {
		return err
	}
	c.append("\r\n")
	c.ready = len(c.out)
	return nil
}

// chunkLine is room for a chunk's first line and the end of its data.
const chunkLine = 20

// finish is the end of the response. It returns all that decides about the
// connection, as far as it is known here.
func (w *response) finish(returned bool) fact {
	c := w.conn
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	w.done = true
	switch {
	case w.facts&takenOver != 0:
	case returned:
		w.complete()
	default:
		w.facts |= aborted
		c.out = c.out[:c.ready]
	}
	w.ungather()
	if c.err != nil {
		w.facts |= writeFailed
	}
	c.endWatch(w, true)
	return w.facts
}

// complete sends what is left of a response. output.mu is held.
func (w *response) complete() {
	if w.status == 0 {
		w.body.mayInvite.Store(false)
		w.beginHead(http.StatusOK)
	}
	w.flushBody()
	c := w.conn
	if w.fields.chunked && c.err == nil {
		c.append("0\r\n")
		for _, field := range inOrder(nil, w.finalTrailers()) {
			c.out = field.append(c.out)
		}
		c.append("\r\n")
		c.ready = len(c.out)
	}
	if w.length >= 0 && w.written != w.length && w.method != http.MethodHead && bodyAllowed(w.status) {
		w.facts |= truncated
	}
}

// finalTrailers are those announced, and those that the handler has named with
// http.TrailerPrefix.
func (w *response) finalTrailers() http.Header {
	if w.header == nil {
		return nil
	}
	var trailers http.Header
	add := func(name string, values []string) {
		if trailers == nil {
			trailers = make(http.Header)
		}
		trailers[name] = append(trailers[name], values...)
	}
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			add(name, values)
		}
	}
	for _, name := range w.trailers {
		add(name, w.header[name])
	}
	return trailers
}

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

// CloseNotify implements the deprecated http.CloseNotifier.
func (w *response) CloseNotify() <-chan bool {
	left := make(chan bool, 1)
	w.context.AfterFunc(func() { left <- true })
	return left
}

// replay is a connection of which something was read.
type replay struct {
	net.Conn
	early []byte
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.early) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.early)
	r.early = r.early[n:]
	return n, nil
}
