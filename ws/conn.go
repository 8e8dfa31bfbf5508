package ws

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"aerys/ws/frame"
)

// Errors of Endpoint's methods.
var (
	// ErrClosed says that there is no such client, or that it is being closed.
	ErrClosed = errors.New("ws: the client is closed")
	// ErrSlowClient says that the client did not read for Options.WriteTimeout
	// while more than Options.MaxQueuedBytes or MaxQueuedMessages waited. It
	// is closed.
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

	// Only the goroutine that runs the conn touches these.
	in *inbox // a frame or message that is incomplete

	closing atomic.Pointer[closing] // since a close frame was sent or received, or the connection lost

	mu        sync.Mutex // guards all below, and changes of closing
	out       *outbox    // what waits to be sent
	extra     *extra     // what few conns need
	delivered uint64     // how many of the endpoint's broadcasts are behind us

	tally         tally
	minuteMark    uint32 // tally[bytesRead] when the minute began
	secondMark    uint32 // tally[framesRead] when the second began
	opened        uint32 // this and the following in seconds of endpoint.clock
	lastRead      uint32
	lastSent      uint32
	lastDataRead  uint32
	lastDataSent  uint32
	roundTrip     uint32 // of the last answered ping, in microseconds
	unanswered    uint8  // pings
	gathering     bool   // a turn collects replies, to send them together
	gatherPending bool   // and is on the list of those that may not take long
	activity      activity
	ended         bool // OnClose has been or is being called

	subprotocol uint8 // index into Options.Subprotocols, from 1; never changes
	deflate     deflateParams
	deaf        bool // what still comes is discarded; who runs the conn knows
}

// activity is what is done about what a client sends.
type activity uint8

const (
	listening activity = iota // it is read as it comes
	handling                  // a handler may be running, and takes its time
	paused                    // reading stopped because of a rate
)

// extra is what few conns need.
type extra struct {
	stream *Writer        // of a message that is being sent piece by piece
	topics []subscription // what it is subscribed to
	window *slidingWindow // what the client's messages may refer to (RFC 7692 §7.1.1)
	wake   chan struct{}  // for a handler that waits for bytes
	lent   []byte         // what is before the message that is handled, see lend

	carried tally // the upper halves of conn.tally
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

// closing is what is known about the end of a connection.
type closing struct {
	code     Code
	reason   string
	at       time.Time
	received bool // the client's close frame
	final    bool // nothing follows: end the sending direction, discard what comes
}

// send queues one message and sends what it can; it waits while the client is
// too far behind.
//
// A payload that is a byte slice is handed over as direct, too.
func send[T string | []byte](c *conn, opcode frame.Opcode, payload T, direct []byte) error {
	if c.deflate.fits(len(payload)) {
		if small := deflated(payload, c.endpoint.options); small != nil {
			defer putBuffer(small)
			return sendFrame(c, frame.Header{Fin: true, Rsv: rsv1, Opcode: opcode}, small, small)
		}
	}
	return sendFrame(c, frame.Header{Fin: true, Opcode: opcode}, payload, direct)
}

// sendFrame queues one frame and sends what it can.
func sendFrame[T string | []byte](c *conn, h frame.Header, payload T, direct []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.waitForTurn(); err != nil {
		return err
	}
	if !c.catchUp() {
		return ErrClosed
	}
	c.sentData(1)
	if len(direct) >= directSize {
		return c.sendDirect(h, direct)
	}
	appendFrame(c.waiting(), h, payload)
	c.afterAppend()
	return nil
}

// waitForTurn returns when a message may be queued. c.mu is held, but not while
// it waits.
func (c *conn) waitForTurn() error {
	for {
		var err error
		switch {
		case c.closing.Load() != nil:
			return ErrClosed
		case c.streaming() != nil:
			err = c.waitForStream()
		case c.out.over(c.endpoint.options) != "":
			err = c.waitForRoom() // meanwhile a Writer may be opened
		default:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// sentData counts n data messages of one frame each. c.mu is held.
func (c *conn) sentData(n int) {
	c.count(framesSent, uint64(n))
	c.count(messagesSent, uint64(n))
	c.lastDataSent = c.endpoint.clock.Load()
}

// afterAppend sends what was queued, or sees to it that it is sent soon.
// c.mu is held.
func (c *conn) afterAppend() {
	switch {
	case !c.gathering || c.out.size >= bufferSize:
		c.flushNow()
	case !c.gatherPending:
		c.gatherPending = true
		c.endpoint.soon.add(c)
	}
}

// sendControl queues a control frame. c.mu is held.
func (c *conn) sendControl(opcode frame.Opcode, payload []byte) {
	appendFrame(c.waiting(), frame.Header{Fin: true, Opcode: opcode}, payload)
	c.count(framesSent, 1)
	c.afterAppend()
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
	c.sayClose(code, reason, &closing{})
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
		how.received = true
		c.finalize(how)
		return
	}
	if c.catchUp() {
		c.sayClose(code, reason, &closing{received: true, final: true})
	}
}

// peerIsDone reports whether the client has sent its close frame.
func (c *conn) peerIsDone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := c.closing.Load()
	return how != nil && how.received
}

// sayClose queues a close frame as the last. c.mu is held.
func (c *conn) sayClose(code Code, reason string, how *closing) {
	how.code, how.reason, how.at = code, reason, time.Now()
	if how.received {
		reason = "" // the code alone is echoed
	}
	payload := frame.AppendClose(nil, code, reason)
	c.closing.Store(how)
	c.streaming().cut()
	c.waiting().wakeSenders()
	c.sendControl(frame.Close, payload)
}

// finalize ends the sending direction once all is sent. c.mu is held.
func (c *conn) finalize(how *closing) {
	if how.final {
		return
	}
	how.final = true
	if c.out == nil {
		c.transport.closeWrite()
	}
}

// abandon ends a connection whose client cannot be told. c.mu is held.
func (c *conn) abandon(code Code, reason string) {
	how := c.closing.Load()
	if how == nil {
		how = &closing{code: code, reason: reason, at: time.Now()}
		c.closing.Store(how)
		c.endpoint.counters.failed(code)
	}
	how.final = true
	if c.out != nil {
		c.out.wakeSenders()
	}
	c.streaming().cut()
	c.discard()
	c.transport.interrupt()
}

// end is called once, by the goroutine that ran the conn, when nothing more
// will come. The socket is closed after it.
func (c *conn) end() {
	c.mu.Lock()
	how := c.closing.Load()
	if how == nil {
		how = &closing{code: CodeAbnormal, reason: "connection lost", at: time.Now()}
		c.closing.Store(how)
	}
	c.ended = true
	c.streaming().cut()
	c.discard()
	if c.out != nil {
		c.out.wakeSenders()
	}
	traffic := c.traffic()
	c.mu.Unlock()
	c.endpoint.unsubscribeAll(c)
	if c.in != nil {
		c.in.release()
		c.in = nil
	}
	c.endpoint.ended(c, how, traffic)
}

// closeError is why a message cannot be read on.
func (c *conn) closeError() error {
	if how := c.closing.Load(); how != nil {
		return &CloseError{how.code, how.reason}
	}
	return &CloseError{CodeAbnormal, "connection lost"}
}
