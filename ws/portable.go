package ws

import (
	"net"
	"time"
)

// stream is a conn of the portable engine: a net.Conn and one goroutine, which
// holds no buffer while it waits.
type stream struct {
	conn
	net   net.Conn
	ready readiness // how to wait without a buffer
	first [2]byte   // where the others read, before they take one

	drainer func() // drain, bound once
}

// adoptPortable runs a connection on the portable engine.
func adoptPortable(e *Endpoint, nc net.Conn, o *arrival) {
	s := &stream{net: nc}
	s.transport, s.drainer = s, s.drain
	s.ready.init(s)
	e.opened(&s.conn, o)
	go s.run(o)
}

// run serves the connection from its first byte to its last.
func (s *stream) run(o *arrival) {
	if s.open(o) == nil {
		for s.turn() == nil {
		}
	}
	s.end()
	s.mu.Lock() // whoever writes under it is done
	s.net.Close()
	s.mu.Unlock()
}

// open is the first turn: OnOpen, and what came behind the handshake.
func (s *stream) open(o *arrival) error {
	t := s.begin()
	defer s.finish(t)
	s.onOpen(o.opener)
	if len(o.early) == 0 {
		return nil
	}
	t.direct = false
	return ignorePause(t.received(o.early))
}

// turn waits for bytes, and deals with all that are there.
func (s *stream) turn() error {
	if err := s.waitForTurn(); err != nil {
		return err
	}
	if s.ready.possible() {
		return s.readReady()
	}
	n, err := s.net.Read(s.first[:])
	if n == 0 {
		return err
	}
	t := s.begin()
	defer s.finish(t)
	t.direct = false
	if err := t.received(s.first[:n]); err != nil {
		return ignorePause(err)
	}
	if !s.deaf && (t.in.empty() || t.mustPause()) {
		return nil
	}
	return s.readInto(t) // the rest of the frame, or of what is discarded, is on its way
}

// readInto reads once.
func (s *stream) readInto(t *turn) error {
	space := t.space()
	n, err := s.net.Read(space)
	if n == 0 {
		return err
	}
	return ignorePause(t.received(space[:n]))
}

// waitForTurn waits while the client has to pause, and then deals with what
// was put aside.
func (s *stream) waitForTurn() error {
	mayRead := s.mayRead()
	for !mayRead || s.in != nil && s.in.stash != nil {
		if !mayRead {
			s.waitWhilePaused()
		}
		t := s.begin()
		err := ignorePause(t.resume())
		s.finish(t)
		if err != nil {
			return err
		}
		mayRead = s.mayRead() || s.closing.Load() != nil
	}
	return nil
}

func (s *stream) begin() *turn {
	t := turns.Get().(*turn)
	s.endpoint.busy.Add(1)
	t.begin(&s.conn)
	return t
}

func (s *stream) finish(t *turn) {
	t.finish()
	t.release()
	s.endpoint.rest()
}

// rest ends a goroutine's turns: what they broadcast is delivered.
func (e *Endpoint) rest() {
	e.busy.Add(-1)
	e.flushFeed()
}

func (s *stream) read(p []byte) (int, error) { return s.net.Read(p) }

func (s *stream) tryWrite(p []byte) (int, error) { return s.ready.tryWrite(p) }

// tryWriteFrame cannot: the frame is copied, and sent as one.
func (s *stream) tryWriteFrame(header, payload []byte) (int, error) { return 0, nil }

func (s *stream) full() { go s.drainer() }

// drain writes what waits, in a goroutine that may block, outside conn.mu.
func (s *stream) drain() {
	c := &s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.out
	if o == nil || o.writing {
		return
	}
	o.writing = true
	for len(o.segments) > 0 && !c.ended {
		waits := o.segments[0].bytes[o.segments[0].sent:]
		c.mu.Unlock()
		n, err := s.net.Write(waits[:min(len(waits), bufferSize)]) // in pieces, so that progress shows
		c.mu.Lock()
		c.wrote(n)
		if err != nil {
			c.abandon(CodeAbnormal, "connection lost")
			break
		}
	}
	o.writing = false
	if c.ended || len(o.segments) > 0 {
		c.discard()
		return
	}
	c.flushed()
}

func (s *stream) closeWrite() {
	if c, ok := s.net.(interface{ CloseWrite() error }); ok {
		go c.CloseWrite() // that of TLS writes, and may block
		return
	}
	s.interrupt()
}

// interrupt lets reads and writes end. The deadline is long past.
func (s *stream) interrupt() { s.net.SetDeadline(time.Unix(1, 0)) }

func (s *stream) resume() {} // waitForTurn waits for the sweep
