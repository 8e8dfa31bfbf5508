package ws

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/ws/internal/deflate"
)

// This file is what an endpoint and its connections hold. How a connection reads,
// handles, sends and closes is in the files of these names.

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

// Endpoint is all clients of one Gateway, and how to reach them. Its methods
// may be called from any goroutine at any time.
type Endpoint struct {
	application application
	options     *Options
	epoch       time.Time    // what pings carry counts from here
	busy        atomic.Int32 // goroutines in the middle of turns
	table       table[conn]
	feed        feed[conn]
	soon        later  // what handlers published
	flushDue    func() // flushFeed at the end of a round, bound once
	pace        pace   // clients that have to wait because of a rate
	topics      topics[conn]
	link        atomic.Pointer[link] // with Options.Broker; nil without one
	nodes       nodes
	counters    counters
	foreign     occasion       // an origin may not connect
	misled      occasion       // OnHandshake chose a subprotocol that nobody offered
	stranded    occasion       // a connection cannot be taken over
	paced       occasion       // clients that are over a rate
	entering    sync.WaitGroup // handshakes that are accepted, but no clients yet
}

// application is a Handler's methods.
type application struct {
	start     func(*Endpoint) error
	handshake func(*aerys.Request, *aerys.Response) opener
	data      func(ClientID, *Message)
	closed    func(ClientID, Code, string)
	stop      func()
}

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

// transport is what a conn needs of the loop.Conn that carries it. Nothing of it
// waits but Wait.
type transport interface {
	Loop() *loop.Loop

	TryRead(p []byte) (int, error)
	TryReadAhead(p []byte) (int, error)
	Wait() error
	MayRead() bool
	HungUp() bool
	Await(least int)
	Hurry()

	TryWrite(p []byte) (int, error)
	TryWriteParts(header, payload []byte) (int, error)
	Queued() bool
	Held() int

	CloseWrite() error
	Interrupt()
	Resume()
	Soon()
	AfterRound(func())
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
	stream *stream             // of a message that is being sent piece by piece
	topics subscriptions[conn] // what it is subscribed to
	window *deflate.Window     // what the client's messages may refer to (RFC 7692 §7.1.1)
	wake   chan struct{}       // closed when the pause of a handler that reads ends
	value  any                 // that the application set
	origin *provenance         // of the few whose handshake was not as usual
	moved  loop.Time           // when a queue last got on
	held   uint32              // what the kernel held at the last tick, if that was looked at
	warned bool                // the log knows that it was over a rate
	pacing bool                // on the list of those that are paused
	ctx    context.Context
	cancel context.CancelCauseFunc // of ctx

	carried tally // the upper halves of conn.tally
}

// stream is a message that is being sent piece by piece, by a Writer.
type stream struct {
	later *outbox       // broadcasts that came meanwhile
	again chan struct{} // closed each second and at the end, for others who want to send
}

// extras returns c.extra, made when there is none. c.mu is held.
func (c *conn) extras() *extra {
	if c.extra == nil {
		c.extra = new(extra)
	}
	return c.extra
}

// streaming returns the message that a Writer is sending, if any. c.mu is held.
func (c *conn) streaming() *stream {
	if c.extra == nil {
		return nil
	}
	return c.extra.stream
}

// wakeSenders has those who wait for the end of the message look again. conn.mu
// is held. It does nothing for nil.
func (s *stream) wakeSenders() {
	if s != nil && s.again != nil {
		close(s.again)
		s.again = nil
	}
}

// find returns the client with this id, or nil.
func (e *Endpoint) find(id ClientID) *conn {
	if slot := e.table.slot(uint32(id) - 1); slot != nil {
		if c := slot.Load(); c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// opened makes a conn known and sends its 101: in this order, so that a client
// that has its 101 gets whatever is broadcast from then on.
func (e *Endpoint) opened(c *conn, o *arrival) {
	c.subprotocol, c.deflate = uint8(slices.Index(e.options.Subprotocols, o.subprotocol)+1), o.deflate
	c.mu.Lock()
	c.opened = c.now()
	c.lastRead = c.opened
	if mark := o.mark(); mark != nil || c.subprotocol == 0 && o.subprotocol != "" {
		c.extras().origin = &provenance{mark, o.subprotocol}
	}
	c.delivered = e.feed.count.Load()
	e.table.add(c, &c.id, c.inflates())
	c.greet(o.greeting)
	c.mu.Unlock()
	if o.announce != nil {
		o.announce()
	}
	e.counters.accepted.Add(1)
	if o.tooLate() { // the server was shut down meanwhile
		c.close(CodeGoingAway, "server stops")
	}
	e.options.Logger.LogAttrs(context.Background(), slog.LevelDebug, "ws: opened", slog.Uint64("client", uint64(c.id)))
}

// closeError is why a message cannot be read on.
func (c *conn) closeError() error {
	if how := c.closing.Load(); how != nil {
		return &CloseError{how.code, how.reason}
	}
	return &CloseError{CodeAbnormal, "connection lost"}
}

// now is the time of the loop that carries the connection.
func (c *conn) now() loop.Time { return c.transport.Loop().Now() }

// at returns when that was, and the zero time for never.
func (c *conn) at(t loop.Time) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return c.transport.Loop().At(t)
}

// passed reports whether more time has passed than that since a client's clock
// showed since.
func passed(since, now loop.Time, period time.Duration) bool {
	return time.Duration(now-since)*time.Second > period
}

// count adds to a count. c.mu is held.
func (c *conn) count(what int, n uint64) {
	sum := uint64(c.tally[what]) + n
	c.tally[what] = uint32(sum)
	if carry := uint32(sum >> 32); carry > 0 {
		c.extras().carried[what] += carry
	}
}

// traffic is what was counted. c.mu is held.
func (c *conn) traffic() Traffic {
	var whole [counts]uint64
	for what, low := range c.tally {
		whole[what] = uint64(low)
		if c.extra != nil {
			whole[what] |= uint64(c.extra.carried[what]) << 32
		}
	}
	return Traffic{
		whole[bytesRead], whole[framesRead], whole[messagesRead],
		whole[bytesSent], whole[framesSent], whole[messagesSent],
	}
}

// A client may read as many bytes as Options.MaxBytesPerMinute at once, and as
// many frames as Options.MaxFramesPerSecond. What it has used comes back little
// by little, so that who is over a rate gets on at that rate.

// refill gives a client back what it has earned in the second that ends now.
// c.mu is held.
func (c *conn) refill(now loop.Time) {
	options, second := c.endpoint.options, int64(now%60)
	frames, minute := min(int64(options.MaxFramesPerSecond), math.MaxUint32), min(options.MaxBytesPerMinute, math.MaxUint32)
	bytes := (second+1)*minute/60 - second*minute/60
	c.framesMark += min(uint32(frames), c.tally[framesRead]-c.framesMark)
	c.bytesMark += min(uint32(bytes), c.tally[bytesRead]-c.bytesMark)
}

// allowance is how many frames and bytes may be read before the client has to
// pause, as of the last tick. c.mu is held.
func (c *conn) allowance() (frames, bytes int64) {
	options := c.endpoint.options
	return int64(options.MaxFramesPerSecond) - int64(c.tally[framesRead]-c.framesMark),
		options.MaxBytesPerMinute - int64(c.tally[bytesRead]-c.bytesMark)
}

// allowanceNow is allowance as of now, with what was earned since the last tick.
// c.mu is held.
func (c *conn) allowanceNow() (frames, bytes int64) {
	options, carrier := c.endpoint.options, c.transport.Loop()
	since := min(time.Since(carrier.At(carrier.Now())), 2*time.Second) // which is what a tick may be late
	back := func(rest, limit int64, period time.Duration) int64 {
		return rest + min(min(limit, math.MaxUint32)*int64(since)/int64(period), limit-rest)
	}
	frames, bytes = c.allowance()
	return back(frames, int64(options.MaxFramesPerSecond), time.Second),
		back(bytes, options.MaxBytesPerMinute, time.Minute)
}

// pause notes that reading stops until more is allowed. c.mu is held.
func (c *conn) pause() {
	if c.closing.Load() != nil {
		return
	}
	c.activity = paused
	c.lookAtPace()
	if !c.extra.warned {
		c.extra.warned = true
		c.warn()
	}
}

// unpause ends a pause. c.mu is held.
func (c *conn) unpause() {
	if c.activity != paused {
		return
	}
	c.activity = listening
	if c.extra.wake != nil {
		close(c.extra.wake)
		c.extra.wake = nil
	}
	c.transport.Resume()
}

// lookAtPace sees to it that pacePassed is called. c.mu is held.
func (c *conn) lookAtPace() {
	if !c.extras().pacing {
		c.extra.pacing = true
		c.endpoint.pace.add(c)
	}
}

// warn tells the log that a client is over a rate. c.mu is held.
func (c *conn) warn() {
	option := "MaxFramesPerSecond"
	if frames, _ := c.allowanceNow(); frames > 0 {
		option = "MaxBytesPerMinute"
	}
	c.endpoint.paced.log(c.endpoint.options.Logger, slog.LevelWarn,
		"ws: a client sends more than Options."+option+" allows, and is read from no faster", slog.Uint64("client", uint64(c.id)))
}

// pacePeriod is how often one looks at clients that wait because of a rate.
const pacePeriod = 20 * time.Millisecond

// pace is the clients that wait because of a rate, looked at by one timer.
type pace struct {
	mu    sync.Mutex
	conns []*conn
}

// add has a conn looked at. Its mutex is held.
func (p *pace) add(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns = append(p.conns, c); len(p.conns) == 1 {
		time.AfterFunc(pacePeriod, p.pass)
	}
}

// pass looks at all. Who has to wait on adds itself again.
func (p *pace) pass() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for _, c := range conns {
		c.pacePassed()
	}
}

// pacePassed ends the pause of a client that may send again.
func (c *conn) pacePassed() {
	c.mu.Lock()
	if frames, bytes := c.allowanceNow(); frames > 0 && bytes > 0 {
		c.unpause()
	}
	c.extra.pacing = false
	if c.activity == paused {
		c.lookAtPace()
	}
	late := c.activity == handling
	c.mu.Unlock()
	if late {
		c.readAhead()
	}
}
