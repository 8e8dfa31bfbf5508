package aerys

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
)

// computed is up to where net/http finds the Content-Length of a complete
// response itself, at no cost.
const computed = 2048

// Write writes to the body. It fails with ErrEnded after End, with
// [http.ErrBodyNotAllowed] for a status that has no body, with
// ErrInvalidHeader when the response has become a 500 for that, and with the
// connection's error once it streams.
func (r *Response) Write(p []byte) (int, error) {
	held, err := hold(r, p)
	if err != nil {
		return 0, err
	}
	if held {
		return len(p), nil
	}
	n, err := gather(r.exchange.request.Request, len(p), func() (int, error) { return r.sink.Write(p) })
	return n, r.note(err)
}

// WriteString is Write for a string.
func (r *Response) WriteString(s string) (int, error) {
	held, err := hold(r, s)
	if err != nil {
		return 0, err
	}
	if held {
		return len(s), nil
	}
	n, err := gather(r.exchange.request.Request, len(s), func() (int, error) { return io.WriteString(r.sink, s) })
	return n, r.note(err)
}

// hold keeps p back, or starts to stream when there is too much of it.
func hold[T string | []byte](r *Response, p T) (held bool, err error) {
	if err := r.admit(len(p)); err != nil || r.state == Streaming {
		return false, err
	}
	if r.handshake || len(r.body)+len(p) <= r.options().OutputBufferSize {
		r.body = append(r.body, p...)
		return true, nil
	}
	return false, r.stream()
}

// admit starts the response for n bytes of body, or says why it cannot.
func (r *Response) admit(n int) error {
	r.live()
	switch {
	case r.state == Ended:
		return r.note(ErrEnded)
	case r.state < Streaming && r.fault != nil:
		r.state = Started
		return r.fault
	case n > 0 && r.handshake && r.status == http.StatusSwitchingProtocols:
		return r.refuse(ErrHandshakeBody)
	case n > 0 && !bodyAllowed(r.status):
		return r.note(http.ErrBodyNotAllowed)
	}
	r.state = max(r.state, Started)
	return nil
}

// bodyAllowed reports whether a response of that status may have a body (RFC
// 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status == 0 || status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// ReadFrom writes what source has to the body. An *os.File whose Content-Length
// is set, or that exceeds OutputBufferSize, is sent by the kernel, unless it is
// filtered or compressed; on Linux, an *io.SectionReader of one as well, whose
// file may be shared by many responses. Of an *io.LimitedReader of such a
// section, the end may leave with what is written next.
func (r *Response) ReadFrom(source io.Reader) (n int64, err error) {
	writer := struct{ io.Writer }{r}
	if r.handshake || !bodyAllowed(r.status) {
		return io.Copy(writer, source)
	}
	if err := r.admit(0); err != nil {
		return 0, err
	}
	if r.state == Started && r.writer.Header()["Content-Length"] == nil {
		excess := int64(r.options().OutputBufferSize - len(r.body) + 1)
		if n, err = io.Copy(writer, io.LimitReader(source, excess)); err != nil || n < excess {
			return n, err
		}
	} else if r.state == Started {
		if err := r.stream(); err != nil {
			return 0, err
		}
	}
	rest, err := r.copy(source)
	return n + rest, r.note(err)
}

// copy is ReadFrom once the header was written to net/http.
func (r *Response) copy(source io.Reader) (n int64, err error) {
	if section, length := sectionOf(source); section != nil {
		if c := corked(r.exchange.request.Request, length); c != nil {
			defer c.uncork(&err)
			// The header goes ahead, to the cork, or net/http would read 512
			// bytes to guess what they are.
			http.NewResponseController(r.writer).Flush()
		}
	}
	return io.Copy(r.sink, source)
}

// Flush sends what was written so far, and the header before it; from there on
// the response streams, and every Flush passes through filters and compression.
// It does nothing after End and during a WebSocket handshake.
func (r *Response) Flush() error {
	r.live()
	if r.state == Ended || r.handshake {
		return r.fault
	}
	if r.state != Streaming {
		if err := r.stream(); err != nil {
			return err
		}
	}
	for _, stage := range r.stages {
		if flusher, ok := stage.(interface{ Flush() error }); ok {
			if err := flusher.Flush(); err != nil {
				return r.note(err)
			}
		}
	}
	return r.note(http.NewResponseController(r.writer).Flush())
}

// FlushError is Flush, for [http.ResponseController].
func (r *Response) FlushError() error { return r.Flush() }

// Filter has all of the body written through the writer that filter returns,
// which writes to its argument. What is written passes the filters in the order
// in which they were added, then compression; each is closed when the response
// ends, and flushed by Flush if it has a Flush() error. A Content-Length that
// was set is dropped. It panics once the header was sent.
func (r *Response) Filter(filter func(io.Writer) io.WriteCloser) *Response {
	r.live()
	if r.state >= Streaming {
		panic("aerys: Filter after the response's header was sent: add it before calling the next handler")
	}
	r.filters = append(r.filters, filter)
	return r
}

// pipe connects the filters to each other and to w.
func (r *Response) pipe(w io.Writer) {
	r.stages = make([]io.WriteCloser, len(r.filters))
	for i := len(r.filters) - 1; i >= 0; i-- {
		r.stages[i] = r.filters[i](w)
		w = r.stages[i]
	}
	r.sink = w
}

// prepare decides status, header and compression, for a complete body of size
// bytes or one of unknown size (-1). When they cannot be sent, the response has
// ended with a 500.
func (r *Response) prepare(size int) error {
	err := r.fault
	if err == nil {
		err = r.checkHeader()
	}
	if err != nil {
		r.log(slog.LevelError, "aerys: response refused", "error", err)
		r.page(http.StatusInternalServerError, err.Error())
		return err
	}
	if r.status == 0 {
		r.status = http.StatusOK
		if r.exchange.request.input.refused() {
			r.status = http.StatusRequestEntityTooLarge
		}
	}
	header := r.writer.Header()
	if r.options().SendServerToken && header["Server"] == nil {
		header["Server"] = r.defaults.server
	}
	if bodyAllowed(r.status) && (size != 0 || r.isHead() && header["Content-Length"] != nil) {
		r.addContentType(header)
		r.encode(header, size)
	}
	if len(r.filters) > 0 {
		delete(header, "Content-Length")
	}
	return nil
}

// stream sends the header and what was held back.
func (r *Response) stream() error {
	if err := r.prepare(-1); err != nil {
		return err
	}
	return r.begin("")
}

// begin is stream for a response that is prepared, tail being the end of what
// is there so far.
func (r *Response) begin(tail string) error {
	r.writeHeader()
	r.state = Streaming
	r.pipe(r.writer)
	return r.put(r.sink, tail)
}

// put writes what was held back, and tail.
func (r *Response) put(w io.Writer, tail string) (err error) {
	if len(r.body) > 0 {
		_, err = w.Write(r.body)
		r.body = r.body[:0]
	}
	if tail != "" && err == nil {
		_, err = io.WriteString(w, tail)
	}
	return r.note(err)
}

// End completes the response, after writing body if there is one. It leaves
// with its Content-Length if nothing was flushed before, at the latest when the
// handler returns. Ending it again does nothing.
func (r *Response) End(body ...string) {
	r.live()
	tail := ""
	if last := len(body) - 1; last >= 0 {
		for _, s := range body[:last] {
			r.WriteString(s)
		}
		tail = body[last]
	}
	switch {
	case r.state == Ended:
		if tail != "" {
			r.note(ErrEnded)
		}
	case r.handshake:
		r.WriteString(tail)
		r.state = Ended
	case r.state == Streaming:
		r.WriteString(tail)
		r.close()
	default:
		r.complete(tail)
	}
}

// complete sends a response of which nothing was sent: what was held back, and
// tail.
func (r *Response) complete(tail string) {
	size := len(r.body) + len(tail)
	if size > 0 && !bodyAllowed(r.status) {
		r.note(http.ErrBodyNotAllowed)
		r.body, tail, size = r.body[:0], "", 0
	}
	switch {
	case r.prepare(size) != nil:
	case len(r.filters) == 0 || size == 0 && r.isHead():
		r.declare(size)
		r.writeHeader()
		r.state = Ended
		r.putAll(size, tail)
	case size > r.options().OutputBufferSize:
		r.begin(tail)
		r.close()
	default:
		r.completeFiltered(tail)
	}
}

// putAll is put for all of a body. A longer one is flushed, so that it leaves
// with the header in one write.
func (r *Response) putAll(size int, tail string) {
	if size <= computed {
		r.put(r.writer, tail)
		return
	}
	_, err := gather(r.exchange.request.Request, size, func() (int, error) {
		if err := r.put(r.writer, tail); err != nil {
			return 0, err
		}
		return 0, http.NewResponseController(r.writer).Flush()
	})
	r.note(err)
}

// isHead reports whether the request asks for the header only.
func (r *Response) isHead() bool { return r.exchange.request.Method == http.MethodHead }

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// completeFiltered filters a body that is small enough to tell its length.
func (r *Response) completeFiltered(tail string) {
	buffer := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buffer)
	buffer.Reset()
	r.pipe(buffer)
	r.put(r.sink, tail)
	r.close()
	r.checkHeader() // a filter may have added trailers
	r.declare(buffer.Len())
	r.writeHeader()
	_, err := r.writer.Write(buffer.Bytes())
	r.note(err)
}

// declare sets the Content-Length where net/http would not.
func (r *Response) declare(size int) {
	header := r.writer.Header()
	if size > computed && header["Content-Length"] == nil && !r.trailers {
		header["Content-Length"] = []string{strconv.Itoa(size)}
	}
}

// close ends the filters, the first one first, for each may have something
// left for the next.
func (r *Response) close() {
	for _, stage := range r.stages {
		r.note(stage.Close())
	}
	r.state, r.stages = Ended, nil
}
