package ws

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"aerys"
)

// Gateway is a WebSocket endpoint as an action of package aerys. It is an
// http.Handler too, and can be mounted on any http.ServeMux.
type Gateway struct {
	endpoint Endpoint

	mu       sync.Mutex // guards all below
	started  bool
	startErr error
	ended    chan struct{} // closed when Stop has ended; nil before it is called

	stopWith sync.Once
	plain    aerys.Host // serves the gateway as an http.Handler
}

// Websocket makes an action of a WebSocket application. It panics if the
// handler is nil or the options can never work.
func Websocket[T any](handler Handler[T], options ...Options) *Gateway {
	if v := reflect.ValueOf(handler); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		panic("ws: Websocket: the handler is nil")
	}
	if len(options) > 1 {
		panic(fmt.Sprintf("ws: Websocket: %d Options: pass one", len(options)))
	}
	var chosen Options
	if len(options) == 1 {
		chosen = options[0]
	}
	g := new(Gateway)
	g.endpoint.init(typed[T]{handler}, chosen.withDefaults())
	g.plain.Use(g)
	return g
}

// init readies an endpoint.
func (e *Endpoint) init(application application, options *Options) {
	e.application, e.options, e.epoch = application, options, time.Now()
	e.feed.room.L = &e.feed.mu
	e.soon.endpoint = e
}

// Endpoint returns the gateway's clients and how to reach them, the same that
// OnStart gets.
func (g *Gateway) Endpoint() *Endpoint { return &g.endpoint }

// Start calls OnStart. Servers of package aerys call it before they listen;
// without one, the first request does. The error is OnStart's.
func (g *Gateway) Start(context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started {
		return g.startErr
	}
	g.started = true
	g.startErr = g.endpoint.application.start(&g.endpoint)
	return g.startErr
}

// stopping refuses handshakes during and after Stop.
var stopping = &refusal{http.StatusServiceUnavailable, "the server is stopping"}

// Serve answers a WebSocket handshake.
func (g *Gateway) Serve(req *aerys.Request, res *aerys.Response) {
	e := &g.endpoint
	if g.isStopped() {
		e.refuse(req, res, stopping)
		return
	}
	if err := g.Start(req.Context()); err != nil {
		e.options.Logger.Error("ws: OnStart failed", slog.Any("error", err))
		e.refuse(req, res, &refusal{http.StatusServiceUnavailable, "the endpoint did not start"})
		return
	}
	o := new(arrival)
	if no := e.check(req.Request, &o.agreement); no != nil {
		e.refuse(req, res, no)
		return
	}
	res.BeginHandshake()
	o.opener = e.application.handshake(req, res)
	if !res.EndHandshake() {
		e.counters.rejects("declined by OnHandshake")
		return
	}
	if !g.enter() {
		e.refuse(req, res, stopping)
		return
	}
	o.header = res.Header()
	if err := e.takeOver(res, o); err != nil {
		e.entering.Done()
		e.options.Logger.Error("ws: the connection cannot be taken over: a middleware's ResponseWriter needs Unwrap", slog.Any("error", err))
		e.refuse(req, res, &refusal{http.StatusInternalServerError, "the connection cannot be taken over"})
	}
}

// ServeHTTP answers a WebSocket handshake of a net/http server. When that
// server is shut down the gateway closes its clients.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		g.stopWith.Do(func() {
			server.RegisterOnShutdown(func() {
				ctx, cancel := context.WithTimeout(context.Background(), 2*g.endpoint.options.ClosePeriod)
				defer cancel()
				g.Stop(ctx)
			})
		})
	}
	g.plain.ServeHTTP(w, r)
}

// arrival is what a new connection begins with.
type arrival struct {
	agreement
	opener  opener
	header  http.Header // of the 101
	conn    net.Conn
	release func() // tells the listener that the connection is over
	early   []byte // what the client sent behind its handshake
}

// takeOver takes the connection from net/http and gives it to an engine.
func (e *Endpoint) takeOver(res *aerys.Response, o *arrival) error {
	epoll := e.options.Engine != EnginePortable && e.engine.ready(e)
	if epoll {
		var ok bool
		if o.conn, o.release, ok = res.Detach(); ok {
			e.engine.adopt(o)
			return nil
		}
	}
	nc, buffered, err := res.Hijack()
	if err != nil {
		return err
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		o.early = append(o.early, early...)
	}
	o.conn, o.release = nc, func() {}
	if c, ok := nc.(interface {
		Detach() (net.Conn, func())
	}); ok { // of aerys.Server
		o.conn, o.release = c.Detach()
	}
	if epoll && isSocket(o.conn) {
		e.engine.adopt(o)
	} else {
		adoptPortable(e, o)
	}
	return nil
}

func (g *Gateway) isStopped() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended != nil
}

// enter announces a client, unless the gateway is stopped.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended != nil {
		return false
	}
	g.endpoint.entering.Add(1)
	return true
}

// Stop calls OnStop, closes all clients with 1001 (RFC 6455 §7.4.1) and waits
// for them, for Options.ClosePeriod or until ctx is done; then it drops them.
// New handshakes get 503. Called again it waits for the first call to return, or
// until ctx is done. The error is always nil: whoever is dropped is told to
// OnClose.
func (g *Gateway) Stop(ctx context.Context) error {
	g.mu.Lock()
	ended, running := g.ended, g.started && g.startErr == nil
	if ended == nil {
		g.ended = make(chan struct{})
		defer close(g.ended)
	}
	g.mu.Unlock()
	switch {
	case ended != nil:
		select {
		case <-ended:
		case <-ctx.Done():
		}
	case running:
		g.endpoint.stop(ctx)
	}
	return nil
}

// stop is Gateway.Stop for an endpoint that runs.
func (e *Endpoint) stop(ctx context.Context) {
	e.entering.Wait()
	e.application.stop()
	e.flushFeed()
	ctx, cancel := context.WithTimeout(ctx, e.options.ClosePeriod)
	defer cancel()
	e.table.each(func(c *conn) bool { c.close(CodeGoingAway, "server stops"); return true })
	if e.gone(ctx) != nil {
		e.table.each(func(c *conn) bool { c.drop(); return true })
		dropping, cancel := context.WithTimeout(context.Background(), dropPeriod)
		defer cancel()
		e.gone(dropping)
	}
	e.engine.stop()
}

// dropPeriod bounds how long Stop waits for OnClose of the clients that it
// drops. Those whose handler does not return end when it does.
const dropPeriod = time.Second

// gone waits until there are no clients.
func (e *Endpoint) gone(ctx context.Context) error {
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for e.table.length.Load() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// drop ends the connection at once.
func (c *conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abandon(CodeGoingAway, "server stops")
}
