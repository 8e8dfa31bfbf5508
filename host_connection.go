package aerys

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/http1"
	"aerys/internal/listen"
	"aerys/internal/loop"
	"aerys/internal/page"
)

// connections counts the client connections of a Server, and bounds them.
type connections struct {
	options *Options
	limit   int64 // of weight
	each    int64 // what a connection weighs: 1, or the descriptors that are kept for it

	weight         atomic.Int64
	open, accepted atomic.Int64
	refused        atomic.Int64
	warned         atomic.Int64 // Unix time of the last warning

	whole, slim held // how connections are counted: those of HTTP, and those that need no file

	mu    sync.Mutex
	perIP map[netip.Prefix]int // nil without ConnectionsPerIP
}

func newConnections(options *Options) *connections {
	c := &connections{options: options, limit: int64(options.MaxConnections), each: 1}
	if c.limit == 0 {
		c.limit, c.each = connectionFiles(listen.OpenFiles()), filesEach
	}
	c.whole, c.slim = held{c, c.each}, held{c, 1}
	if options.ConnectionsPerIP > 0 {
		c.perIP = make(map[netip.Prefix]int)
	}
	return c
}

// filesEach is how many descriptors are kept for a connection: its own, and
// that of a file that it is sent. An upgraded one has no file.
const filesEach = 2

// connectionFiles is how many of the files that may be open are for connections
// and what they are sent: not for pipes, and not a tenth, at least 64, for files
// and connections elsewhere. Without a limit of files it is 10000 connections.
func connectionFiles(files int) int64 {
	if files == 0 {
		return 10000 * filesEach
	}
	return int64(max(filesEach, files-min(max(64, files/10), 512)-2*loop.MaxPipes(files)))
}

// room takes what weighs that much into the count, if there is room for it.
func (c *connections) room(weight int64) bool {
	if c.weight.Add(weight) <= c.limit {
		return true
	}
	c.weight.Add(-weight)
	return false
}

// held is what a connection takes of the limits, until it is over. All that take
// the same share it.
type held struct {
	all    *connections
	weight int64
}

// Upgraded tells that the connection is no longer one of HTTP: it needs no file.
func (h *held) Upgraded() http1.Counted {
	h.all.weight.Add(1 - h.weight)
	return &h.all.slim
}

// Over takes the connection out of the count.
func (h *held) Over() {
	h.all.open.Add(-1)
	h.all.weight.Add(-h.weight)
}

// neighbour is a connection that is counted for the network that it comes from,
// too.
type neighbour struct {
	http1.Counted
	all     *connections
	network netip.Prefix
}

func (n *neighbour) Upgraded() http1.Counted {
	n.Counted = n.Counted.Upgraded()
	return n
}

func (n *neighbour) Over() {
	n.Counted.Over()
	n.all.leaveNetwork(n.network)
}

// enter counts a new connection. Where there is no room, those that are idle for
// the longest time give way; if there are none, the new one is refused: it
// returns nil.
func (c *connections) enter(conn *loop.Conn) http1.Counted {
	if !c.room(c.each) {
		if !http1.EndIdlest(conn.Loop()) {
			c.refuse(conn, "MaxConnections", c.limit/c.each)
			return nil
		}
		c.weight.Add(c.each) // what was ended is over in a moment
	}
	var entered http1.Counted = &c.whole
	if remote := conn.RemoteAddr(); c.perIP != nil && remote.IsValid() {
		network := clientNetwork(remote.Addr())
		if !c.enterNetwork(network) {
			c.weight.Add(-c.each)
			c.refuse(conn, "ConnectionsPerIP", int64(c.options.ConnectionsPerIP))
			return nil
		}
		entered = &neighbour{entered, c, network}
	}
	c.open.Add(1)
	c.accepted.Add(1)
	return entered
}

// clientNetwork is what counts as one client: an IPv4 address, or the /56 that
// providers hand to a household.
func clientNetwork(ip netip.Addr) netip.Prefix {
	bits := 56
	if ip = ip.Unmap(); ip.Is4() {
		bits = 32
	}
	network, _ := ip.WithZone("").Prefix(bits)
	return network
}

// enterNetwork counts a connection for the network it comes from.
func (c *connections) enterNetwork(network netip.Prefix) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network] >= c.options.ConnectionsPerIP {
		return false
	}
	c.perIP[network]++
	return true
}

// leaveNetwork undoes enterNetwork.
func (c *connections) leaveNetwork(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network]--; c.perIP[network] == 0 {
		delete(c.perIP, network)
	}
}

// refuse notes that there was no room for a connection; the log hears of it
// once a second at most.
func (c *connections) refuse(conn *loop.Conn, option string, limit int64) {
	refused := c.refused.Add(1)
	if now, last := time.Now().Unix(), c.warned.Load(); now > last && c.warned.CompareAndSwap(last, now) {
		c.options.Logger.Warn("aerys: connection refused", slog.String("option", option), slog.Int64("limit", limit),
			slog.String("client", conn.RemoteAddr().String()), slog.Int64("refused", refused))
	}
}

// multiplexed is a connection that speaks HTTP/2.
type multiplexed struct {
	http1.Counted
	all      *connections
	requests atomic.Int32
	lent     atomic.Bool // to a request: the file that is kept for the connection
}

// beginStream takes a request over HTTP/2 into the count, if there is room for
// the file that it may be sent: that which is kept for the connection, or more.
func (c *multiplexed) beginStream() (weight int64, ok bool) {
	if c.all.each == 1 || c.lent.CompareAndSwap(false, true) {
		return 0, true
	}
	return 1, c.all.room(1)
}

func (c *multiplexed) endStream(weight int64) {
	if weight == 0 {
		c.lent.Store(false)
	}
	c.all.weight.Add(-weight)
}

// countRequest reports whether a request over HTTP/2 is to be the connection's
// last.
func (c *multiplexed) countRequest() bool {
	n, limit := c.requests.Add(1), c.all.options.MaxRequestsPerConnection
	return limit > 0 && int(n) >= limit
}

// protocols are what the connections of a listener speak: HTTP/1.1 on the
// server's loop, and HTTP/2 as net/http has it.
type protocols struct {
	http1 *http1.Server
	http2 *http.Server
	queue *queue
}

func newProtocols(l *listener, options *Options) protocols {
	log := slog.NewLogLogger(options.Logger.Handler(), slog.LevelWarn)
	p := protocols{queue: newQueue(l.bound.Addr(), l.service.connections)}
	p.http2 = newHTTP2Server(l, p.queue, options)
	p.http2.ErrorLog = log
	p.http1 = &http1.Server{
		Handler:        l,
		ContextValue:   p.http2, // handlers look for an *http.Server
		HTTP2:          p.queue.add,
		ErrorPage:      refusalPage,
		ErrorLog:       log,
		MaxHeaderBytes: options.MaxHeaderSize,
		MaxRequests:    options.MaxRequestsPerConnection,
		HeaderTimeout:  options.ConnectionTimeout,
		IdleTimeout:    options.IdleTimeout,
		BodyTimeout:    patience*options.ConnectionTimeout + sweepPeriod,
		WriteTimeout:   patience*options.ConnectionTimeout + sweepPeriod,
	}
	return p
}

// refusalPage is what a request gets that no host has seen: the page that hosts
// send, and why.
func refusalPage(e *http1.Error) (contentType, body string) {
	return page.Type, page.Error(e.Status, e.Reason)
}

// patience is for how many ConnectionTimeouts more of a body is waited for, and a
// client that takes nothing of a response: networks stall longer in the middle
// of something than before a header.
const patience = 10

// sweepPeriod is how often connections are looked at: whether one moves shows
// only after that.
const sweepPeriod = time.Second

// newHTTP2Server serves HTTP/2 and nothing else.
func newHTTP2Server(l *listener, q *queue, options *Options) *http.Server {
	server := &http.Server{
		Handler:                      l,
		ReadHeaderTimeout:            options.ConnectionTimeout,
		IdleTimeout:                  options.IdleTimeout,
		MaxHeaderBytes:               max(1, options.MaxHeaderSize-4096), // net/http adds this much
		ConnContext:                  q.context,
		ConnState:                    q.state,
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true,
		// Larger frames than RFC 9113 §4.2's minimum would gain little, and
		// net/http checks the size of a frame only against its own maximum.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: options.MaxConcurrentStreams, MaxReadFrameSize: 16384,
			SendPingTimeout: options.ConnectionTimeout},
	}
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server
}

// queue is a listener that net/http accepts connections from which turned out to
// speak HTTP/2.
type queue struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once

	connections *connections

	mu    sync.Mutex
	added map[net.Conn]*multiplexed
}

func newQueue(addr net.Addr, connections *connections) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{}), connections: connections,
		added: make(map[net.Conn]*multiplexed)}
}

// add has a connection accepted.
func (q *queue) add(conn net.Conn, counted http1.Counted) {
	q.mu.Lock()
	q.added[conn] = &multiplexed{Counted: counted, all: q.connections}
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
func (q *queue) Addr() net.Addr { return q.addr }
