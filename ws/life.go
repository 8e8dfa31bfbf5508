package ws

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// This file starts and stops a gateway, as often as servers do.

var (
	errStopped = errors.New("ws: the gateway was stopped while it started")
	errStart   = errors.New("ws: OnStart panicked: the log has its stack")
)

// Start calls OnStart, unless the gateway has started already; then it waits
// until OnStart has returned. Servers of package aerys call it before they
// listen; without one, the first handshake does. After Stop, or when OnStart
// failed before, it starts the gateway anew. The error is OnStart's, or that of
// ctx.
func (g *Gateway) Start(ctx context.Context) error {
	for {
		g.mu.Lock()
		l := g.life
		switch {
		case l == nil, isOver(l.ended), !l.over && isOver(l.started) && l.err != nil:
			l = newLife()
			g.life = l
			g.mu.Unlock()
			return g.start(l)
		case !l.over:
			g.mu.Unlock()
			return l.wait(ctx)
		}
		g.mu.Unlock()
		select {
		case <-l.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// start begins a life. Nobody waits for g.mu while OnStart runs, which may call
// Stop.
func (g *Gateway) start(l *life) error {
	e := &g.endpoint
	err := e.connect()
	if err == nil {
		err = errStart
		e.contain("OnStart", func() { err = e.application.start(e) })
		if err != nil {
			e.disconnect(context.Background())
		} else if l := e.link.Load(); l != nil {
			l.begin()
		}
	}
	g.mu.Lock()
	running := err == nil
	if err == nil && l.over {
		err = errStopped
	}
	l.err = err
	over := l.over
	close(l.started)
	g.mu.Unlock()
	if over {
		g.end(context.Background(), l, running)
	}
	return err
}

// begin is the beginning of a handshake: it starts the gateway if nobody has.
func (g *Gateway) begin(r *http.Request, o *arrival) *refusal {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	g.mu.Lock()
	l := g.life
	fresh := l == nil || l.closed && isOver(l.ended) && l.mounts[server] == nil
	if fresh {
		l = newLife()
		g.life = l
	}
	o.life, o.mount = l, g.mounted(l, server)
	refused := l.over || o.tooLate()
	g.mu.Unlock()
	var err error
	switch {
	case refused:
		return stopping
	case fresh:
		if err = g.start(l); err != nil && err != errStart && err != errStopped {
			g.endpoint.options.Logger.Error("ws: OnStart failed", slog.Any("error", err))
		}
	default:
		err = l.wait(r.Context())
	}
	if err != nil {
		return &refusal{http.StatusServiceUnavailable, "the endpoint did not start"}
	}
	return nil
}

// mounted returns what is known of an http.Server, whose shutdown is waited for
// from now on. g.mu is held.
func (g *Gateway) mounted(l *life, server *http.Server) *mount {
	if server == nil || l.over {
		return l.mounts[server]
	}
	m := l.mounts[server]
	if m == nil {
		m = new(mount)
		if l.mounts[server] = m; l.home == nil {
			l.home = m
		}
		server.RegisterOnShutdown(func() { g.unmount(l, m) })
	}
	return m
}

// unmount closes the clients that a server brought, which is shut down, or all
// if it was the last.
func (g *Gateway) unmount(l *life, m *mount) {
	g.mu.Lock()
	m.down.Store(true)
	last := !l.over
	for _, other := range l.mounts {
		last = last && other.down.Load()
	}
	l.closed = l.closed || last
	g.mu.Unlock()
	if last {
		g.stop(context.Background(), l)
		return
	}
	g.endpoint.table.each(func(c *conn) bool {
		if from := c.from(); from == m || from == nil && m == l.home {
			c.close(CodeGoingAway, "server stops")
		}
		return true
	})
}

// from is the mount that a client remembers.
func (c *conn) from() *mount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extra == nil || c.extra.origin == nil {
		return nil
	}
	return c.extra.origin.mount
}

// enter announces a client, unless its handshake came too late.
func (g *Gateway) enter(o *arrival) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if o.life.over || o.tooLate() {
		return false
	}
	g.endpoint.entering.Add(1)
	return true
}

// Stop calls OnStop, closes all clients with 1001 (RFC 6455 §7.4.1) and waits
// for them: as long as each takes something of what was sent to it before within
// Options.WriteTimeout, and from then on for Options.ClosePeriod. It drops those
// that do not answer, and all when ctx is done. New handshakes get 503, until Start is called again. Called again Stop waits
// for the first call to return, or until ctx is done; OnStop must not call it.
// While OnStart runs it does not wait: the gateway stops when OnStart returns.
// The error is always nil: whoever is dropped is told to OnClose.
func (g *Gateway) Stop(ctx context.Context) error {
	g.mu.Lock()
	l := g.life
	if l == nil { // it stays so until Start is called
		l = newLife()
		l.over, g.life = true, l
		close(l.started)
		close(l.ended)
	}
	l.closed = false
	g.mu.Unlock()
	g.stop(ctx, l)
	return nil
}

// stop ends a life, or waits until it has ended.
func (g *Gateway) stop(ctx context.Context, l *life) {
	g.mu.Lock()
	first, started := !l.over, isOver(l.started)
	l.over = true
	g.mu.Unlock()
	switch {
	case first && started:
		g.end(ctx, l, l.err == nil)
	case started:
		select {
		case <-l.ended:
		case <-ctx.Done():
		}
	}
}

// end is the end of a life, whose OnStop is called if it was running.
func (g *Gateway) end(ctx context.Context, l *life, running bool) {
	defer close(l.ended)
	if running {
		g.endpoint.stop(ctx)
		g.endpoint.disconnect(ctx)
	}
}
