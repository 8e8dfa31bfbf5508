package serve

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"aerys/internal/http1"
	"aerys/internal/listen"
)

// newHTTP2Server serves HTTP/2 and nothing else.
func newHTTP2Server(handler http.Handler, q *queue, limits *Limits) *http.Server {
	server := &http.Server{
		Handler:                      handler,
		ReadHeaderTimeout:            limits.Header,
		IdleTimeout:                  limits.Idle,
		MaxHeaderBytes:               max(1, limits.HeaderBytes-4096), // net/http adds this much
		ConnContext:                  q.context,
		ConnState:                    q.state,
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true,
		// Larger frames than RFC 9113 §4.2's minimum would gain little, and
		// net/http checks the size of a frame only against its own maximum.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limits.Streams, MaxReadFrameSize: 16384, SendPingTimeout: limits.Header},
	}
	if _, announced := Tunnels(); announced { // else one that is not read would hold up the uploads beside it
		const window, usual = 64 << 10, 1 << 20
		server.HTTP2.MaxReceiveBufferPerStream = window
		server.HTTP2.MaxReceiveBufferPerConnection = min(limits.Tunnels, 1<<14)*window + usual
	}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server
}

// queue is a listener that net/http accepts connections from which turned out to
// speak HTTP/2.
type queue struct {
	socket *listen.Socket
	server *Server
	conns  chan net.Conn
	done   chan struct{}
	once   sync.Once

	mu    sync.Mutex
	added map[net.Conn]*multiplexed
}

func newQueue(socket *listen.Socket, server *Server) *queue {
	return &queue{socket: socket, server: server, conns: make(chan net.Conn), done: make(chan struct{}),
		added: make(map[net.Conn]*multiplexed)}
}

// add has a connection accepted.
func (q *queue) add(conn net.Conn, counted http1.Counted) {
	q.mu.Lock()
	q.added[conn] = &multiplexed{Counted: counted, server: q.server}
	q.mu.Unlock()
	select {
	case q.conns <- conn:
	case <-q.done:
		conn.Close()
		q.remove(conn)
	}
}

func (q *queue) remove(conn net.Conn) {
	q.mu.Lock()
	c := q.added[conn]
	delete(q.added, conn)
	q.mu.Unlock()
	if c != nil {
		c.Over()
	}
}

// connectionKey is the key of the *multiplexed in the context of a request over
// HTTP/2.
type connectionKey struct{}

// context lets a request find its connection.
func (q *queue) context(ctx context.Context, conn net.Conn) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	return context.WithValue(ctx, connectionKey{}, q.added[conn])
}

// state hears of a connection's end.
func (q *queue) state(conn net.Conn, state http.ConnState) {
	if state == http.StateClosed || state == http.StateHijacked {
		q.remove(conn)
	}
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.socket.Bound.Addr() }

// multiplexed is a connection that speaks HTTP/2.
type multiplexed struct {
	http1.Counted
	server   *Server
	requests atomic.Int32
	tunnels  atomic.Int32
	lent     atomic.Bool // to a request: the file that is kept for the connection
}

// Stream is a request over HTTP/2 that has been counted.
type Stream struct {
	connection *multiplexed
	weight     int64
	tunnel     bool
}

// BeginStream takes a request over HTTP/2 into the count, if there is room for
// the file that it may be sent: that which is kept for the connection, or more.
// last tells that the request is to be the connection's last. A tunnel (RFC 8441 §4) is
// sent no file, and there may be so many of them.
func BeginStream(r *http.Request) (s Stream, last, room bool) {
	c := r.Context().Value(connectionKey{}).(*multiplexed)
	n, limit := c.requests.Add(1), c.server.limits.Requests
	last = limit > 0 && int(n) >= limit || c.server.isEnding()
	if r.Header[":protocol"] != nil {
		s := Stream{connection: c, tunnel: true}
		if room = int(c.tunnels.Add(1)) <= c.server.limits.Tunnels; !room {
			s.End()
		}
		return s, last, room
	}
	if c.server.each == 1 || c.lent.CompareAndSwap(false, true) {
		return Stream{connection: c}, last, true
	}
	return Stream{connection: c, weight: 1}, last, c.server.room(1)
}

// End takes the request out of the count.
func (s Stream) End() {
	switch {
	case s.tunnel:
		s.connection.tunnels.Add(-1)
	case s.weight == 0:
		s.connection.lent.Store(false)
	}
	s.connection.server.weight.Add(-s.weight)
}
