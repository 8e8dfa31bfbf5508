package ws

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/loop"
	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// Errors of Endpoint's methods.
var (
	// ErrClosed says that there is no such client, or that it is being closed.
	ErrClosed = errors.New("ws: the client is closed")
	// ErrSlowClient says that the client took nothing for Options.WriteTimeout
	// while more than Options.MaxQueuedBytes or MaxQueuedMessages waited, and
	// is closed. Of TrySend it says that as much waits now, no more.
	ErrSlowClient = errors.New("ws: the client does not read what it is sent")
	// ErrInvalidText says that text to be sent is not UTF-8 (RFC 6455 §5.6).
	ErrInvalidText = errors.New("ws: text is not valid UTF-8: send it as binary")
)

// conn is one client's connection: the rules of RFC 6455, and nothing of how
// bytes move. There may be a million of them: it is kept small, and what is
// needed only now and then hangs off a pointer.
type conn struct {
	transport transport
	endpoint  *Endpoint
	id        ClientID

	closing atomic.Pointer[closing] // since a close frame was sent or received, or the connection lost

	mu        sync.Mutex // guards all below, and changes of closing
	in        *reader    // of who runs the conn, or what is incomplete
	out       *outbox    // what waits to be sent
	extra     *extra     // what few conns need
	delivered uint64     // how many of the endpoint's broadcasts are behind us
	counted   counted    // told when the connection is over, or nil

	tally        tally
	bytesMark    uint32    // what tally[bytesRead] was when no byte was owed, see allowance
	framesMark   uint32    // likewise
	opened       loop.Time // 0 until it is a client
	lastRead     loop.Time
	lastSent     loop.Time
	lastDataRead loop.Time
	lastDataSent loop.Time
	roundTrip    uint32 // of the last answered ping, in microseconds
	unanswered   uint16 // pings
	gathering    bool   // a turn collects replies, to send them together
	activity     activity

	subprotocol uint8 // index into Options.Subprotocols, from 1, or 0 for extra.subprotocol; never changes
	deflate     deflate.Terms
	deaf        bool // what still comes is discarded; who runs the conn knows
	drained     bool // all that the client sent was read, its end too
}

// counted counts a connection until it is over.
type counted interface{ Over() }

// activity is what is done about what a client sends.
type activity uint8

const (
	listening activity = iota // it is read as it comes
	handling                  // a handler may be running, and takes its time
	ahead                     // so it is, but what comes is read ahead
	paused                    // reading stopped because of a rate
	ended                     // OnClose has been or is being called
)

// extra is what few conns need.
type extra struct {
	stream *Writer         // of a message that is being sent piece by piece
	topics []subscription  // what it is subscribed to
	window *deflate.Window // what the client's messages may refer to (RFC 7692 §7.1.1)
	wake   chan struct{}   // for a handler that waits for bytes, or while it is paused
	value  any             // that the application set
	origin *provenance     // of the few whose handshake was not as usual
	moved  loop.Time       // when a queue last got on
	held   uint32          // what the kernel held at the last tick, if that was looked at
	warned bool            // the log knows that it was over a rate
	pacing bool            // on the list of those that are paused
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx

	carried tally // the upper halves of conn.tally
}

// waker returns what wakes a handler that waits for bytes. c.mu is held.
func (c *conn) waker() chan struct{} {
	if c.extras().wake == nil {
		c.extra.wake = make(chan struct{}, 1)
	}
	return c.extra.wake
}

// wakeHandler wakes a handler that waits, or is about to. c.mu is held, or
// c.extra.wake known to be there.
func (c *conn) wakeHandler() {
	if c.extra != nil {
		select {
		case c.extra.wake <- struct{}{}:
		default: // nil, or it is to wake anyway
		}
	}
}

// extras returns c.extra, made when there is none. c.mu is held.
func (c *conn) extras() *extra {
	if c.extra == nil {
		c.extra = new(extra)
	}
	return c.extra
}

// streaming returns the Writer that is open, if any. c.mu is held.
func (c *conn) streaming() *Writer {
	if c.extra == nil {
		return nil
	}
	return c.extra.stream
}

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
	c.streaming().cut()
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
	in := c.in
	c.in = nil
	c.mu.Unlock()
	c.endpoint.unsubscribeAll(c)
	if in != nil {
		in.release()
	}
	c.endpoint.ended(c, how, traffic)
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

// closeError is why a message cannot be read on.
func (c *conn) closeError() error {
	if how := c.closing.Load(); how != nil {
		return &CloseError{how.code, how.reason}
	}
	return &CloseError{CodeAbnormal, "connection lost"}
}
