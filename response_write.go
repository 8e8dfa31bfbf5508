package aerys

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	n, err := r.pass(on)
	r.written += int64(n)
	return n, err
}

// hold keeps p back, or starts to stream when there is too much of it.
func hold[T string | []byte](r *Response, p T) (held bool, err error) {
	if err := r.admit(len(p)); err != nil || r.state == Streaming {
		return false, err
	}
	if r.handshake || len(r.body)+len(p) <= r.options().OutputBufferSize {
		r.body = append(r.body, p...)
		r.written += int64(len(p))
		return true, nil
	}
	sniff(r, p)
	return false, r.stream()
}

// sniffed is how much of a body http.DetectContentType looks at.
const sniffed = 512

// sniffs reports whether a Content-Type is to be found in the body, as net/http's
// handlers expect.
func (r *Response) sniffs() bool {
	if !r.foreign {
		return false
	}
	_, typed := r.out.Fields["Content-Type"]
	return !typed && r.out.Fields.Get("Content-Encoding") == ""
}

// sniff finds the Content-Type of a body that begins with what is held back, and
// p.
func sniff[T string | []byte](r *Response, p T) {
	if !r.sniffs() {
		return
	}
	head := r.body[:min(len(r.body), sniffed):min(len(r.body), sniffed)]
	if head = append(head, p[:min(len(p), sniffed-len(head))]...); len(head) > 0 {
		r.out.Fields["Content-Type"] = r.values(http.DetectContentType(head))
	}
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
		r.begun()
		return r.fault
	case n > 0 && r.handshake && r.status == http.StatusSwitchingProtocols:
		return r.refuse(ErrHandshakeBody)
	case n > 0 && !bodyAllowed(r.status):
		return r.note(http.ErrBodyNotAllowed)
	}
	r.begun()
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
// [http.ErrNotSupported], which is not what Err returns. A library that looks for
// an [http.Flusher] finds one where its http.Handler is an action of its own.
func (r *Response) Flush() error {
	if !r.enter() {
		return ErrEnded
	}
	defer r.leave()
	if r.state == Ended || r.handshake {
		return r.fault
	}
	if r.state != Streaming {
		r.begun()
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
	if r.out.Tunnel != nil && r.status < 300 && err == nil { // a browser would take it for an open WebSocket
		err = r.refuse(errNoTunnel())
	}
	if err != nil {
		r.outside(func() {
			r.failRefused()
			r.End()
		})
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
	sniff(r, "")
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
	if r.isHead() && r.exchange.request.ProtoMajor > 1 { // net/http ends the stream behind the header, and would fail
		r.out.Mute()
	}
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
			r.written += int64(len(tail))
		}
		r.close()
	default:
		r.complete(tail)
	}
}

// complete sends a response of which nothing was sent: what was held back, and
// tail.
func (r *Response) complete(tail string) {
	r.begun()
	r.written += int64(len(tail))
	sniff(r, tail)
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
	if r.enter() {
		defer r.leave()
		if r.written += rest; err != nil {
			r.note(err)
		}
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
	if r.out.Fields["Content-Length"] == nil || r.sniffs() {
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

// JSON answers with v as JSON, with Content-Type: application/json unless another
// is set, and ends the response. What cannot be encoded is a 500, by way of Fail.
func (r *Response) JSON(v any) *Response {
	text, err := json.Marshal(v)
	if err != nil {
		return r.Fail(fmt.Errorf("aerys: Response.JSON(%T): %w", v, err))
	}
	if r.enter() {
		defer r.leave()
		if r.out.Fields["Content-Type"] == nil {
			r.out.Fields["Content-Type"] = r.values("application/json")
		}
		r.end(string(append(text, '\n')))
	}
	return r
}

// dropRepresentation deletes the fields that describe a body other than the one
// that is sent, and those that cannot be sent; but Content-Encoding, if that is a
// middleware's.
func dropRepresentation(header http.Header, coded bool) {
	maps.DeleteFunc(header, func(name string, values []string) bool {
		switch {
		case slices.Contains([]string{"Etag", "Last-Modified", "Cache-Control", "Expires", "Accept-Ranges", "Trailer"}, name):
			return true
		case name == "Content-Range" && len(values) == 1 && strings.HasPrefix(values[0], "bytes */"):
			return false // it is of a 416, and of no body (RFC 9110 §14.4)
		}
		described := strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") && !(coded && name == "Content-Encoding")
		return described || !field.IsToken(name) ||
			slices.ContainsFunc(values, func(value string) bool { return !field.ValidValue(value) })
	})
}
