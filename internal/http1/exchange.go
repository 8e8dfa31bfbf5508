package http1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"

	"aerys/internal/loop"
)

// An exchange (RFC 9112 §1): from a head that has come to what becomes of the
// connection, which the table of fates decides.

// serve serves the request whose head has come.
func (c *Conn) serve() error {
	w := &response{conn: c, active: c.active, length: -1} // the one allocation that is ours for each request
	w.context.response, w.body.response = w, w
	request, err := c.head.parse(&w.context, c.input.rest[:c.head.next])
	if err != nil {
		return c.refuse(err)
	}
	c.input.consume(c.head.next)
	c.head = head{}
	c.requests++
	c.blank = 0
	if request.Method == http.MethodPost {
		c.blank = maxBlank
	}
	w.respondTo(request)
	c.life.Lock()
	c.current = w
	w.allRead = w.body.err == io.EOF && len(c.input.rest) == 0
	c.life.Unlock()
	c.clock.exchanges.Add(1)
	if !c.enter(handling) {
		c.leave(w, false)
		return c.close()
	}
	if c.served {
		c.hurryUp()
	}
	c.served = true
	return c.leave(w, c.run(w))
}

// maxBlank is how many bytes of empty lines may follow the body of a POST.
const maxBlank = 4

// respondTo readies the response for its request.
func (w *response) respondTo(r *http.Request) {
	w.request = r
	r.RemoteAddr, r.TLS = w.conn.peer(), w.conn.tls
	w.method, w.old = r.Method, !r.ProtoAtLeast(1, 1)
	if r.Close || hasToken(first(r.Header["Connection"]), "close") {
		w.facts |= requestCloses
	}
	expected := first(r.Header["Expect"])
	invited := hasToken(expected, "100-continue")
	w.unexpected = expected != "" && !invited
	switch {
	case len(r.TransferEncoding) > 0:
		w.body.decoder = byChunks()
	case r.ContentLength > 0:
		w.body.decoder = byLength(r.ContentLength)
	default:
		w.body.err = io.EOF
		r.Body = http.NoBody
		return
	}
	r.Body = &w.body
	if invited && !w.old {
		w.body.expects = true
		w.body.mayInvite.Store(true)
	}
}

// run runs the handler. It reports whether that returned, in contrast to
// panicking.
func (c *Conn) run(w *response) (returned bool) {
	defer func() {
		if returned {
			return
		}
		if err := recover(); err != nil && err != http.ErrAbortHandler {
			stack := make([]byte, 64<<10)
			stack = stack[:runtime.Stack(stack, false)]
			c.server.ErrorLog.Printf("http: panic serving %v: %v\n%s", c.peer(), err, stack)
		}
	}()
	if w.unexpected {
		c.refuseExpectation(w)
		return true
	}
	c.server.Handler.ServeHTTP(w, w.request)
	return true
}

// refuseExpectation answers a request whose Expect asks for something unknown.
func (c *Conn) refuseExpectation(w *response) {
	w.Header().Set("Connection", "close")
	if c.server.ErrorPage == nil {
		w.WriteHeader(http.StatusExpectationFailed) // net/http adds nothing to it
		return
	}
	kind, body := c.server.errorPage(&Error{Status: http.StatusExpectationFailed})
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusExpectationFailed)
	io.WriteString(w, body)
}

// leave is the end of an exchange: from here on its handler, and whatever that
// started, has no connection any more.
func (c *Conn) leave(w *response, returned bool) error {
	w.context.cancel(context.Canceled)
	facts := w.finish(returned)
	if facts.fate() == handOver {
		return loop.ErrHijacked
	}
	if c.untime() {
		c.flush()
		c.transport.SetReadDeadline(time.Time{})
		c.transport.SetWriteDeadline(time.Time{})
	}
	if c.server.last(int(c.requests)) {
		facts |= lastRequest
	}
	rest, broken := w.body.die()
	if broken {
		facts |= bodyBroken
	}
	if form := w.request.MultipartForm; form != nil {
		form.RemoveAll()
	}
	return c.goOn(facts, rest)
}

// goOn does what the table of fates says.
func (c *Conn) goOn(facts fact, rest *decoder) error {
	// A client that has asked for the end sends no more, where all has come.
	silent := facts&requestCloses != 0 && rest.step == ended && len(c.input.rest) == 0
	switch fate := facts.fate(); {
	case fate == abandon, fate == end && silent:
		c.flush()
		return c.close()
	case fate == end:
		return c.beginLinger()
	}
	next := idle
	if rest.step != ended {
		next, c.left, c.skipped = skipping, rest, 0
	}
	if !c.enter(next) {
		return c.close()
	}
	return nil
}

// refuse answers a request that cannot be served, as net/http's server does.
func (c *Conn) refuse(err error) error {
	e := &Error{Status: http.StatusBadRequest}
	errors.As(err, &e)
	kind, body := c.server.errorPage(e)
	c.mu.Lock()
	c.appendEnd("HTTP/1.1 " + e.status() + "\r\nContent-Type: " + kind + "\r\nConnection: close\r\n\r\n" + body)
	c.mu.Unlock()
	return c.beginLinger()
}

// refuseHalf refuses a head that ended too early, if it was wrong before.
func (c *Conn) refuseHalf() error {
	p := parsers.Get().(*parser)
	_, err := p.parse(c.input.rest)
	parsers.Put(p)
	if err == io.EOF || err == io.ErrUnexpectedEOF || c.requests > 0 && len(c.input.rest) < minHead {
		return c.close()
	}
	return c.refuse(err)
}

// mayBeHTTP2 reports whether what has come is the connection preface of HTTP/2,
// or its beginning.
func (c *Conn) mayBeHTTP2() bool {
	return c.requests == 0 && c.server.HTTP2 != nil && strings.HasPrefix(preface, string(c.input.rest[:min(len(preface), len(c.input.rest))]))
}

// becomeHTTP2 hands the connection over, with what was read of it.
func (c *Conn) becomeHTTP2(early []byte) error {
	conn, err := c.transport.Hijack()
	if err != nil {
		return c.close()
	}
	if early != nil {
		conn = &replay{conn, bytes.Clone(early)}
	}
	c.phase.Store(uint32(over))
	c.handed = true
	go c.server.HTTP2(conn, c.counted)
	return loop.ErrHijacked
}

// first is the first line of a field.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// hasToken reports whether a word is among those of a list. It is as lax as
// net/http, which takes white space for a comma.
func hasToken(list, word string) bool {
	for token := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if strings.EqualFold(token, word) {
			return true
		}
	}
	return false
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
