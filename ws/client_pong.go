package ws

import (
	"sync"

	"aerys/ws/frame"
)

// pongs are those that wait until something else is sent. While there are any,
// or something is sent, the baton of writing is not free.
type pongs struct {
	mu       sync.Mutex // held while the baton is taken for them, or given back
	payloads [][]byte
}

// maxPongs is how many pings are answered, the latest, of those that come while
// nothing can be sent (RFC 6455 §5.5.3).
const maxPongs = 64

// sendPong answers a ping, before any message that was not begun yet: the answer
// to what came behind the ping, perhaps. The reader does not wait for it: a
// server may read from us no sooner than we have read from it.
func (c *Conn) sendPong(payload []byte) {
	p := &c.pongs
	p.mu.Lock()
	defer p.mu.Unlock()
	p.payloads = append(p.payloads, payload)
	p.payloads = p.payloads[max(0, len(p.payloads)-maxPongs):]
	select {
	case c.writing <- struct{}{}:
		go c.sendPongs()
	default: // whoever has the baton will see to it
	}
}

// endWriting gives the baton back, after the pongs that wait.
func (c *Conn) endWriting() {
	p := &c.pongs
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.payloads) > 0 {
		go c.sendPongs()
	} else {
		c.writing.release()
	}
}

// sendPongs sends the pongs that wait. c.writing is taken.
func (c *Conn) sendPongs() {
	p := &c.pongs
	p.mu.Lock()
	payloads := p.payloads
	p.payloads = nil
	p.mu.Unlock()
	for _, payload := range payloads {
		if c.closing.Load() == nil {
			writeFrame(c, frame.Header{Fin: true, Opcode: frame.Pong}, payload)
		}
	}
	c.endWriting()
}
