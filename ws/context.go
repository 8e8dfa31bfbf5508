package ws

import "context"

// Context returns a context that is done once the client is being closed, has
// left or is lost, also while its OnData runs: what the client sends meanwhile
// is read ahead, up to Options.MaxReadAhead. The cause (context.Cause) is a
// *CloseError, or ErrClosed if there is no such client.
func (e *Endpoint) Context(id ClientID) context.Context {
	if c := e.find(id); c != nil {
		return c.context()
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrClosed)
	return ctx
}

// context is made when it is asked for.
func (c *conn) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extras()
	if x.ctx == nil {
		x.ctx, x.cancel = context.WithCancelCause(context.Background())
		if how := c.closing.Load(); how != nil {
			x.cancel(&CloseError{how.code, how.reason})
		}
	}
	return x.ctx
}

// Context is Endpoint.Context of the client that sends the message.
func (m *Message) Context() context.Context { return m.conn.context() }
