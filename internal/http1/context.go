package http1

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// requestContext is a request's context.Context. It is part of the response,
// so it costs no allocation, and the client's leaving is watched for only once
// somebody wants to know. It has AfterFunc, so contexts derived from it need no
// goroutine.
type requestContext struct {
	response *response

	mu    sync.Mutex
	err   error
	done  chan struct{}
	funcs map[*afterFunc]struct{}
	stop  func() bool // ends what waits for the parent
}

type afterFunc struct{ f func() }

func (c *requestContext) parent() context.Context { return c.response.conn.server.Context }

// Deadline implements context.Context.
func (c *requestContext) Deadline() (time.Time, bool) { return c.parent().Deadline() }

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	done := c.done
	c.mu.Unlock()
	c.wanted()
	return done
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	c.wanted()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch key {
	case http.ServerContextKey:
		return c.response.conn.server.ContextValue
	case http.LocalAddrContextKey:
		return c.response.localAddr()
	}
	return c.parent().Value(key)
}

// AfterFunc calls f in a goroutine of its own when the context is done, unless
// stop is called before. Package context uses it.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.wanted()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	entry := &afterFunc{f}
	if c.funcs == nil {
		c.funcs = make(map[*afterFunc]struct{})
	}
	c.funcs[entry] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, found := c.funcs[entry]
		delete(c.funcs, entry)
		return found
	}
}

// wanted sees to it that the context ends with its parent, and with the client.
func (c *requestContext) wanted() {
	c.mu.Lock()
	first := c.stop == nil && c.err == nil
	if first {
		c.stop = func() bool { return true }
		if parent := c.parent(); parent.Done() != nil {
			c.stop = context.AfterFunc(parent, func() { c.cancel(parent.Err()) })
		}
	}
	c.mu.Unlock()
	if first {
		c.response.conn.watch(c.response)
	}
}

// cancel ends the context, if it has not ended.
func (c *requestContext) cancel(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	if c.stop != nil {
		c.stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for entry := range c.funcs {
		go entry.f()
	}
	c.funcs = nil
}

// watch has the client's leaving noticed, as soon as nothing of the request is
// to be read any more: who reads the body notices it by itself, and bytes that
// follow the request say that the client is there.
func (c *Conn) watch(w *response) {
	c.life.Lock()
	defer c.life.Unlock()
	w.watched = true
	c.beginWatch(w)
}

// bodyEnded tells that the body was read to its end. The body's lock is held.
func (c *Conn) bodyEnded(w *response) {
	behind := len(c.input.rest) > 0
	c.life.Lock()
	defer c.life.Unlock()
	if !behind {
		w.allRead = true
		c.beginWatch(w)
	}
}

// beginWatch begins what is wanted and possible. life is held.
func (c *Conn) beginWatch(w *response) {
	if !w.watched || !w.allRead || w.over || c.watching.Load() {
		return
	}
	c.watching.Store(true)
	if c.transport.PeerEnded() {
		go c.Gone()
	}
}

// endWatch is called by whoever is the next to read, or gives the connection
// away. With it a response may be over.
func (c *Conn) endWatch(w *response, over bool) {
	c.life.Lock()
	defer c.life.Unlock()
	w.watched, w.allRead = false, false
	if c.watching.Load() {
		c.watching.Store(false)
	}
	if over {
		w.over, c.current = true, nil
	}
}

// CloseNotify implements the deprecated http.CloseNotifier.
func (w *response) CloseNotify() <-chan bool {
	left := make(chan bool, 1)
	w.context.AfterFunc(func() { left <- true })
	return left
}
