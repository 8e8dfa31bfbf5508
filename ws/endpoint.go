package ws

import (
	"iter"
	"time"

	"aerys/ws/frame"
)

// Info is what is known about a client. Times are in steps of a second, and
// zero for what has not happened.
type Info struct {
	Traffic
	Connected    time.Time     `json:"connected"`
	LastRead     time.Time     `json:"last_read,omitzero"`
	LastSent     time.Time     `json:"last_sent,omitzero"`
	LastDataRead time.Time     `json:"last_data_read,omitzero"`
	LastDataSent time.Time     `json:"last_data_sent,omitzero"`
	RoundTrip    time.Duration `json:"round_trip,omitzero"` // of the last ping that was answered
	Subprotocol  string        `json:"subprotocol,omitzero"`
	Compressed   bool          `json:"compressed"`

	Closed time.Time `json:"closed,omitzero"` // when the closing handshake began
	Code   Code      `json:"code,omitzero"`
	Reason string    `json:"reason,omitzero"`
}

// Send sends a text message. It returns nil once the message is written or
// queued. While more than Options.MaxQueuedBytes or MaxQueuedMessages wait for
// the client it blocks, as long as the client takes something now and then: if
// it takes nothing for Options.WriteTimeout it is closed. The error is
// ErrClosed, ErrSlowClient, or ErrInvalidText if data is not UTF-8.
func (e *Endpoint) Send(data string, id ClientID) error {
	return sendTo(e, id, frame.Text, data, nil, true)
}

// SendText is Send for text held in a byte slice, which is not kept.
func (e *Endpoint) SendText(data []byte, id ClientID) error {
	return sendTo(e, id, frame.Text, data, data, true)
}

// SendBinary sends a binary message as Send does. The slice is not kept.
func (e *Endpoint) SendBinary(data []byte, id ClientID) error {
	return sendTo(e, id, frame.Binary, data, data, true)
}

// TrySend is Send that never blocks: while more than Options.MaxQueuedBytes or
// MaxQueuedMessages wait, the message is not sent and the error is
// ErrSlowClient. Behind a Writer that is open the message waits for its end. The
// client stays, whatever it is told: to leave out what would come too late
// anyway is up to the application.
func (e *Endpoint) TrySend(data string, id ClientID) error {
	return sendTo(e, id, frame.Text, data, nil, false)
}

// TrySendText is TrySend for text held in a byte slice, which is not kept.
func (e *Endpoint) TrySendText(data []byte, id ClientID) error {
	return sendTo(e, id, frame.Text, data, data, false)
}

// TrySendBinary is TrySend for a binary message. The slice is not kept.
func (e *Endpoint) TrySendBinary(data []byte, id ClientID) error {
	return sendTo(e, id, frame.Binary, data, data, false)
}

func sendTo[T string | []byte](e *Endpoint, id ClientID, opcode frame.Opcode, data T, direct []byte, wait bool) error {
	if err := checkText(opcode, data); err != nil {
		return err
	}
	c := e.find(id)
	if c == nil {
		return ErrClosed
	}
	return send(c, opcode, data, direct, wait)
}

// Broadcast sends a text message to every client but those excepted. It never
// waits for a client: one that is behind and does not get on is closed, and so
// is one that is behind by far, see Options.MaxQueuedBytes. Who broadcasts
// faster than the processors deliver waits for them. Text that is not UTF-8 is
// not sent: the error is ErrInvalidText. With Options.Broker it goes to the clients of
// all nodes, and the error may be ErrBroker; exceptions are of this node.
func (e *Endpoint) Broadcast(data string, except ...ClientID) error {
	return broadcast(e, frame.Text, data, except)
}

// BroadcastText is Broadcast for text held in a byte slice, which is not kept.
func (e *Endpoint) BroadcastText(data []byte, except ...ClientID) error {
	return broadcast(e, frame.Text, data, except)
}

// BroadcastBinary is Broadcast for a binary message. The slice is not kept.
func (e *Endpoint) BroadcastBinary(data []byte, except ...ClientID) error {
	return broadcast(e, frame.Binary, data, except)
}

func broadcast[T string | []byte](e *Endpoint, opcode frame.Opcode, data T, except []ClientID) error {
	to := everyone{&e.table.roster}
	l := e.link.Load()
	if l == nil {
		return publish(e, to, opcode, data, except)
	}
	return everywhere(l, everyTopic, opcode, data, func() error { return publish(e, to, opcode, data, except) })
}

// Multicast sends a text message to the clients named. It never waits for one:
// see Broadcast. Ids of clients that are gone are passed over.
func (e *Endpoint) Multicast(data string, ids ...ClientID) error {
	return publish(e, e.members(ids), frame.Text, data, nil)
}

// MulticastText is Multicast for text held in a byte slice, which is not kept.
func (e *Endpoint) MulticastText(data []byte, ids ...ClientID) error {
	return publish(e, e.members(ids), frame.Text, data, nil)
}

// MulticastBinary is Multicast for a binary message. The slice is not kept.
func (e *Endpoint) MulticastBinary(data []byte, ids ...ClientID) {
	publish(e, e.members(ids), frame.Binary, data, nil)
}

// Close starts the closing handshake with a client (RFC 6455 §7.1.2), after
// what was sent to it before. Code is CodeNormal or any other that may be sent
// (else Close panics); the reason is cut to 123 bytes. The connection ends when
// the client answers, or Options.ClosePeriod after the close frame has left. If
// what was sent before could not be, OnClose gets CodeAbnormal. The error is
// ErrClosed.
func (e *Endpoint) Close(id ClientID, code Code, reason string) error {
	mustBeSendable("Close", code)
	c := e.find(id)
	if c == nil {
		return ErrClosed
	}
	return c.close(code, reason)
}

func mustBeSendable(method string, code Code) {
	if !code.Sendable() {
		panic("ws: Endpoint." + method + ": code " + code.String() + " must not be sent (RFC 6455 §7.4); use CodeNormal, another of its kind, or 3000 to 4999")
	}
}

// Info tells about a client; false if there is none with this id.
func (e *Endpoint) Info(id ClientID) (Info, bool) {
	c := e.find(id)
	if c == nil {
		return Info{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info := Info{
		Traffic:      c.traffic(),
		Connected:    c.at(c.opened),
		LastRead:     c.at(c.lastRead),
		LastSent:     c.at(c.lastSent),
		LastDataRead: c.at(c.lastDataRead),
		LastDataSent: c.at(c.lastDataSent),
		RoundTrip:    time.Duration(c.roundTrip) * time.Microsecond,
		Compressed:   c.deflate.Enabled(),
	}
	switch {
	case c.subprotocol > 0:
		info.Subprotocol = e.options.Subprotocols[c.subprotocol-1]
	case c.extra != nil && c.extra.origin != nil:
		info.Subprotocol = c.extra.origin.subprotocol
	}
	if how := c.closing.Load(); how != nil {
		info.Closed, info.Code, info.Reason = how.at, how.code, how.reason
	}
	return info, true
}

// SetValue keeps a value for a client, in place of the one before. It goes when
// OnClose has returned. The error is ErrClosed.
func (e *Endpoint) SetValue(id ClientID, value any) error {
	c := e.find(id)
	if c == nil {
		return ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extras().value = value
	return nil
}

// Value returns what SetValue kept for a client, in OnClose, too; nil if that is
// nothing, or the client is gone.
func (e *Endpoint) Value(id ClientID) any {
	c := e.find(id)
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extra == nil {
		return nil
	}
	return c.extra.value
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
