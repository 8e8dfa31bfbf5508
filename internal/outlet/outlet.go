// Package outlet is the way from a response to the ResponseWriter that it was
// made for, which may be http1's, that of net/http's HTTP/2, or anybody's.
package outlet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"aerys/internal/http1"
	"aerys/internal/loop"
)

// Outlet is the last step of a response. One call at a time passes, and none
// once it is shut: the buffers behind a ResponseWriter of net/http are another
// client's then.
type Outlet struct {
	Writer http.ResponseWriter
	Fields http.Header // what Header returns: the writer's, or one of its own
	Body   *Body       // of the request; nil but for HTTP/1 of a server of net/http's, and HTTP/2
	Tunnel *Tunnel     // that an extended CONNECT asks for; nil for all other requests

	mu     sync.Mutex
	over   bool
	own    bool          // Fields are the outlet's own, and the writer is a server's
	mute   bool          // the body goes nowhere
	ended  error         // of calls once it is over
	buffer *bytes.Buffer // takes the body in the writer's place
	length int64         // of the body, as declared, or -1
	sent   int64         // bytes of the body that the writer took
	pace   *pace         // nil but for HTTP/2
}

// Open readies an outlet to a writer that may be anybody's. Calls fail with ended
// once it is shut.
func (o *Outlet) Open(w http.ResponseWriter, ended error) {
	o.Writer, o.ended, o.length = w, ended, -1
	if _, ok := w.(http1.HeadWriter); !ok {
		o.Fields = w.Header()
	}
}

// Connect tells that the writer is that of a server, which answers r. The header
// that handlers get, and may keep, is then not the server's: that reads its own to
// the end, for trailers. A client of HTTP/2 has to take some of the body in twice
// the while; over HTTP/1 the server sees to that.
func (o *Outlet) Connect(r *http.Request, while time.Duration) {
	o.Fields, o.own = make(http.Header), true
	if r.ProtoMajor != 1 {
		o.pace = &pace{while: while}
	}
}

// enter begins a call, which ends with the unlocking of mu. It reports false
// when the outlet is shut.
func (o *Outlet) enter() bool {
	o.mu.Lock()
	if o.over {
		o.mu.Unlock()
		return false
	}
	return true
}

// Shut waits for the call under way and lets no other pass.
func (o *Outlet) Shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over && o.pace != nil && o.pace.pending > 0 {
		o.pace.expect(o.Writer) // net/http is about to send it
	}
	o.over = true
}

// Header implements http.ResponseWriter.
func (o *Outlet) Header() http.Header {
	if !o.enter() {
		return make(http.Header)
	}
	defer o.mu.Unlock()
	return o.Fields
}

// WriteHeader implements http.ResponseWriter.
func (o *Outlet) WriteHeader(status int) {
	if !o.enter() {
		return
	}
	defer o.mu.Unlock()
	interim := status < 200 && status != http.StatusSwitchingProtocols
	if declared := o.Fields["Content-Length"]; declared != nil && !interim {
		if length, err := strconv.ParseInt(declared[0], 10, 64); err == nil {
			o.length = length
		}
	}
	if writer, ok := o.Writer.(http1.HeadWriter); ok {
		writer.WriteHead(status, o.Fields)
		return
	}
	if !o.own {
		o.Writer.WriteHeader(status)
		return
	}
	o.copyHeader(status, interim)
}

// copyHeader is WriteHeader for a server of net/http's.
func (o *Outlet) copyHeader(status int, interim bool) {
	header := o.Writer.Header()
	closes := header["Connection"]
	maps.Copy(header, o.Fields)
	if closes != nil && status != http.StatusSwitchingProtocols {
		header["Connection"] = closes // it is the server that knows
	}
	o.Writer.WriteHeader(status)
	if interim {
		for name := range o.Fields { // it may be changed before it is sent
			delete(header, name)
		}
		if closes != nil {
			header["Connection"] = closes
		}
	}
}

// SendTrailers has net/http find the trailers (RFC 9110 §6.5) in its header.
func (o *Outlet) SendTrailers() {
	if !o.enter() {
		return
	}
	defer o.mu.Unlock()
	if o.own {
		maps.Copy(o.Writer.Header(), o.Fields)
	}
}

// Write implements io.Writer.
func (o *Outlet) Write(p []byte) (int, error) { return pass(o, p, o.Writer.Write) }

// WriteString implements io.StringWriter.
func (o *Outlet) WriteString(s string) (int, error) {
	return pass(o, s, func(s string) (int, error) { return io.WriteString(o.Writer, s) })
}

// pass writes to the buffer, or to the writer in pieces that a client has to
// take in time.
func pass[T string | []byte](o *Outlet, p T, write func(T) (int, error)) (n int, err error) {
	if !o.enter() {
		return 0, o.ended
	}
	defer o.mu.Unlock()
	if o.buffer != nil {
		return o.buffer.Write([]byte(p))
	}
	if o.mute {
		return len(p), nil
	}
	if o.pace != nil {
		defer o.pace.rest(o.Writer)
	}
	for {
		piece := p[n:]
		if o.pace != nil {
			piece = piece[:min(len(piece), pieceSize)]
			o.pace.begin(o.Writer, len(piece))
		}
		some, err := write(piece)
		n += some
		o.sent += int64(some)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// Hold has what is written go to a buffer; nil ends that.
func (o *Outlet) Hold(buffer *bytes.Buffer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buffer = buffer
}

// Mute has what is written go nowhere, if the writer is a server's: another may count it.
func (o *Outlet) Mute() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mute = o.own
}

// Gather calls what may write in pieces, which have one deadline over HTTP/2.
func (o *Outlet) Gather(call func()) {
	if o.pace != nil && o.enter() {
		o.pace.depth++
		o.mu.Unlock()
		defer o.end()
	}
	call()
}

func (o *Outlet) end() {
	if o.enter() {
		defer o.mu.Unlock()
		o.pace.depth--
		o.pace.rest(o.Writer)
	}
}

// SendFile sends a part of a file: by the kernel, where it can. What exceeds the
// Content-Length is left out, and http.ErrContentLength, as with Write.
func (o *Outlet) SendFile(p *loop.FilePart) (n int64, err error) {
	reader, ok := o.Writer.(io.ReaderFrom)
	if !ok {
		o.Gather(func() { n, err = p.CopyTo(o.Write) })
		return n, err
	}
	if !o.enter() {
		return 0, o.ended
	}
	defer o.mu.Unlock()
	excess := o.length >= 0 && p.Length > o.length-o.sent
	if excess {
		p.Length, p.More = max(0, o.length-o.sent), false
	}
	if o.own {
		n, err = reader.ReadFrom(p)
	} else {
		source := p.Source()
		n, err = reader.ReadFrom(source)
		loop.Advance(source, -n) // a file is where it was, as it is behind p
		p.Skip(n)
	}
	if o.sent += n; err == nil && excess && p.GoesOn() {
		err = http.ErrContentLength
	}
	return n, err
}

// Flush implements http.Flusher.
func (o *Outlet) Flush() { o.FlushError() }

// FlushError is Flush for http.ResponseController.
func (o *Outlet) FlushError() error {
	if !o.enter() {
		return o.ended
	}
	defer o.mu.Unlock()
	if o.pace != nil && o.pace.pending > 0 {
		o.pace.expect(o.Writer)
		o.pace.pending = 0
		defer o.pace.rest(o.Writer)
	}
	if err := http.NewResponseController(o.Writer).Flush(); !o.mute {
		return err
	}
	return nil // all has been sent by the first one
}

// Hijack implements http.Hijacker.
func (o *Outlet) Hijack() (conn net.Conn, buffered *bufio.ReadWriter, err error) {
	err = o.control(func(c *http.ResponseController) error {
		conn, buffered, err = c.Hijack()
		return err
	})
	return conn, buffered, err
}

// Detach is Hijack for another protocol. A connection of a loop stays one.
func (o *Outlet) Detach() (http1.Detached, error) {
	detacher, ok := o.Writer.(http1.Detacher)
	if (ok || o.Tunnel != nil) && o.enter() {
		defer o.mu.Unlock()
		if ok {
			return detacher.Detach()
		}
		return o.Tunnel.accept(o.Fields)
	}
	conn, buffered, err := o.Hijack()
	if detacher = detacherBehind(o.Writer); errors.Is(err, http.ErrNotSupported) && detacher != nil {
		return detacher.Detach() // a middleware is in front of a tunnel
	}
	if err != nil {
		return http1.Detached{}, err
	}
	waiting, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	return http1.Detached{Conn: conn, Early: append([]byte(nil), waiting...)}, nil
}

// Push implements http.Pusher.
func (o *Outlet) Push(target string, options *http.PushOptions) error {
	return o.control(func(*http.ResponseController) error {
		if pusher, ok := o.Writer.(http.Pusher); ok {
			return pusher.Push(target, options)
		}
		return http.ErrNotSupported
	})
}

// SetReadDeadline is for http.ResponseController.
func (o *Outlet) SetReadDeadline(t time.Time) error {
	return o.control(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController. The client's progress is the
// handler's business then.
func (o *Outlet) SetWriteDeadline(t time.Time) error {
	return o.control(func(c *http.ResponseController) error {
		if o.pace != nil {
			o.pace.while = 0
		}
		return c.SetWriteDeadline(t)
	})
}

// EnableFullDuplex is for http.ResponseController.
func (o *Outlet) EnableFullDuplex() error {
	if o.Body != nil {
		o.Body.duplex.Store(true)
	}
	return o.control((*http.ResponseController).EnableFullDuplex)
}

func (o *Outlet) control(call func(*http.ResponseController) error) error {
	if !o.enter() {
		return o.ended
	}
	defer o.mu.Unlock()
	return call(http.NewResponseController(o.Writer))
}
