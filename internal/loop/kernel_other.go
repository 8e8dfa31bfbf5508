//go:build !linux

package loop

// LimitUnsent does nothing here: other systems take less.
func (c *Conn) LimitUnsent() {}

// Held is how much memory takes what was written and has not arrived, as far as
// that can be told: when it gets less, the peer makes progress.
func (c *Conn) Held() int { return c.transport.(*stream).waits() }

// Await does nothing here: all that comes is told of.
func (c *Conn) Await(int) {}

// Hurry takes back what Await did.
func (c *Conn) Hurry() {}

// TryWriteParts cannot: it sends nothing.
func (c *Conn) TryWriteParts([]byte, []byte) (int, error) { return 0, nil }
