package http1

import (
	"os"
	"sync"
)

// writePiece is how much is written at once, so that progress shows.
const writePiece = 64 << 10

// output is what is about to leave a connection: responses, in order, which a
// batch of pipelined requests shares. It has a buffer only while there is
// something in it.
type output struct {
	mu     sync.Mutex // guards the following, and writing
	out    []byte
	buffer *[bufferSize]byte
	ready  int   // bytes of out that may leave; behind them is the head of a response that is not decided yet
	soon   bool  // the transport will call Flush
	err    error // why nothing leaves any more
}

// append adds to what leaves. mu is held.
func (o *output) append(s string) { o.out = append(o.room(), s...) }

// room is out, which has a buffer now. mu is held.
func (o *output) room() []byte {
	if o.out == nil {
		o.buffer = buffers.Get().(*[bufferSize]byte)
		o.out = o.buffer[:0]
	}
	return o.out
}

// release gives the buffer back. mu is held.
func (o *output) release() {
	if o.buffer != nil {
		buffers.Put(o.buffer)
	}
	o.out, o.buffer, o.ready, o.soon = nil, nil, 0, false
}

// hurryUp lets responses leave that wait behind a handler.
func (a *active) hurryUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ready > 0 && !a.soon {
		a.soon = true
		a.conn.transport.Soon()
	}
}

// flush writes what may leave.
func (a *active) flush() {
	a.mu.Lock()
	a.flushReady()
	a.mu.Unlock()
}

// Flush writes the responses that wait behind a handler. It may be called from
// anywhere, and does nothing while somebody else writes.
func (c *Conn) Flush() {
	c.life.Lock()
	a := c.active
	mine := a != nil && a.mu.TryLock() // it stays this connection's
	c.life.Unlock()
	if mine {
		a.flushReady()
		a.mu.Unlock()
	}
}

// flushReady writes what may leave. mu is held.
func (a *active) flushReady() error {
	if a.ready == 0 {
		return a.err
	}
	err := a.transmit(a.out[:a.ready])
	if a.ready == len(a.out) {
		a.output.release()
		return err
	}
	a.out = append(a.out[:0], a.out[a.ready:]...)
	a.ready, a.soon = 0, false
	return err
}

// send adds bytes of a body; what has no room leaves. mu is held.
func (a *active) send(p []byte) error {
	if a.err != nil {
		return a.err
	}
	for {
		a.out = a.room()
		free := max(0, bufferSize-len(a.out))
		if len(p) <= free {
			a.out = append(a.out, p...)
			a.ready = len(a.out)
			return nil
		}
		if len(a.out) == 0 {
			a.output.release()
			return a.transmit(p)
		}
		a.out = append(a.out, p[:free]...)
		a.ready = len(a.out)
		p = p[free:]
		if err := a.flushReady(); err != nil {
			return err
		}
	}
}

// transmit writes. mu is held.
func (a *active) transmit(p []byte) error {
	for len(p) > 0 && a.err == nil {
		piece := p[:min(len(p), writePiece)]
		a.clock.writing()
		_, err := a.conn.transport.Write(piece)
		a.clock.wrote()
		if p = p[len(piece):]; err != nil {
			a.failed(err)
		}
	}
	return a.err
}

// failed notes that nothing leaves any more. mu is held.
func (a *active) failed(err error) {
	if a.err = err; a.stuck.Load() {
		a.err = os.ErrDeadlineExceeded
	}
	a.conn.Gone()
}
