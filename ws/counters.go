package ws

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
)

// counters are what Gateway.Monitor shows.
type counters struct {
	accepted atomic.Uint64

	slowDue later // the log is to tell of those closed for not reading

	mu       sync.Mutex
	slow     uint64            // closed for not reading
	reported uint64            // of them, those that the log tells of
	why      string            // the last was closed
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

// tooSlow counts a client that is closed for not reading.
func (s *counters) tooSlow(why string) {
	s.failed(CodePolicyViolation)
	s.slowDue.arm()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow++
	s.why = why
}

// reportSlow logs that clients were closed for not reading since it was last
// called.
func (s *counters) reportSlow(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log.LogAttrs(context.Background(), slog.LevelWarn, "ws: clients that do not read were closed",
		slog.Uint64("clients", s.slow-s.reported), slog.String("last", s.why))
	s.reported = s.slow
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

// State is what Gateway.Monitor reports. Nothing in it is about one client.
type State struct {
	Active   int               // clients now
	Accepted uint64            // clients so far
	Rejected map[string]uint64 // handshakes refused, by reason
	Closed   map[Code]uint64   // clients that are gone, by code of OnClose
	Failed   map[Code]uint64   // of them and of those about to go: closed for what they did
	Slow     uint64            // of these: for not reading
	Paused   int               // of the active: have to wait because of a rate
	Queued   int64             // bytes that wait to be sent
	Topics   int               // topics with clients
	Traffic
}

// Monitor returns a State, as of now. It looks at every client.
func (g *Gateway) Monitor() any { return g.endpoint.state() }

func (e *Endpoint) state() State {
	s := &e.counters
	s.mu.Lock()
	state := State{
		Active:   e.Len(),
		Accepted: s.accepted.Load(),
		Rejected: maps.Clone(s.rejected),
		Closed:   maps.Clone(s.closed),
		Failed:   maps.Clone(s.failures),
		Slow:     s.slow,
		Traffic:  s.past,
	}
	s.mu.Unlock()
	e.table.each(func(c *conn) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.activity == ended {
			return true // counted among those that are gone
		}
		traffic := c.traffic()
		state.Traffic.add(&traffic)
		if c.activity == paused {
			state.Paused++
		}
		if c.out != nil {
			state.Queued += int64(c.out.size)
		}
		return true
	})
	e.topics.mu.RLock()
	defer e.topics.mu.RUnlock()
	state.Topics = len(e.topics.byName)
	return state
}
