package aerys

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"aerys/internal/compress"
	"aerys/internal/field"
	"aerys/internal/loop"
	"aerys/internal/outlet"
	"aerys/internal/page"
)

// computed is up to where net/http finds the Content-Length of a complete
// response itself, at no cost.
const computed = 2048

// Write writes to the body. It fails with ErrEnded after End, with
// [http.ErrBodyNotAllowed] for a status that has no body, with
// ErrInvalidHeader when the response has become a 500 for that, and with the
// connection's error once it streams.
func (r *Response) Write(p []byte) (int, error) {
	return write(r, p, func(w io.Writer) (int, error) { return w.Write(p) })
}

// WriteString is Write for a string.
func (r *Response) WriteString(s string) (int, error) {
	return write(r, s, func(w io.Writer) (int, error) { return io.WriteString(w, s) })
}

func write[T string | []byte](r *Response, p T, on func(io.Writer) (int, error)) (int, error) {
	if !r.enter() {
		return 0, ErrEnded
	}
	defer r.leave()
	held, err := hold(r, p)
	switch {
	case err != nil:
		return 0, err
	case held:
		return len(p), nil
	}
	return r.pass(on)
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

// pass writes to the sink.
func (r *Response) pass(on func(io.Writer) (int, error)) (n int, err error) {
	sink := r.sink
	r.outside(func() { n, err = on(sink) })
	return n, r.note(err)
}

// admit starts the response for n bytes of body, or says why it cannot.
func (r *Response) admit(n int) error {
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

// Flush sends what was written so far, and the header before it; from there on
// the response streams, and every Flush passes through filters and compression.
// It does nothing after End and during a WebSocket handshake. Where there is no
// flushing, such as within [http.TimeoutHandler], it returns
// [http.ErrNotSupported], which is not what Err returns.
func (r *Response) Flush() error {
	if !r.enter() {
		return ErrEnded
	}
	defer r.leave()
	if r.state == Ended || r.handshake {
		return r.fault
	}
	if r.state != Streaming {
		if err := r.stream(); err != nil {
			return err
		}
	}
	stages := r.stages
	var err error
	r.outside(func() { err = flush(stages, &r.out) })
	return r.note(err)
}

// flush flushes the filters, the first one first, and what is behind them.
func flush(stages []io.WriteCloser, out *outlet.Outlet) error {
	for _, stage := range stages {
		if flusher, ok := stage.(interface{ Flush() error }); ok {
			if err := flusher.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
				return err
			}
		}
	}
	return out.FlushError()
}

// FlushError is Flush, for [http.ResponseController].
func (r *Response) FlushError() error { return r.Flush() }

// Filter has all of the body written through the writer that filter returns,
// which writes to its argument. What is written passes the filters in the order
// in which they were added, then compression; each is closed when the response
// ends, and flushed by Flush if it has a Flush() error. A Content-Length that
// was set is dropped. It panics once the header was sent.
func (r *Response) Filter(filter func(io.Writer) io.WriteCloser) *Response {
	if !r.enter() {
		return r
	}
	defer r.leave()
	if r.state >= Streaming {
		panic("aerys: Filter after the response's header was sent: add it before calling the next handler")
	}
	r.filters = append(r.filters, filter)
	return r
}

// pipe connects the filters to each other and to the outlet.
func (r *Response) pipe() {
	r.sink = &r.out
	for i := len(r.filters) - 1; i >= 0; i-- {
		var stage io.WriteCloser
		r.outside(func() { stage = r.filters[i](r.sink) })
		r.stages = slices.Insert(r.stages, 0, stage)
		r.sink = stage
	}
}

// compressed is the filter that compresses. Filters may hold what it returns, and use
// it later and more than once.
func compressed(w io.Writer) io.WriteCloser { return compress.NewWriter(w, ErrEnded) }

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
		r.sendPage(http.StatusInternalServerError, err.Error())
		return err
	}
	if r.status == 0 {
		r.status = http.StatusOK
		if r.exchange.request.input.refused() {
			r.status = http.StatusRequestEntityTooLarge
		}
	}
	header := r.out.Fields
	if r.options().SendServerToken && header["Server"] == nil {
		header["Server"] = r.values("aerys")
	}
	if bodyAllowed(r.status) && (size != 0 || r.isHead() && header["Content-Length"] != nil) {
		r.addContentType(header)
		if !r.options().DisableCompression && compress.Begin(header, r.status, size, r.exchange.request.Header["Accept-Encoding"]) {
			r.filters = append(r.filters, compressed)
		}
	}
	if len(r.filters) > 0 {
		delete(header, "Content-Length")
	}
	if r.exchange.request.ProtoMajor == 1 && (r.exchange.request.input.refused() || r.out.Body.IsLast(size >= 0)) {
		header["Connection"] = []string{"close"} // nobody reads the rest
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
	r.state, r.streamed = Streaming, true
	r.pipe()
	return r.put(tail)
}

// put writes what was held back, and tail, to the sink.
func (r *Response) put(tail string) error {
	body := r.body
	r.body = nil
	if len(body)+len(tail) == 0 {
		return nil
	}
	_, err := r.pass(func(w io.Writer) (int, error) { return putOn(w, body, tail) })
	return err
}

func putOn(w io.Writer, body []byte, tail string) (n int, err error) {
	if len(body) > 0 {
		n, err = w.Write(body)
	}
	if tail != "" && err == nil {
		_, err = io.WriteString(w, tail)
	}
	return n, err
}

// End completes the response, after writing body if there is one. It leaves
// with its Content-Length if nothing was flushed before, at the latest when the
// handler returns. Ending it again does nothing.
func (r *Response) End(body ...string) {
	tail := ""
	if last := len(body) - 1; last >= 0 {
		for _, s := range body[:last] {
			r.WriteString(s)
		}
		tail = body[last]
	}
	if r.enter() {
		defer r.leave()
		r.end(tail)
	}
}

func (r *Response) end(tail string) {
	switch {
	case r.state == Ended:
		if tail != "" {
			r.note(ErrEnded)
		}
	case r.handshake:
		hold(r, tail)
		r.state = Ended
	case r.state == Streaming:
		if tail != "" && r.admit(len(tail)) == nil {
			r.put(tail)
		}
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
		r.body, tail, size = nil, "", 0
	}
	switch {
	case r.prepare(size) != nil:
	case len(r.filters) == 0 || size == 0 && r.isHead():
		r.declare(size)
		r.writeHeader()
		r.state = Ended
		r.sink = &r.out
		r.put(tail)
	case size > r.options().OutputBufferSize:
		r.begin(tail)
		r.close()
	default:
		r.completeFiltered(tail)
	}
}

// isHead reports whether the request asks for the header only.
func (r *Response) isHead() bool { return r.exchange.request.Method == http.MethodHead }

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// completeFiltered filters a body that is small enough to tell its length.
func (r *Response) completeFiltered(tail string) {
	buffer := buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	r.out.Hold(buffer)
	r.pipe()
	r.put(tail)
	r.close()
	r.out.Hold(nil)
	r.checkHeader() // a filter may have added trailers
	r.declare(buffer.Len())
	r.writeHeader()
	_, err := r.out.Write(buffer.Bytes())
	r.note(err)
	buffers.Put(buffer)
}

// declare sets the Content-Length where net/http would not.
func (r *Response) declare(size int) {
	header := r.out.Fields
	if size > computed && header["Content-Length"] == nil && !r.trailers {
		header["Content-Length"] = r.values(strconv.Itoa(size))
	}
}

// close ends the filters, the first one first, for each may have something
// left for the next.
func (r *Response) close() {
	stages := r.stages
	r.state, r.stages = Ended, nil
	if len(stages) == 0 {
		return
	}
	var err error
	r.outside(func() {
		for _, stage := range stages {
			err = cmp.Or(err, stage.Close())
		}
	})
	r.note(err)
}

// ReadFrom writes what source has to the body. On Linux an *os.File, or an
// *io.SectionReader of one, whose file may be shared by many responses, is sent
// by the kernel, unless it is filtered or compressed: if its Content-Length is
// set, or it exceeds OutputBufferSize. The file may be closed meanwhile; what was
// not sent yet is an error then. Of an *io.LimitedReader of such a section, the
// end may leave with what is written next.
func (r *Response) ReadFrom(source io.Reader) (n int64, err error) {
	writer := struct{ io.Writer }{r}
	excess, err := r.readsAhead()
	if err != nil {
		return 0, err
	}
	part, ok := loop.PartOf(source)
	if ok && excess > 0 {
		if n, err = io.Copy(writer, io.LimitReader(source, excess)); err != nil || n < excess {
			return n, err
		}
		part, ok = loop.PartOf(source)
	}
	if !ok || !r.sendsFiles() {
		rest, err := io.Copy(writer, source)
		return n + rest, err
	}
	rest, err := r.out.SendFile(&part)
	loop.Advance(source, rest)
	if err != nil && r.enter() {
		defer r.leave()
		r.note(err)
	}
	return n + rest, err
}

// readsAhead starts the response, and tells how much of a file is to be held
// back before the rest is streamed. The header is sent if that is nothing.
func (r *Response) readsAhead() (excess int64, err error) {
	if !r.enter() {
		return 0, ErrEnded
	}
	defer r.leave()
	if err := r.admit(0); err != nil || r.state != Started || r.handshake || !bodyAllowed(r.status) {
		return 0, err
	}
	if r.out.Fields["Content-Length"] == nil {
		return int64(r.options().OutputBufferSize - len(r.body) + 1), nil
	}
	return 0, r.stream()
}

// sendsFiles reports whether files need not be read for the body.
func (r *Response) sendsFiles() bool {
	if !r.enter() {
		return false
	}
	defer r.leave()
	return r.state == Streaming && r.sink == io.Writer(&r.out) && bodyAllowed(r.status)
}

// finish completes what the actions left: a started response is ended, a status
// that was set is sent with an empty body, a body that was too large is
// answered with 413, and all else with 404.
func (x *exchange) finish() {
	r := &x.response
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state == Ended:
	case r.state != None || r.status != 0 || r.fault != nil:
		r.end("")
	case x.request.input.refused():
		r.sendPage(http.StatusRequestEntityTooLarge, "")
	default:
		r.sendPage(http.StatusNotFound, "")
	}
	if r.streamed || r.trailers {
		r.out.SendTrailers()
	}
}

// close makes the response one that is over, and whose writer is another's.
func (x *exchange) close() {
	r := &x.response
	r.mu.Lock()
	r.over, r.state = true, Ended
	r.body, r.filters, r.stages, r.sink = nil, nil, nil, nil
	r.mu.Unlock()
	r.out.Shut()
}

// fail answers 500 for a panic, which it shows in debug mode. It reports false
// when some of the response is on the wire: the connection is then to be
// aborted, so that the client does not take it for complete.
func (x *exchange) fail(cause any, stack []byte) bool {
	r := &x.response
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handshake {
		r.handshake, r.state = false, Started
	}
	if r.state == Started || r.state == None {
		r.sendPage(http.StatusInternalServerError, fmt.Sprintf("%v\n\n%s", cause, stack))
	}
	return r.state == Ended
}

// page sends a page about status in the place of whatever was held back.
func (r *Response) page(status int) {
	if r.enter() {
		defer r.leave()
		r.sendPage(status, "")
	}
}

// sendPage is page with detail in debug mode.
func (r *Response) sendPage(status int, detail string) {
	if !r.options().Debug {
		detail = ""
	}
	dropRepresentation(r.out.Fields)
	r.out.Hold(nil)
	r.body, r.filters, r.stages, r.fault = nil, nil, nil, nil
	r.status = status
	r.out.Fields["Content-Type"] = r.values(page.Type)
	r.complete(page.Error(status, detail))
}

// dropRepresentation deletes the fields that describe a body other than the one
// that is sent, and those that cannot be sent.
func dropRepresentation(header http.Header) {
	maps.DeleteFunc(header, func(name string, values []string) bool {
		switch name {
		case "Etag", "Last-Modified", "Cache-Control", "Expires", "Accept-Ranges", "Trailer":
			return true
		}
		return strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") || !field.IsToken(name) ||
			slices.ContainsFunc(values, func(value string) bool { return !field.ValidValue(value) })
	})
}
