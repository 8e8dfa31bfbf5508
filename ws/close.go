package ws

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// This file closes: the closing handshake (RFC 6455 §5.5.1, §7), and all else that
// ends a connection.

// closing is what is known about the end of a connection. What does not change
// may be read by anyone, the rest under conn.mu.
type closing struct {
	code   Code
	reason string
	at     time.Time
	ours   bool // Endpoint.Close or Gateway.Stop began it
	slow   bool // the client took nothing for Options.WriteTimeout
	hurry  bool // it was given up: Options.ClosePeriod has begun whatever waits
	byPeer bool // what the client sent before is still dealt with

	received bool      // the client's close frame
	final    bool      // nothing follows: end the sending direction, discard what comes
	unsaid   bool      // no close frame was sent
	dropped  bool      // the connection is lost, or was given up
	since    loop.Time // when Options.ClosePeriod began, or 0
}

// begin makes how known as what is known about the end. c.mu is held.
func (c *conn) begin(how *closing) {
	c.closing.Store(how)
	if c.extra != nil && c.extra.cancel != nil {
		c.extra.cancel(&CloseError{how.code, how.reason})
	}
	if c.out != nil {
		c.out.wakeSenders()
	}
	c.endStream()
	c.unpause()
}

// sendError is why nothing can be sent any more.
func (how *closing) sendError() error {
	if how.slow {
		return ErrSlowClient
	}
	return ErrClosed
}

// close starts the closing handshake (RFC 6455 §7.1.2).
func (c *conn) close(code Code, reason string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() != nil {
		return ErrClosed
	}
	if !c.catchUp() {
		return ErrClosed
	}
	c.sayClose(code, reason, &closing{ours: true})
	return nil
}

// fail closes a client that broke a rule (RFC 6455 §7.1.7): what it still
// sends is of no interest.
func (c *conn) fail(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if how := c.closing.Load(); how != nil {
		c.finalize(how)
		return
	}
	c.endpoint.counters.failed(code)
	c.sayClose(code, reason, &closing{final: true})
}

// peerClosed answers the client's close frame, or completes our own
// (RFC 6455 §5.5.1).
func (c *conn) peerClosed(code Code, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if how := c.closing.Load(); how != nil {
		if how.received = true; how.unsaid { // it has hung up, we saw that first
			how.unsaid = false
			c.queueClose(frame.AppendClose(nil, code, ""))
		}
		c.finalize(how)
		return
	}
	if c.catchUp() {
		c.sayClose(code, reason, &closing{received: true, final: true, byPeer: true})
	}
}

// hangsUp notes that the client has ended its direction, or is about to behind what
// it has sent: if no close frame came before, nobody should go on sending to it.
// c.mu is held.
func (c *conn) hangsUp() {
	if c.closing.Load() == nil {
		c.begin(&closing{code: CodeAbnormal, reason: "connection lost", at: time.Now(), byPeer: true, unsaid: true})
	}
}

// hungUp notes that all that the client has sent was read. c.mu is held.
func (c *conn) hungUp() {
	c.hangsUp()
	c.finalize(c.closing.Load())
}

// sayClose queues a close frame as the last. c.mu is held.
func (c *conn) sayClose(code Code, reason string, how *closing) {
	how.code, how.reason, how.at = code, reason, time.Now()
	if how.received {
		reason = "" // the code alone is echoed
	}
	payload := frame.AppendClose(nil, code, reason)
	c.begin(how)
	c.queueClose(payload)
}

func (c *conn) queueClose(payload []byte) {
	appendFrame(c.waiting(), frame.Header{Fin: true, Opcode: frame.Close}, payload)
	c.count(framesSent, 1)
	c.afterAppend()
}

// giveUp closes a client that does not read. What waits is dropped: the close
// frame comes behind the frame on its way, if that is taken in time. c.mu is held.
func (c *conn) giveUp(reason string, how *closing) {
	c.endpoint.counters.tooSlow(reason)
	if c.out != nil {
		c.out.cut()
	}
	how.final, how.hurry = true, true
	c.startClock(how)
	c.sayClose(CodePolicyViolation, reason, how)
}

// startClock begins Options.ClosePeriod: the close frame has left. c.mu is held.
func (c *conn) startClock(how *closing) {
	if how.since == 0 {
		how.since = c.now()
	}
}

// finalize ends the sending direction once all is sent. c.mu is held.
func (c *conn) finalize(how *closing) {
	if how.final {
		return
	}
	how.final = true
	if c.out == nil {
		c.endSending()
	}
}

// endSending ends the sending direction, and leaves the connection to be closed
// when the client's end has come: bytes of it that nobody reads would reset the
// connection, and the close frame on its way with it (RFC 6455 §7.1.1). c.mu is
// held.
func (c *conn) endSending() {
	if c.transport.CloseWrite() == errors.ErrUnsupported {
		c.transport.Interrupt()
	}
	c.finish()
}

// finish has a connection closed that is drained, when nothing waits to be sent.
// c.mu is held.
func (c *conn) finish() {
	if c.drained && c.out == nil {
		c.transport.Resume()
	}
}

// abandon ends a connection whose client cannot be told. c.mu is held.
func (c *conn) abandon(code Code, reason string) {
	if c.closing.Load() == nil {
		c.begin(&closing{code: code, reason: reason, at: time.Now()})
		c.endpoint.counters.failed(code)
	}
	how := c.lost()
	how.final = true
	if c.out != nil {
		c.out.wakeSenders()
	}
	c.discard()
	c.transport.Interrupt()
	c.finish()
}

// lost notes that the connection is no more. A closing handshake of ours whose
// close frame has not left was in vain, and so was what was sent before it
// (RFC 6455 §7.1.5); likewise if the kernel has more than that left. c.mu is held.
func (c *conn) lost() *closing {
	how := c.closing.Load()
	switch {
	case how == nil:
		how = &closing{code: CodeAbnormal, reason: "connection lost", at: time.Now()}
		c.begin(how)
	case how.ours && !how.dropped && (c.out != nil || !how.received && c.transport.Held() > bufferSize):
		in := *how
		in.code, in.reason = CodeAbnormal, "connection lost before all was sent: closing with "+how.code.String()
		how = &in
		c.closing.Store(how)
	}
	how.dropped = true
	return how
}

// Over implements loop.Owner.
func (c *conn) Over(*loop.Conn, error) {
	if c.counted != nil {
		defer c.counted.Over() // even if OnClose does not return
	}
	if c.transport == nil { // it never had a turn
		c.endpoint.entering.Done()
		return
	}
	c.end()
}

// end is called once, by the goroutine that ran the conn, when nothing more
// will come. The socket is closed after it.
func (c *conn) end() {
	c.mu.Lock()
	how := c.lost()
	c.activity = ended
	c.discard()
	if c.out != nil {
		c.out.wakeSenders()
	}
	traffic := c.traffic()
	if c.extra != nil {
		c.endpoint.topics.leaveAll(c.inflates(), c.extra.topics) // OnClose may ask for them
	}
	in := c.in
	c.in = nil
	c.mu.Unlock()
	if in != nil {
		in.release()
	}
	c.endpoint.ended(c, how, traffic)
}

// ended calls OnClose and forgets the conn.
func (e *Endpoint) ended(c *conn, how *closing, traffic Traffic) {
	e.counters.ended(how.code, &traffic)
	e.options.Logger.LogAttrs(context.Background(), slog.LevelDebug, "ws: closed",
		slog.Uint64("client", uint64(c.id)), slog.Int("code", int(how.code)), slog.String("reason", how.reason))
	returned := false
	defer e.table.remove(c.id, c.inflates())
	defer c.recovered("OnClose", &returned)
	e.application.closed(c.id, how.code, how.reason)
	returned = true
}

// errGoexit is what a handler panicked with that ended its goroutine.
var errGoexit = errors.New("runtime.Goexit was called")

// failed logs what a method of the handler panicked with, and returns it: where
// it did not panic, and yet did not return, errGoexit.
func (e *Endpoint) failed(method string, failure any, of ...any) any {
	if failure == nil {
		failure = errGoexit
	}
	e.options.Logger.Error("ws: panic in "+method, append([]any{slog.Any("panic", failure), slog.String("stack", string(debug.Stack()))}, of...)...)
	return failure
}

// recovered is deferred by who calls a method of the handler for one client. It
// logs a panic and closes the client with 1011.
func (c *conn) recovered(method string, returned *bool) {
	if *returned {
		return
	}
	c.endpoint.failed(method, recover(), slog.Uint64("client", uint64(c.id)))
	c.deaf = true
	c.fail(CodeInternalError, "the server failed")
}
