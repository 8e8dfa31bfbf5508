package ws

import (
	"context"
	"net/http"
	"sync/atomic"

	"aerys/ws/internal/deflate"
)

// This file is what a connection brings with it from its handshake.

// arrival is what a new connection begins with.
type arrival struct {
	agreement
	life     *life
	mount    *mount // the http.Server that it came through, if that is known
	opener   opener
	greeting []byte       // the 101
	announce func() error // sends what is there in its place over HTTP/2
}

// opener calls OnOpen with what OnHandshake returned.
type opener func(ClientID)

// mark is the mount that a client has to remember.
func (o *arrival) mark() *mount {
	if o.mount == nil || o.mount == o.life.home || o.mount.native.Load() && o.life.home.native.Load() {
		return nil
	}
	return o.mount
}

// tooLate reports whether the server that a client comes through was shut down.
func (o *arrival) tooLate() bool { return o.mount != nil && o.mount.down.Load() }

// agreement is what a handshake settled.
type agreement struct {
	key         string // "" over HTTP/2
	subprotocol string
	deflate     deflate.Terms
	extensions  string // the value of Sec-WebSocket-Extensions
}

// life is a gateway from OnStart to the end of Stop.
type life struct {
	started chan struct{} // closed when OnStart has returned
	err     error         // why it may not serve; set before started is closed
	over    bool          // Stop was called
	closed  bool          // because all its servers were shut down
	ended   chan struct{} // closed when Stop has ended
	mounts  map[*http.Server]*mount
	home    *mount // the first of them
}

func newLife() *life {
	return &life{started: make(chan struct{}), ended: make(chan struct{}), mounts: make(map[*http.Server]*mount)}
}

// isOver reports whether a channel is closed.
func isOver(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// wait waits until the gateway has started.
func (l *life) wait(ctx context.Context) error {
	if isOver(l.started) { // else a context makes a channel
		return l.err
	}
	select {
	case <-l.started:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mount is an http.Server that brought handshakes.
type mount struct {
	down   atomic.Bool // it was shut down
	native atomic.Bool // it belongs to a Server of package aerys
}

// provenance is where a client is from, if that is neither what it says itself
// nor where the others are from.
type provenance struct {
	mount       *mount // nil: life.home, or another of its Server
	subprotocol string // that OnHandshake chose
}
