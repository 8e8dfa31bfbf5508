package ws

import (
	"sync"
	"sync/atomic"
)

// counters are what Gateway.Monitor shows.
type counters struct {
	accepted atomic.Uint64
	slow     atomic.Uint64

	mu       sync.Mutex
	rejected map[string]uint64 // by reason
	closed   map[Code]uint64   // by code
	failures map[Code]uint64   // closed by us, by code
	past     Traffic           // of clients that are gone
}

// failed counts a client that is closed for what it did.
func (s *counters) failed(code Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures == nil {
		s.failures = make(map[Code]uint64)
	}
	s.failures[code]++
}

// ended counts a client that is gone.
func (s *counters) ended(code Code, traffic *Traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == nil {
		s.closed = make(map[Code]uint64)
	}
	s.closed[code]++
	s.past.add(traffic)
	s.past.BytesSent += traffic.BytesSent
	s.past.FramesSent += traffic.FramesSent
	s.past.MessagesSent += traffic.MessagesSent
}

// rejects counts a handshake that was refused.
func (s *counters) rejects(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rejected == nil {
		s.rejected = make(map[string]uint64)
	}
	s.rejected[reason]++
}
