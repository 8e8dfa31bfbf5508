package aerys

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"aerys/internal/http1"
)

// protocols are what the connections of a listener speak: HTTP/1.1 on the
// server's loop, and HTTP/2 as net/http has it.
type protocols struct {
	http1 *http1.Server
	http2 *http.Server
	queue *queue
}

func newProtocols(l *listener, options *Options) protocols {
	log := slog.NewLogLogger(options.Logger.Handler(), slog.LevelWarn)
	p := protocols{queue: newQueue(l.bound.Addr())}
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
	return "text/html; charset=utf-8", errorPage(e.Status, e.Reason)
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

	mu      sync.Mutex
	counted map[net.Conn]*connection
}

func newQueue(addr net.Addr) *queue {
	return &queue{addr: addr, conns: make(chan net.Conn), done: make(chan struct{}), counted: make(map[net.Conn]*connection)}
}

// add has a connection accepted.
func (q *queue) add(conn net.Conn, counted http1.Counted) {
	q.mu.Lock()
	q.counted[conn] = counted.(*connection)
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
	c := q.counted[conn]
	delete(q.counted, conn)
	q.mu.Unlock()
	if c != nil {
		c.Over()
	}
}

// connectionKey is the key of the *connection in the context of a request over
// HTTP/2.
type connectionKey struct{}

// context lets a request find its connection.
func (q *queue) context(ctx context.Context, conn net.Conn) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	return context.WithValue(ctx, connectionKey{}, q.counted[conn])
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
