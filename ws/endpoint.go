package ws

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"aerys/ws/frame"
)

// Endpoint is all clients of one Gateway, and how to reach them. Its methods
// may be called from any goroutine at any time.
type Endpoint struct {
	application application
	options     *Options
	epoch       time.Time
	clock       atomic.Uint32 // seconds since epoch, as of the last sweep
	busy        atomic.Int32  // goroutines in the middle of turns
	engine      engine
	table       table
	feed        feed
	soon        soon
	sweeper     sweeper
	topics      topics
	counters    counters
	entering    sync.WaitGroup // handshakes that are accepted, but no clients yet
}

// Info is what is known about a client. Times are in steps of a second, and
// zero for what has not happened.
type Info struct {
	Traffic
	Connected    time.Time
	LastRead     time.Time
	LastSent     time.Time
	LastDataRead time.Time
	LastDataSent time.Time
	RoundTrip    time.Duration // of the last ping that was answered
	Subprotocol  string
	Compressed   bool

	Closed time.Time // when the closing handshake began
	Code   Code
	Reason string
}

// Send sends a text message. It returns nil once the message is written or
// queued; while more than Options.MaxQueuedBytes or MaxQueuedMessages wait for
// the client it blocks, for Options.WriteTimeout at most. The error is
// ErrClosed, ErrSlowClient, or ErrInvalidText if data is not UTF-8.
func (e *Endpoint) Send(data string, id ClientID) error {
	if !utf8.ValidString(data) {
		return ErrInvalidText
	}
	return sendTo(e, id, frame.Text, data, nil)
}

// SendText is Send for text held in a byte slice, which is not kept.
func (e *Endpoint) SendText(data []byte, id ClientID) error {
	if !utf8.Valid(data) {
		return ErrInvalidText
	}
	return sendTo(e, id, frame.Text, data, data)
}

// SendBinary sends a binary message as Send does. The slice is not kept.
func (e *Endpoint) SendBinary(data []byte, id ClientID) error {
	return sendTo(e, id, frame.Binary, data, data)
}

func sendTo[T string | []byte](e *Endpoint, id ClientID, opcode frame.Opcode, data T, direct []byte) error {
	c := e.table.find(id)
	if c == nil {
		return ErrClosed
	}
	return send(c, opcode, data, direct)
}

// Broadcast sends a text message to every client but those excepted. It never
// waits for a client: one that falls too far behind is closed. Text that is
// not UTF-8 is not sent: the error is ErrInvalidText.
func (e *Endpoint) Broadcast(data string, except ...ClientID) error {
	if !utf8.ValidString(data) {
		return ErrInvalidText
	}
	publish(e, everyone{&e.table}, frame.Text, data, except)
	return nil
}

// BroadcastText is Broadcast for text held in a byte slice, which is not kept.
func (e *Endpoint) BroadcastText(data []byte, except ...ClientID) error {
	if !utf8.Valid(data) {
		return ErrInvalidText
	}
	publish(e, everyone{&e.table}, frame.Text, data, except)
	return nil
}

// BroadcastBinary is Broadcast for a binary message. The slice is not kept.
func (e *Endpoint) BroadcastBinary(data []byte, except ...ClientID) {
	publish(e, everyone{&e.table}, frame.Binary, data, except)
}

// Multicast sends a text message to the clients named. It never waits for one:
// see Broadcast. Ids of clients that are gone are passed over.
func (e *Endpoint) Multicast(data string, ids ...ClientID) error {
	if !utf8.ValidString(data) {
		return ErrInvalidText
	}
	publish(e, e.members(ids), frame.Text, data, nil)
	return nil
}

// MulticastBinary is Multicast for a binary message. The slice is not kept.
func (e *Endpoint) MulticastBinary(data []byte, ids ...ClientID) {
	publish(e, e.members(ids), frame.Binary, data, nil)
}

// members is the audience of the clients named, each once.
func (e *Endpoint) members(ids []ClientID) *some {
	to := &some{conns: make([]*conn, 0, len(ids))}
	for _, id := range ids {
		if c := e.table.find(id); c != nil {
			to.conns = append(to.conns, c)
		}
	}
	return to
}

// Close starts the closing handshake with a client (RFC 6455 §7.1.2), after
// what was sent to it before. Code is CodeNormal or any other that may be sent
// (else Close panics); the reason is cut to 123 bytes. The connection ends when
// the client answers, or after Options.ClosePeriod. The error is ErrClosed.
func (e *Endpoint) Close(id ClientID, code Code, reason string) error {
	if !code.Sendable() {
		panic("ws: Endpoint.Close: code " + code.String() + " must not be sent (RFC 6455 §7.4); use CodeNormal, another of its kind, or 3000 to 4999")
	}
	c := e.table.find(id)
	if c == nil {
		return ErrClosed
	}
	return c.close(code, reason)
}

// Info tells about a client; false if there is none with this id.
func (e *Endpoint) Info(id ClientID) (Info, bool) {
	c := e.table.find(id)
	if c == nil {
		return Info{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info := Info{
		Traffic:      c.traffic(),
		Connected:    e.epoch.Add(time.Duration(c.opened) * time.Second),
		LastRead:     e.at(c.lastRead),
		LastSent:     e.at(c.lastSent),
		LastDataRead: e.at(c.lastDataRead),
		LastDataSent: e.at(c.lastDataSent),
		RoundTrip:    time.Duration(c.roundTrip) * time.Microsecond,
		Compressed:   c.deflate.enabled(),
	}
	if c.subprotocol > 0 {
		info.Subprotocol = e.options.Subprotocols[c.subprotocol-1]
	}
	if how := c.closing.Load(); how != nil {
		info.Closed, info.Code, info.Reason = how.at, how.code, how.reason
	}
	return info, true
}

// at is a time that a conn keeps in seconds, 0 for never.
func (e *Endpoint) at(seconds uint32) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return e.epoch.Add(time.Duration(seconds) * time.Second)
}

// Clients returns the ids of all clients, in no order. Clients may come and go
// meanwhile.
func (e *Endpoint) Clients() iter.Seq[ClientID] {
	return func(yield func(ClientID) bool) {
		e.table.each(func(c *conn) bool { return yield(c.id) })
	}
}

// Len returns how many clients there are.
func (e *Endpoint) Len() int { return int(e.table.length.Load()) }

// opened makes a conn known and sends its 101: in this order, so that a client
// that has its 101 gets whatever is broadcast from then on.
func (e *Endpoint) opened(c *conn, o *arrival) {
	now := e.seconds()
	e.clock.Store(now)
	c.endpoint, c.opened, c.lastRead = e, now, now
	c.subprotocol, c.deflate = o.subprotocol, o.deflate
	c.mu.Lock()
	c.delivered = e.feed.count.Load()
	e.table.add(c)
	c.greet(e.appendSwitch(getBuffer(512), o))
	c.mu.Unlock()
	e.startSweeping() // only now: a sweep that finds nobody is the last
	e.counters.accepted.Add(1)
	e.options.Logger.LogAttrs(context.Background(), slog.LevelDebug, "ws: opened", slog.Uint64("client", uint64(c.id)))
}

// ended calls OnClose and forgets the conn.
func (e *Endpoint) ended(c *conn, how *closing, traffic Traffic) {
	e.counters.ended(how.code, &traffic)
	e.options.Logger.LogAttrs(context.Background(), slog.LevelDebug, "ws: closed",
		slog.Uint64("client", uint64(c.id)), slog.Int("code", int(how.code)), slog.String("reason", how.reason))
	defer e.table.remove(c)
	defer c.recovered("OnClose")
	e.application.closed(c.id, how.code, how.reason)
}
