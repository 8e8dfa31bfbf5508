package aerys

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"aerys/internal/field"
	"aerys/internal/http1"
	"aerys/internal/loop"
	"aerys/internal/page"
)

// outlet is the last step of a Response to the ResponseWriter that it was made
// for. One call at a time passes, and none once the handler has returned: the
// buffers behind a ResponseWriter of net/http are another client's then.
type outlet struct {
	mu     sync.Mutex
	over   bool
	writer http.ResponseWriter
	header http.Header   // what Header returns: the writer's, or one of its own
	own    bool          // it is one of its own, and the writer a server's
	buffer *bytes.Buffer // takes the body in the writer's place
	length int64         // of the body, as declared, or -1
	sent   int64         // bytes of the body that the writer took

	pace    *pace        // nil but for HTTP/2
	mounted *mountedBody // nil but for HTTP/1 of a server of net/http's
}

// open readies an outlet to a writer that may be anybody's.
func (o *outlet) open(w http.ResponseWriter) {
	o.writer, o.length = w, -1
	if _, ok := w.(http1.HeadWriter); !ok {
		o.header = w.Header()
	}
}

// connect tells that the writer is that of a server, which answers r. The header
// that handlers get, and may keep, is then not the server's: that reads its own to
// the end, for trailers.
func (o *outlet) connect(options *Options, r *http.Request) {
	o.header, o.own = make(http.Header), true
	if r.ProtoMajor != 1 {
		o.pace = &pace{while: patience * options.ConnectionTimeout}
	}
}

// enter begins a call, which ends with the unlocking of mu. It reports false
// when the handler has returned.
func (o *outlet) enter() bool {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return false
	}
	return true
}

// shut waits for the call under way and lets no other pass.
func (o *outlet) shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	if o.pace != nil && o.pace.pending > 0 {
		o.pace.expect(o.writer) // net/http is about to send it
	}
	o.over = true
}

// Header implements http.ResponseWriter.
func (o *outlet) Header() http.Header {
	if !o.enter() {
		return make(http.Header)
	}
	defer o.mu.Unlock()
	return o.header
}

// WriteHeader implements http.ResponseWriter.
func (o *outlet) WriteHeader(status int) {
	if !o.enter() {
		return
	}
	defer o.mu.Unlock()
	interim := status < 200 && status != http.StatusSwitchingProtocols
	if !interim {
		if declared := o.header["Content-Length"]; declared != nil {
			if length, err := strconv.ParseInt(declared[0], 10, 64); err == nil {
				o.length = length
			}
		}
	}
	if writer, ok := o.writer.(http1.HeadWriter); ok {
		writer.WriteHead(status, o.header)
		return
	}
	if !o.own {
		o.writer.WriteHeader(status)
		return
	}
	o.copyHeader(status, interim)
}

// copyHeader is WriteHeader for a server of net/http's.
func (o *outlet) copyHeader(status int, interim bool) {
	header := o.writer.Header()
	closes := header["Connection"]
	maps.Copy(header, o.header)
	if closes != nil && status != http.StatusSwitchingProtocols {
		header["Connection"] = closes // it is the server that knows
	}
	o.writer.WriteHeader(status)
	if interim {
		for name := range o.header { // it may be changed before it is sent
			delete(header, name)
		}
		if closes != nil {
			header["Connection"] = closes
		}
	}
}

// sendTrailers has net/http find the trailers (RFC 9110 §6.5) in its header.
func (o *outlet) sendTrailers() {
	if !o.enter() {
		return
	}
	defer o.mu.Unlock()
	if o.own {
		maps.Copy(o.writer.Header(), o.header)
	}
}

// Write implements io.Writer.
func (o *outlet) Write(p []byte) (int, error) { return pass(o, p, o.writer.Write) }

// WriteString implements io.StringWriter.
func (o *outlet) WriteString(s string) (int, error) {
	return pass(o, s, func(s string) (int, error) { return io.WriteString(o.writer, s) })
}

// pass writes to the buffer, or to the writer in pieces that a client has to
// take in time.
func pass[T string | []byte](o *outlet, p T, write func(T) (int, error)) (n int, err error) {
	if !o.enter() {
		return 0, ErrEnded
	}
	defer o.mu.Unlock()
	if o.buffer != nil {
		return o.buffer.Write([]byte(p))
	}
	if o.pace != nil {
		defer o.pace.rest(o.writer)
	}
	for {
		piece := p[n:]
		if o.pace != nil {
			piece = piece[:min(len(piece), pieceSize)]
			o.pace.begin(o.writer, len(piece))
		}
		some, err := write(piece)
		n += some
		o.sent += int64(some)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// hold has what is written go to a buffer; nil ends that.
func (o *outlet) hold(buffer *bytes.Buffer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buffer = buffer
}

// gather calls write, whose pieces have one deadline over HTTP/2.
func (o *outlet) gather(write func() (int, error)) (n int, err error) {
	if o.begin() {
		defer o.end()
	}
	return write()
}

// begin begins to gather, and reports whether end is to end that.
func (o *outlet) begin() bool {
	if o.pace == nil || !o.enter() {
		return false
	}
	defer o.mu.Unlock()
	o.pace.depth++
	return true
}

func (o *outlet) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.pace.depth--
		o.pace.rest(o.writer)
	}
}

// sendFile sends a part of a file: by the kernel, where it can. What exceeds the
// Content-Length is left out, and http.ErrContentLength, as with Write.
func (o *outlet) sendFile(p *loop.FilePart) (n int64, err error) {
	reader, ok := o.writer.(io.ReaderFrom)
	if !ok {
		if o.begin() {
			defer o.end()
		}
		return p.CopyTo(o.Write)
	}
	if !o.enter() {
		return 0, ErrEnded
	}
	defer o.mu.Unlock()
	excess := o.length >= 0 && p.Length > o.length-o.sent
	if excess {
		p.Length, p.More = max(0, o.length-o.sent), false
	}
	if o.own {
		n, err = reader.ReadFrom(p)
	} else {
		n, err = reader.ReadFrom(p.Source())
		p.Skip(n)
	}
	if o.sent += n; err == nil && excess && p.GoesOn() {
		err = http.ErrContentLength
	}
	return n, err
}

// Flush implements http.Flusher.
func (o *outlet) Flush() { o.FlushError() }

// FlushError is Flush for http.ResponseController.
func (o *outlet) FlushError() error {
	if !o.enter() {
		return ErrEnded
	}
	defer o.mu.Unlock()
	return o.flush()
}

func (o *outlet) flush() error {
	if o.pace != nil && o.pace.pending > 0 {
		o.pace.expect(o.writer)
		o.pace.pending = 0
		defer o.pace.rest(o.writer)
	}
	return http.NewResponseController(o.writer).Flush()
}

// Hijack implements http.Hijacker.
func (o *outlet) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !o.enter() {
		return nil, nil, ErrEnded
	}
	defer o.mu.Unlock()
	return http.NewResponseController(o.writer).Hijack()
}

// Push implements http.Pusher.
func (o *outlet) Push(target string, options *http.PushOptions) error {
	if !o.enter() {
		return ErrEnded
	}
	defer o.mu.Unlock()
	if pusher, ok := o.writer.(http.Pusher); ok {
		return pusher.Push(target, options)
	}
	return http.ErrNotSupported
}

// SetReadDeadline is for http.ResponseController.
func (o *outlet) SetReadDeadline(t time.Time) error {
	return o.control(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController. The client's progress is the
// handler's business then.
func (o *outlet) SetWriteDeadline(t time.Time) error {
	return o.control(func(c *http.ResponseController) error {
		if o.pace != nil {
			o.pace.while = 0
		}
		return c.SetWriteDeadline(t)
	})
}

// EnableFullDuplex is for http.ResponseController.
func (o *outlet) EnableFullDuplex() error {
	if o.mounted != nil {
		o.mounted.duplex.Store(true)
	}
	return o.control((*http.ResponseController).EnableFullDuplex)
}

func (o *outlet) control(call func(*http.ResponseController) error) error {
	if !o.enter() {
		return ErrEnded
	}
	defer o.mu.Unlock()
	return call(http.NewResponseController(o.writer))
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
		r.out.sendTrailers()
	}
}

// close makes the response one that is over, and whose writer is another's.
func (x *exchange) close() {
	r := &x.response
	r.mu.Lock()
	r.over, r.state = true, Ended
	r.body, r.filters, r.stages, r.sink = nil, nil, nil, nil
	r.mu.Unlock()
	r.out.shut()
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
	dropRepresentation(r.out.header)
	r.out.hold(nil)
	r.body, r.filters, r.stages, r.fault = nil, nil, nil, nil
	r.status = status
	r.out.header["Content-Type"] = r.values(page.Type)
	r.complete(page.Error(status, detail))
}

// dropRepresentation deletes the fields that describe a body other than the one
// that is sent, and those that cannot be sent.
func dropRepresentation(header http.Header) {
	for name, values := range header {
		switch name {
		case "Etag", "Last-Modified", "Cache-Control", "Expires", "Accept-Ranges", "Trailer":
			delete(header, name)
		}
		if strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") || !field.IsToken(name) {
			delete(header, name)
		}
		for _, value := range values {
			if !field.ValidValue(value) {
				delete(header, name)
			}
		}
	}
}
