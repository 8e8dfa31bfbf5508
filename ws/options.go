package ws

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"aerys/internal/field"
)

// Engine says how an endpoint's connections wait for bytes.
type Engine int

const (
	// EngineAuto is the best engine for a connection: EngineEpoll where it can
	// serve it, EnginePortable elsewhere.
	EngineAuto Engine = iota
	// EnginePortable waits in a goroutine per connection. It serves every
	// connection on every operating system.
	EnginePortable
	// EngineEpoll gives a connection a goroutine only while it has something
	// to do. On Linux it serves all connections of a Server of package aerys, and
	// plain TCP and Unix sockets of others; all else is served by EnginePortable.
	EngineEpoll
)

// Options are the settings of an endpoint. The zero value of each field stands
// for the default that its comment names; sizes are in bytes. A negative limit
// means none.
type Options struct {
	// MaxFrameSize bounds the payload of one frame. A longer one closes the
	// client with 1009. Default 2 MiB.
	MaxFrameSize int64
	// MaxMessageSize bounds a message, all its frames together and after
	// decompression. A longer one closes the client with 1009. Default 2 MiB.
	MaxMessageSize int64
	// MaxFramesPerMessage bounds the fragments of a message, so that a flood
	// of empty ones ends: closed with 1008. Default 8192.
	MaxFramesPerMessage int
	// MaxBytesPerMinute bounds what is read from one client: that much at
	// once, and what was used comes back continuously. A client that has used
	// it all is read from as it comes back, and no faster; its control frames
	// and its end are seen meanwhile. Default 8 MiB; above 4 GiB it is none.
	MaxBytesPerMinute int64
	// MaxFramesPerSecond bounds the frames read from one client likewise.
	// Default 1000: several times what a game at 144 frames a second or a
	// shared cursor sends, and a small part of what a flood needs.
	MaxFramesPerSecond int
	// MaxReadAhead bounds what is read of a client while its handler runs or
	// while it is over a rate, so that its pings are answered and its close
	// frame and its end are noticed at once. What does not fit stays with the
	// operating system, control frames behind it too. Default 64 KiB, the least
	// is 4 KiB.
	MaxReadAhead int
	// AutoFrameSize is the payload of the frames in which Endpoint.Writer
	// sends, and how much of an incomplete message is gathered before OnData
	// is called to read it piece by piece. Default 64 KiB − 9.
	AutoFrameSize int
	// HeartbeatPeriod is after how much silence a client is sent a ping, in
	// steps of a second. Whatever comes from it breaks the silence, and so does
	// a queue that it takes something of. Default 10 s.
	HeartbeatPeriod time.Duration
	// QueuedPingLimit is how many pings may be sent into one silence before
	// the client is closed with 1008. Default 3.
	QueuedPingLimit int
	// ClosePeriod bounds how long the closing handshake waits for the client,
	// from when the close frame has left, in steps of a second. Default 3 s.
	ClosePeriod time.Duration
	// WriteTimeout is for how long what waits for a client may stand still, in
	// steps of a second: if it takes nothing it is closed, with 1008 if that
	// can be told. How long all of it takes has no bound. Default 10 s.
	WriteTimeout time.Duration
	// MaxQueuedBytes and MaxQueuedMessages bound what waits for a client
	// behind the frame that is on its way. While more waits, Endpoint.Send
	// blocks; a broadcast closes the client with 1008 if it has taken nothing
	// for half of WriteTimeout, or if it is behind by more than 32 times as
	// much.
	// What waits of a broadcast is in memory once, for all clients. Defaults
	// 1 MiB and 65536.
	MaxQueuedBytes    int
	MaxQueuedMessages int
	// TextOnly closes a client that sends a binary message with 1003.
	TextOnly bool
	// Subprotocols are those that the endpoint speaks, most wanted first.
	Subprotocols []string
	// Origins are the origins whose pages may connect besides those of the
	// request's own host: "https://example.com", "https://*.example.com",
	// "null" and "file://" as browsers name pages without a host, or "*" for
	// any. A request without Origin is no browser's and may connect. Behind a
	// proxy that changes Host, the own host is what aerys.TrustedProxies makes
	// of the request. Refusals are logged, once a second at most.
	Origins []string
	// Compression negotiates permessage-deflate (RFC 7692). Default off.
	Compression bool
	// CompressionLevel is that of compress/flate. Default 1.
	CompressionLevel int
	// CompressionThreshold is the size below which a message is sent as it
	// is: less of it is not worth the processor time. Default 512.
	CompressionThreshold int
	// CompressionTakeover lets clients compress with what they sent before,
	// at up to 32 KiB of memory for each client that does.
	CompressionTakeover bool
	// Broker joins the nodes of an application: what is broadcast, published to a
	// topic or closed by topic here reaches the clients of all nodes. A Broker is
	// for one endpoint. Default nil: there is one node.
	Broker Broker
	// BrokerTimeout bounds how long Endpoint.Subscribe waits for the Broker, and
	// the start for its first subscriptions. Default 5 s; negative: no bound.
	BrokerTimeout time.Duration
	// OnLost is called when messages from or to other nodes may have been lost since it was
	// last called, ten times a second at most, one call at a time, from when OnStart
	// has returned until all clients are gone: whoever has to be sure reads
	// what it missed from where it is kept.
	OnLost func()
	// NodeName is what other nodes call this one, see Presence.Silent. Default the
	// name of the machine.
	NodeName string
	// MemberName is what a client is called in Presence.Members, on all nodes; ""
	// leaves it out. It may be called from any goroutine, and has to be quick.
	MemberName func(ClientID) string
	// Engine chooses how connections wait. Default EngineAuto.
	Engine Engine
	// Logger receives failures and, at debug level, every open and close.
	// Default slog.Default().
	Logger *slog.Logger
}

// limit returns value, the default for zero, and no limit for a negative one.
func limit[T ~int | ~int64](value, standard, none T) T {
	switch {
	case value == 0:
		return standard
	case value < 0:
		return none
	}
	return value
}

// withDefaults returns the options with every zero value replaced. It panics
// at a value that can never work, naming it.
func (o Options) withDefaults() *Options {
	o.MaxFrameSize = limit(o.MaxFrameSize, 2<<20, math.MaxInt64)
	o.MaxMessageSize = limit(o.MaxMessageSize, 2<<20, math.MaxInt64)
	o.MaxFramesPerMessage = limit(o.MaxFramesPerMessage, 8192, math.MaxInt)
	o.MaxBytesPerMinute = limit(o.MaxBytesPerMinute, 8<<20, math.MaxInt64)
	if o.MaxBytesPerMinute > math.MaxUint32 {
		o.MaxBytesPerMinute = math.MaxInt64
	}
	o.MaxFramesPerSecond = limit(o.MaxFramesPerSecond, 1000, math.MaxInt)
	o.MaxReadAhead = limit(o.MaxReadAhead, 64<<10, math.MaxInt)
	o.AutoFrameSize = limit(o.AutoFrameSize, 64<<10-9, math.MaxInt)
	o.HeartbeatPeriod = limit(o.HeartbeatPeriod, 10*time.Second, math.MaxInt64)
	o.QueuedPingLimit = limit(o.QueuedPingLimit, 3, math.MaxInt)
	o.ClosePeriod = limit(o.ClosePeriod, 3*time.Second, math.MaxInt64)
	o.WriteTimeout = limit(o.WriteTimeout, 10*time.Second, math.MaxInt64)
	o.MaxQueuedBytes = limit(o.MaxQueuedBytes, 1<<20, math.MaxInt)
	o.MaxQueuedMessages = limit(o.MaxQueuedMessages, 1<<16, math.MaxInt)
	o.CompressionLevel = limit(o.CompressionLevel, 1, 1)
	o.CompressionThreshold = limit(o.CompressionThreshold, 512, 0)
	o.BrokerTimeout = limit(o.BrokerTimeout, 5*time.Second, math.MaxInt64)
	if o.NodeName == "" {
		o.NodeName, _ = os.Hostname()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.check()
	return &o
}

// check panics at options that can never work.
func (o *Options) check() {
	if o.Engine < EngineAuto || o.Engine > EngineEpoll {
		panic(fmt.Sprintf("ws: Options.Engine %d: use EngineAuto, EnginePortable or EngineEpoll", o.Engine))
	}
	if o.CompressionLevel > 9 {
		panic(fmt.Sprintf("ws: Options.CompressionLevel %d: use 1 (fast) to 9 (small)", o.CompressionLevel))
	}
	if len(o.Subprotocols) > math.MaxUint8 {
		panic(fmt.Sprintf("ws: Options.Subprotocols: %d names: 255 are the most", len(o.Subprotocols)))
	}
	for _, name := range o.Subprotocols {
		if !field.IsToken(name) {
			panic(fmt.Sprintf("ws: Options.Subprotocols: %q is not a token (RFC 9110 §5.6.2)", name))
		}
	}
	for _, pattern := range o.Origins {
		if !isOriginPattern(pattern) {
			panic(fmt.Sprintf("ws: Options.Origins: %q: write it as scheme://host, as https://*.example.com, null, file:// or *", pattern))
		}
	}
}
