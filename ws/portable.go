package ws

import (
	"net"
	"time"
)

// stream is a conn of the portable engine: a net.Conn and one goroutine. While
// it waits it holds no buffer, and it is one that has not run a handler: a
// stack that has grown stays so.
type stream struct {
	conn
	net     net.Conn
	release func()    // tells the listener that the connection is over
	ready   readiness // how to wait without a buffer
	turn    *turn     // whose buffer holds what was found while waiting
	found   int       // bytes
	err     error     // why there are none
	first   [2]byte   // where they are without a turn
	tls     watched   // how the epoll engine waits for TLS
	waiter  func()    // wait, serve and drain, bound once
	server  func()
	writer  func()
}

// adoptPortable runs a connection on the portable engine.
func adoptPortable(e *Endpoint, o *arrival) {
	s := &stream{net: o.conn, release: o.release}
	s.transport, s.waiter, s.server, s.writer = s, s.wait, s.serve, s.drain
	s.ready.init(s)
	s.tls.init(e, s.net)
	go s.open(e, o)
}

// open is the first turn: the 101, OnOpen, and what came behind the handshake.
func (s *stream) open(e *Endpoint, o *arrival) {
	e.opened(&s.conn, o)
	e.entering.Done()
	t := turns.Get().(*turn)
	s.begin(t)
	s.onOpen(o.opener)
	var err error
	if len(o.early) > 0 {
		err = ignorePause(t.received(o.early))
	}
	s.finish(t)
	s.goOn(err)
}

// wait waits for bytes.
func (s *stream) wait() {
	if s.ready.possible() {
		s.ready.wait()
	} else {
		s.found, s.err = s.net.Read(s.first[:])
	}
	go s.server()
}

// serve deals with the bytes that were found, and what is behind them.
func (s *stream) serve() {
	err := s.err
	switch {
	case s.tls.possible():
		err = s.decrypt()
	case s.found > 0:
		err = s.deal()
	}
	s.goOn(err)
}

// goOn leaves the waiting to others, or ends the connection.
func (s *stream) goOn(err error) {
	if err == nil {
		err = s.waitForTurn()
	}
	if err == nil {
		err = s.waitElsewhere()
	}
	if err == nil {
		return
	}
	s.end()
	s.mu.Lock() // whoever writes under it is done
	s.tls.forget()
	s.net.Close()
	s.mu.Unlock()
	s.release()
}

// waitElsewhere has the stream served again when there is something to read.
func (s *stream) waitElsewhere() error {
	if s.tls.possible() {
		return s.watch()
	}
	go s.waiter()
	return nil
}

// deal is a turn.
func (s *stream) deal() error {
	t := s.turn
	if t == nil {
		t = turns.Get().(*turn)
		copy(t.buffer, s.first[:s.found])
	}
	s.turn = nil
	s.begin(t)
	defer s.finish(t)
	err := ignorePause(t.received(t.buffer[:s.found]))
	if s.ready.possible() {
		for reads := 1; err == nil && reads < maxReads && t.filled && !t.mustPause(); reads++ {
			err = s.readMore(t)
		}
		return err
	}
	if err == nil && (s.deaf || !t.in.empty() && !t.mustPause()) {
		err = s.readInto(t) // the rest of the frame, or of what is discarded, is on its way
	}
	return err
}

// readMore reads what there is behind a read that found no room for more.
func (s *stream) readMore(t *turn) error {
	if len(t.buffer) < largeBufferSize {
		t.resize(largeBufferSize)
	}
	space := t.space()
	n, err := s.ready.readNow(space)
	t.filled = n == len(space)
	if n == 0 {
		return err
	}
	return ignorePause(t.received(space[:n]))
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
		t := turns.Get().(*turn)
		s.begin(t)
		err := ignorePause(t.resume())
		s.finish(t)
		if err != nil {
			return err
		}
		mayRead = s.mayRead() || s.closing.Load() != nil
	}
	return nil
}

func (s *stream) begin(t *turn) {
	s.endpoint.busy.Add(1)
	t.begin(&s.conn)
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

func (s *stream) read(p []byte, _ int) (int, error) { return s.net.Read(p) }

func (s *stream) hurry() {} // read waits for few

func (s *stream) tryWrite(p []byte) (int, error) { return s.ready.tryWrite(p) }

// tryWriteFrame cannot: the frame is copied, and sent as one.
func (s *stream) tryWriteFrame(header, payload []byte) (int, error) { return 0, nil }

func (s *stream) full() { go s.writer() }

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

// interrupt lets reads and writes end.
func (s *stream) interrupt() {
	s.tls.interrupt()
	s.net.SetDeadline(longPast)
}

// longPast is a deadline that ends what waits.
var longPast = time.Unix(1, 0)

func (s *stream) resume() {} // waitForTurn waits for the sweep
