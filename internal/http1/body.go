package http1

import (
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/loop"
)

// maxSkip is how much of a body that a handler leaves is read to get at the
// next request. Where more is left the connection is closed, as by net/http.
const maxSkip = 256 << 10

// directRead is from what size on a body is read into its reader's buffer at
// once, instead of through one of ours.
const directRead = 4 << 10

// body is a Request.Body: what the decoder leaves of the connection's bytes.
// They are read when somebody asks for them, and not before. It is dead once
// the handler has returned.
type body struct {
	response *response

	mu      sync.Mutex // held while it is read
	decoder decoder
	closed  bool
	err     error // why there is no more; io.EOF at its end

	expects   bool        // the client waits for 100 Continue, RFC 9110 §10.1.1
	mayInvite atomic.Bool // it was not sent, and may be
}

// Read implements io.Reader. At the end of a body in chunks it adds the
// trailers to the request.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, http.ErrBodyReadAfterClose
	case b.err != nil:
		return 0, b.err
	case len(p) == 0:
		return 0, nil
	}
	if b.mayInvite.Load() {
		b.response.invite()
	}
	for {
		n, err := b.readSome(p)
		if b.end(err); n > 0 || b.err != nil {
			return n, b.err
		}
	}
}

// Close implements io.Closer. What was not read is skipped after the response.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// readSome decodes what was read of the connection, or reads once.
func (b *body) readSome(p []byte) (n int, err error) {
	c := b.response.conn
	if left := b.decoder.left(); len(c.input.rest) == 0 && left > 0 && len(p) >= directRead {
		p = p[:min(uint64(len(p)), left)]
		err := c.await(func() (err error) { n, err = c.read(p); return err })
		if b.decoder.took(n); b.decoder.step == ended {
			return n, io.EOF
		}
		if n > 0 {
			return n, nil // the error comes again
		}
		return 0, tooEarly(err)
	}
	if len(c.input.rest) == 0 {
		if err := c.await(c.fill); err != nil {
			return 0, tooEarly(err)
		}
	}
	n, used, err := b.decoder.decode(p, c.input.rest)
	c.input.consume(used)
	return n, err
}

// tooEarly is the error of a connection that ended before the body.
func tooEarly(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end notes why the body cannot be read any more, if it cannot.
func (b *body) end(err error) {
	if b.err = err; err != io.EOF {
		return
	}
	if r := b.response.request; r.Trailer == nil {
		r.Trailer = b.decoder.trailer
	} else {
		maps.Copy(r.Trailer, b.decoder.trailer)
	}
	b.response.conn.bodyEnded(b.response)
}

// settle decides, when the head of the response leaves, what happens to the
// rest of the body, and returns what this means for the connection. A client
// that sends all of it before it reads must not wait for us while we wait for
// it, so before a response that is not complete it is skipped. Behind one that
// is, the connection does that later. output.mu is held.
func (b *body) settle(complete bool) fact {
	if !b.mu.TryLock() {
		return 0 // a goroutine of the handler reads it
	}
	defer b.mu.Unlock()
	switch {
	case b.err == io.EOF:
		b.closed = b.closed || !b.response.fullDuplex && !b.expects
		return 0
	case b.err != nil:
		return bodyBroken
	case b.expects:
		return expectationUnmet
	case b.decoder.left() > maxSkip:
		return bodyTooLong
	case b.response.fullDuplex && !complete:
		return 0
	}
	refused := b.response.status >= 400
	left := b.skip(!complete && !refused)
	b.closed = b.closed || left != bodyBroken
	if left == 0 && b.err != io.EOF && (refused || b.decoder.step != lengthData) {
		return bodyTooLong // who is refused may not send it; of chunks there may be any number
	}
	return left
}

// skip drops what has come of the body, and waits for the rest if it is to.
func (b *body) skip(wait bool) fact {
	c := b.response.conn
	for skipped := 0; ; {
		if len(c.input.rest) == 0 {
			if err := c.fillToSkip(wait); err == loop.ErrAgain {
				return 0
			} else if err != nil {
				b.err = tooEarly(err)
				return bodyBroken
			}
		}
		_, used, err := b.decoder.decode(nil, c.input.rest)
		c.input.consume(used)
		skipped += used
		switch b.end(err); {
		case err == io.EOF:
			return 0
		case err != nil:
			return bodyBroken
		case skipped > maxSkip:
			return bodyTooLong
		}
	}
}

// fillToSkip reads some of a body that is skipped, and waits for it if it is to.
// output.mu is held.
func (c *Conn) fillToSkip(wait bool) error {
	if !wait {
		return c.fill()
	}
	c.flushReady() // responses before this one do not wait
	return c.await(c.fill)
}

// surrender ends the body because the connection is taken over: what was not
// read goes with it, but for a body that the handler has closed. Who reads it at
// the moment gets an error.
func (b *body) surrender() {
	t := b.response.conn.transport
	if !b.mu.TryLock() {
		t.SetReadDeadline(longPast)
		b.mu.Lock()
		t.SetReadDeadline(time.Time{})
	}
	defer b.mu.Unlock()
	b.mayInvite.Store(false)
	if b.closed && b.err == nil && b.decoder.left() <= maxSkip {
		b.skip(true)
	}
	b.closed = true
}

// die ends the body with the handler. It returns what is left to be skipped. A
// goroutine that still reads it gets what it waits for; the client may wait for
// the response meanwhile.
func (b *body) die() (rest *decoder, broken bool) {
	if !b.mu.TryLock() {
		b.response.conn.flush()
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	b.closed = true
	b.mayInvite.Store(false)
	return &b.decoder, b.err != nil && b.err != io.EOF
}
