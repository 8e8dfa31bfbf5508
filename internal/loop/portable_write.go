package loop

import (
	"errors"
	"sync"
	"time"
)

// queue is what a stream has taken and not sent: a goroutine, which may block,
// writes it.
type queue struct {
	drainer func() // drain, bound once
	piece   *[pieceSize]byte
	size    int   // of what is in it
	writing bool  // a goroutine writes it, or somebody who waits for that
	ending  bool  // nothing follows it
	lost    error // why nothing more is sent
}

// pieceSize is how much is written at a time, so that progress shows.
const pieceSize = 16 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// tryWrite sends what the system takes, and queues a piece of what it does not.
func (s *stream) tryWrite(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return 0, s.lost
	}
	if !s.writing && s.raw.possible() {
		if n, err = s.raw.write(p); err != nil {
			s.lost = err
			return n, err
		}
		s.wrote(n, n < len(p))
	}
	if !s.writing && n < len(p) {
		s.piece, s.writing = pieces.Get().(*[pieceSize]byte), true
		s.size = copy(s.piece[:], p[n:])
		n += s.size
		go s.drainer()
	}
	return n, nil
}

// drain sends what is queued. If that is lost so is the connection: whoever had
// it queued is not there to be told.
func (s *stream) drain() {
	_, err := s.writePiece(s.piece[:s.size])
	pieces.Put(s.piece)
	s.mu.Lock()
	s.piece, s.size = nil, 0
	s.mu.Unlock()
	if err != nil {
		s.interrupt()
	}
	s.endWrite(err)
	s.Owner().Writable(&s.Conn)
}

// writePiece waits for the peer.
func (s *stream) writePiece(p []byte) (int, error) {
	s.wrote(0, true)
	n, err := s.net.Write(p)
	s.wrote(n, false)
	return n, err
}

// endWrite lets others write.
func (s *stream) endWrite(err error) {
	s.mu.Lock()
	s.writing = false
	if err != nil {
		s.lost = err
	}
	if s.ending {
		s.endSending()
	}
	s.mu.Unlock()
	signal(s.extras().writable)
}

// write waits for the peer: who writes has a goroutine for it.
func (s *stream) write(p []byte) (n int, err error) {
	if err := s.beginWrite(); err != nil {
		return 0, err
	}
	for n < len(p) && err == nil {
		var some int
		some, err = s.writePiece(p[n:min(len(p), n+pieceSize)])
		n += some
	}
	s.endWrite(nil)
	return n, err
}

// beginWrite waits until nobody else writes.
func (s *stream) beginWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing {
		s.mu.Unlock()
		<-s.extras().writable
		s.mu.Lock()
	}
	s.writing = s.lost == nil
	return s.lost
}

func (s *stream) queues() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing
}

// waits is how much is queued.
func (s *stream) waits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *stream) waitWrite(<-chan struct{}) {}

func (s *stream) setWriteDeadline(t time.Time) { s.net.SetWriteDeadline(t) }

func (s *stream) retry() {} // a write waits for any room

func (s *stream) closeWrite() error {
	if _, ok := s.net.(writeCloser); !ok {
		return errors.ErrUnsupported
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending = true; !s.writing {
		s.endSending()
	}
	return nil
}

type writeCloser interface{ CloseWrite() error }

// endSending ends the sending direction: that of TLS is written, and may block.
// s.mu is held.
func (s *stream) endSending() {
	if s.ending = false; s.raw.possible() {
		s.net.(writeCloser).CloseWrite()
		return
	}
	go s.net.(writeCloser).CloseWrite()
}
