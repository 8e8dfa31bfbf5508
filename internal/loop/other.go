//go:build !linux

package loop

// What other systems do not offer.

func newEngine(*Loop) engine { return portable{} }

// AfterRound has f called when whoever serves the connection has served all
// others that there is something to do for, or is about to rest. Connections
// that are not served together have rounds of their own.
func (c *Conn) AfterRound(f func()) { f() }

// LimitUnsent does nothing here: other systems take less.
func (c *Conn) LimitUnsent() {}

// Held is how much memory takes what was written and has not arrived, as far as
// that can be told: when it gets less, the peer makes progress.
func (c *Conn) Held() int { return c.transport.waits() }

// Await does nothing here: all that comes is told of.
func (c *Conn) Await(int) {}

// Hurry takes back what Await did.
func (c *Conn) Hurry() {}

// TryWriteParts cannot: it sends nothing.
func (c *Conn) TryWriteParts([]byte, []byte) (int, error) { return 0, nil }

// MaxPipes is how many descriptors pairs for files a loop uses at most: none here.
func MaxPipes(files int) int { return 0 }

// SendFile sends head and a part of a file. The file may be closed meanwhile;
// what was not sent yet is an error then. progress is called whenever the peer
// took some.
func (c *Conn) SendFile(head []byte, p *FilePart, progress func()) (n int64, err error) {
	start := p.Offset
	err = c.copyFile(head, p, progress)
	return p.Offset - start, err
}
