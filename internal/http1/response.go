package http1

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrHandlerReturned is what a response or a deadline gets once the handler has
// returned: the connection is no longer its own.
var ErrHandlerReturned = errors.New("http1: the handler has returned: its response is complete")

// gatherSize is how much of a response is kept until its head is decided: a
// complete one that is no larger gets a Content-Length. It is net/http's.
const gatherSize = 2048

var gatherers = sync.Pool{New: func() any { return new([gatherSize]byte) }}

// response is one exchange: the http.ResponseWriter, and with it the request's
// context and body, in one allocation that is never used again. So what a
// handler keeps and uses too late is its own response, which is over.
//
// What it says about the connection is gathered in facts. Its bytes go to the
// connection's output, whose lock guards what is here.
type response struct {
	conn    *Conn
	active  *active // of conn, until over
	request *http.Request
	context requestContext
	body    body
	method  string // the request may be changed by the handler
	old     bool   // HTTP/1.0

	unexpected bool // Expect asks for something unknown: 417

	header     http.Header // made when asked for
	status     int         // 0 until WriteHeader
	headLeft   bool        // it is decided; before that, its beginning is behind output.ready
	done       bool        // the handler has returned
	fullDuplex bool
	fields     fields
	trailers   []string // announced
	length     int64    // by Content-Length, or -1
	written    int64
	gathered   int // bytes in gather
	gather     *[gatherSize]byte
	facts      fact

	watched bool     // somebody wants to know of the client's leaving; Conn.life guards it, and the next
	allRead bool     // the body is at its end, nothing behind it was read
	over    bool     // guarded by life and by output.mu: set under both
	local   net.Addr // of a connection that was taken over; life guards it
}

// localAddr is where the client has connected to.
func (w *response) localAddr() net.Addr {
	w.conn.life.Lock()
	local := w.local
	w.conn.life.Unlock()
	if local == nil {
		local = w.conn.transport.LocalAddr()
	}
	return local
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// usable reports why nothing may be written any more. output.mu is held.
func (w *response) usable() error {
	switch {
	case w.facts&takenOver != 0:
		return http.ErrHijacked
	case w.over:
		return ErrHandlerReturned
	}
	return nil
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if mistake := w.setStatus(status); mistake != "" { // no lock is held: it may be another connection's by now
		w.conn.server.ErrorLog.Printf("http: %s from %s", mistake, caller())
	}
}

// setStatus is WriteHeader. It returns what was wrong with calling it.
func (w *response) setStatus(status int) (mistake string) {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	switch {
	case w.facts&takenOver != 0:
		return "response.WriteHeader on hijacked connection"
	case w.over:
		return "response.WriteHeader after the handler has returned,"
	case w.status != 0:
		return "superfluous response.WriteHeader call"
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status < 101 || status > 199 {
		w.body.mayInvite.Store(false)
	}
	if status <= 199 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return ""
	}
	w.beginHead(status)
	return ""
}

// WriteHead is WriteHeader with fields that are not those of Header.
func (w *response) WriteHead(status int, header http.Header) {
	own := w.header
	w.header = header
	defer func() { w.header = own }()
	w.WriteHeader(status)
}

// caller is the place outside of this package that has called.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !more || !strings.Contains(frame.Function, "/http1.(") {
			return fmt.Sprintf("%s (%s:%d)", frame.Function, path.Base(frame.File), frame.Line)
		}
	}
}

// inform sends an interim response (RFC 9110 §15.2), which HTTP/1.0 does not
// know. output.mu is held.
func (w *response) inform(status int) {
	if w.old {
		return
	}
	c := w.conn
	c.out = appendStatus(c.room(), false, status)
	for _, field := range inOrder(nil, w.header) {
		if field.name != "Content-Length" && field.name != "Transfer-Encoding" && isToken(field.name) {
			c.out = field.append(c.out)
		}
	}
	c.appendEnd("\r\n")
	c.flushReady()
}

// invite sends 100 Continue, if nothing else was sent.
func (w *response) invite() {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if w.body.mayInvite.Swap(false) && w.status == 0 && w.usable() == nil {
		w.conn.appendEnd("HTTP/1.1 100 Continue\r\n\r\n")
		w.conn.flushReady()
	}
}

// Write implements io.Writer.
func (w *response) Write(p []byte) (int, error) {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.admit(len(p)); err != nil || len(p) == 0 {
		return 0, err
	}
	return w.write(p)
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (n int, err error) {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.admit(len(s)); err != nil || s == "" {
		return 0, err
	}
	if w.gathers(len(s)) {
		w.gathered += copy(w.gather[w.gathered:], s)
		return len(s), nil
	}
	piece := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(piece)
	for n < len(s) && err == nil {
		m := copy(piece[:], s[n:])
		_, err = w.write(piece[:m])
		n += m
	}
	return n, err
}

// admit begins the response, and reports whether n more bytes may be written.
// output.mu is held.
func (w *response) admit(n int) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.status == 0 {
		w.body.mayInvite.Store(false)
		w.beginHead(http.StatusOK)
	}
	switch {
	case n == 0:
		return nil
	case !bodyAllowed(w.status):
		return http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.length >= 0 && w.written > w.length {
		return http.ErrContentLength
	}
	return nil
}

// gathers reports whether n bytes are kept until more is known. output.mu is
// held.
func (w *response) gathers(n int) bool {
	if w.headLeft && !w.fields.chunked || w.gathered+n > gatherSize {
		return false
	}
	if w.gather == nil {
		w.gather = gatherers.Get().(*[gatherSize]byte)
	}
	return true
}

// write takes what admit has admitted. output.mu is held.
func (w *response) write(p []byte) (int, error) {
	n := len(p)
	for !w.gathers(len(p)) {
		if w.gathered == 0 {
			if !w.headLeft {
				w.endHead(p)
			}
			return n, w.sendBody(p)
		}
		m := copy(w.gather[w.gathered:], p)
		w.gathered, p = w.gathered+m, p[m:]
		if err := w.pass(); err != nil {
			return m, err
		}
	}
	w.gathered += copy(w.gather[w.gathered:], p)
	return n, nil
}

// pass decides the head and passes on what was gathered. output.mu is held.
func (w *response) pass() error {
	p := w.gather[:w.gathered:w.gathered]
	if !w.headLeft {
		w.endHead(p)
	}
	w.gathered = 0
	err := w.sendBody(p)
	if !w.fields.chunked {
		w.ungather()
	}
	return err
}

// ungather gives the buffer back. output.mu is held.
func (w *response) ungather() {
	if w.gather != nil {
		gatherers.Put(w.gather)
		w.gather, w.gathered = nil, 0
	}
}

// Flush implements http.Flusher.
func (w *response) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.admit(0); err != nil {
		return err
	}
	if err := w.flushBody(); err != nil {
		return err
	}
	return w.conn.flushReady()
}

// flushBody passes on what there is, if only the head. output.mu is held.
func (w *response) flushBody() error {
	switch {
	case w.gathered > 0:
		err := w.pass()
		w.ungather()
		return err
	case !w.headLeft:
		w.endHead(nil)
	}
	return w.conn.err
}

// SetReadDeadline is for http.ResponseController.
func (w *response) SetReadDeadline(t time.Time) error {
	return w.deadline(w.conn.transport.SetReadDeadline, &w.active.readTimed, t)
}

// SetWriteDeadline is for http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	return w.deadline(w.conn.transport.SetWriteDeadline, &w.active.writeTimed, t)
}

func (w *response) deadline(set func(time.Time) error, own *atomic.Bool, t time.Time) error {
	w.conn.life.Lock()
	defer w.conn.life.Unlock()
	if w.over {
		return ErrHandlerReturned
	}
	own.Store(true)
	return set(t)
}

// EnableFullDuplex is for http.ResponseController: the body may be read after
// the response has begun.
func (w *response) EnableFullDuplex() error {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	w.fullDuplex = true
	return nil
}

// A HeadWriter is a ResponseWriter that takes the header with the status.
type HeadWriter interface {
	WriteHead(status int, header http.Header)
}
