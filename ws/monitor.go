package ws

import "maps"

// Monitor returns a State, as of now. It looks at every client.
func (g *Gateway) Monitor() any { return g.endpoint.state() }

func (e *Endpoint) state() State {
	s := &e.counters
	s.mu.Lock()
	state := s.total
	state.Active, state.Accepted = e.Len(), s.accepted.Load()
	state.Rejected, state.Closed, state.Failed = maps.Clone(state.Rejected), maps.Clone(state.Closed), maps.Clone(state.Failed)
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
	if l := e.link.Load(); l != nil {
		state.Broker = l.state()
		state.Broker.Nodes = e.nodes.count()
	}
	return state
}
