package ws

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"sync"
	"time"

	"aerys"
	"aerys/internal/loop"
	"aerys/internal/outlet"
)

// Gateway is a WebSocket endpoint as an action of package aerys. It is an
// http.Handler too, and can be mounted on any http.ServeMux.
//
// It starts once before it serves, and stops once. After that it can be started
// again, as it is when a Server of package aerys serves its Host again.
type Gateway struct {
	accepter
	endpoint Endpoint
	plain    aerys.Host // serves the gateway as an http.Handler

	mu   sync.Mutex // guards life, and all in it
	life *life      // nil until the gateway starts, or is stopped
}

// accepter has a Server know that a handshake over HTTP/2 (RFC 8441) is accepted here.
type accepter = outlet.Accepter

// Websocket makes an action of a WebSocket application. It panics if the
// handler is nil or the options can never work. If the compiler says that the
// type of the handler does not match, see Handler.
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
	g.endpoint.init(newApplication(handler), chosen.withDefaults())
	g.plain.Use(g)
	return g
}

// init readies an endpoint.
func (e *Endpoint) init(application application, options *Options) {
	e.application, e.options, e.epoch = application, options, time.Now()
	e.feed.room.L = &e.feed.mu
	e.soon.after, e.soon.then = time.Millisecond, e.flushFeed
	e.flushDue = func() { e.feed.due.Store(false); e.flushFeed() }
	e.counters.slowDue.after, e.counters.slowDue.then = time.Second, func() { e.counters.reportSlow(e.options.Logger) }
}

// Endpoint returns the gateway's clients and how to reach them, the same that
// OnStart gets.
func (g *Gateway) Endpoint() *Endpoint { return &g.endpoint }

// stopping refuses handshakes during and after Stop.
var stopping = &refusal{http.StatusServiceUnavailable, "the server is stopping"}

// Serve answers a WebSocket handshake. When an http.Server that handshakes came
// through is shut down, the clients that it brought are closed with 1001
// (RFC 6455 §7.4.1), and with the last of these servers the gateway stops; a
// handshake through another one starts it again. Of http.Server.Close nobody is
// told: call Stop.
func (g *Gateway) Serve(req *aerys.Request, res *aerys.Response) {
	e, o := &g.endpoint, new(arrival)
	no := g.begin(req.Request, o)
	if no == nil {
		no = e.check(req.Request, &o.agreement)
	}
	if no != nil {
		e.refuse(req, res, no)
		return
	}
	res.BeginHandshake()
	if o.opener = e.handshake(req, res); !res.EndHandshake() {
		e.counters.rejects("declined by OnHandshake")
		return
	}
	if !g.enter(o) {
		e.refuse(req, res, stopping)
		return
	}
	e.overrule(req, res, &o.agreement)
	// Middleware may still change the header when this returns.
	if o.key == "" {
		o.agree(res.Header())
	} else {
		o.greeting = appendSwitch(getBuffer(512), &o.agreement, res.Header())
	}
	if err := e.takeOver(res, o); err != nil {
		putBuffer(o.greeting)
		e.entering.Done()
		e.stranded.log(e.options.Logger, slog.LevelError,
			"ws: the connection cannot be taken over: a middleware's ResponseWriter needs Unwrap", slog.Any("error", err))
		e.refuse(req, res, &refusal{http.StatusInternalServerError, "the connection cannot be taken over"})
	}
}

// ServeHTTP is Serve for a server of net/http.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.plain.ServeHTTP(w, r) }

// takeOver takes the connection from HTTP, and has a loop go on with it: its own
// if a Server of package aerys has accepted it.
func (e *Endpoint) takeOver(res *aerys.Response, o *arrival) error {
	d, err := res.Detach()
	if err != nil {
		return err
	}
	c := e.newConn(o, d.Early)
	if d.Stay != nil {
		o.announce = d.Conn.(interface{ Flush() error }).Flush
		d.Stay(func() { loop.Shared().Stay(d.Conn, c) })
		return nil
	}
	if d.Carrier != nil {
		c.counted = d.Counted
		if o.mount != nil {
			o.mount.native.Store(true)
		}
		if e.options.Engine != EnginePortable {
			d.Carrier.SetOwner(c)
			return nil
		}
		if d.Conn, err = d.Carrier.Hijack(); err != nil {
			d.Counted.Over()
			return err
		}
	}
	if e.options.Engine == EnginePortable {
		loop.Shared().AdoptPortable(d.Conn, c)
	} else {
		loop.Shared().Adopt(d.Conn, c)
	}
	return nil
}

// newConn returns a conn that has not had its first turn.
func (e *Endpoint) newConn(o *arrival, early []byte) *conn {
	r := readers.Get().(*reader)
	r.arrival = o
	r.ahead.putBack(early)
	return &conn{endpoint: e, in: r}
}

// stop is Gateway.Stop for an endpoint that runs.
func (e *Endpoint) stop(ctx context.Context) {
	e.entering.Wait()
	code, reason := CodeGoingAway, "server stops"
	if e.contain("OnStop", e.application.stop) != nil {
		code, reason = CodeInternalError, "the server failed"
	}
	e.flushFeed()
	e.table.each(func(c *conn) bool { c.close(code, reason); return true })
	for open := true; open && !e.gone(ctx, time.Second); {
		open = false
		e.table.each(func(c *conn) bool {
			open = c.leaves(ctx.Err() != nil) || open
			return true
		})
	}
	e.gone(context.Background(), dropPeriod)
}

// dropPeriod bounds how long Stop waits for OnClose of the clients that it
// drops. Those whose handler does not return end when it does.
const dropPeriod = time.Second

// gone waits for a while until there are no clients.
func (e *Endpoint) gone(ctx context.Context, while time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, while)
	defer cancel()
	for e.table.length.Load() > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// leaves reports whether a client that is being closed has time left. If it has
// to go now, its connection ends at once.
func (c *conn) leaves(now bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now {
		c.abandon(CodeGoingAway, "server stops")
		if how := *c.closing.Load(); how.byPeer { // no more handlers
			how.byPeer = false
			c.closing.Store(&how)
		}
	}
	return !c.closing.Load().dropped
}
