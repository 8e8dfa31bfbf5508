package serve

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/http1"
	"aerys/internal/listen"
	"aerys/internal/loop"
)

// Connections counts the client connections of a server, and bounds them.
type Connections struct {
	Open, Accepted, Refused atomic.Int64

	log   *slog.Logger
	limit int64 // of weight
	each  int64 // what a connection weighs: 1, or the descriptors that are kept for it

	weight      atomic.Int64
	warned      atomic.Int64 // Unix time of the last warning
	whole, slim held         // how connections are counted: those of HTTP, and those that need no file

	mostPerIP int // 0 is no bound
	mu        sync.Mutex
	perIP     map[netip.Prefix]int
}

// limited returns a count of at most so many connections, by default of as many
// as there may be files for, and of at most perIP, if not 0, from one network.
func limited(most, perIP int, log *slog.Logger) *Connections {
	c := &Connections{log: log, limit: int64(most), each: 1, mostPerIP: perIP, perIP: make(map[netip.Prefix]int)}
	if most == 0 {
		c.limit, c.each = connectionFiles(listen.OpenFiles()), filesEach
	}
	c.whole, c.slim = held{c, c.each}, held{c, 1}
	return c
}

// filesEach is how many descriptors are kept for a connection: its own, and
// that of a file that it is sent. An upgraded one has no file.
const filesEach = 2

// connectionFiles is how many of the files that may be open are for connections
// and what they are sent: not for pipes, and not a tenth, at least 64, for files
// and connections elsewhere. Without a limit of files it is 10000 connections.
func connectionFiles(files int) int64 {
	if files == 0 {
		return 10000 * filesEach
	}
	return int64(max(filesEach, files-min(max(64, files/10), 512)-2*loop.MaxPipes(files)))
}

// room takes what weighs that much into the count, if there is room for it.
func (c *Connections) room(weight int64) bool {
	if c.weight.Add(weight) <= c.limit {
		return true
	}
	c.weight.Add(-weight)
	return false
}

// held is what a connection takes of the limits, until it is over. All that take
// the same share it.
type held struct {
	all    *Connections
	weight int64
}

// Upgraded tells that the connection is no longer one of HTTP: it needs no file.
func (h *held) Upgraded() http1.Counted {
	h.all.weight.Add(1 - h.weight)
	return &h.all.slim
}

// Over takes the connection out of the count.
func (h *held) Over() {
	h.all.Open.Add(-1)
	h.all.weight.Add(-h.weight)
}

// neighbour is a connection that is counted for the network that it comes from,
// too.
type neighbour struct {
	http1.Counted
	all     *Connections
	network netip.Prefix
}

func (n *neighbour) Upgraded() http1.Counted {
	n.Counted = n.Counted.Upgraded()
	return n
}

func (n *neighbour) Over() {
	n.Counted.Over()
	n.all.leaveNetwork(n.network)
}

// enter counts a new connection. Where there is no room, those that are idle for
// the longest time give way; if there are none, the new one is refused: it
// returns nil.
func (c *Connections) enter(conn *loop.Conn) http1.Counted {
	if !c.room(c.each) {
		if !http1.EndIdlest(conn.Loop()) {
			c.refuse(conn, "MaxConnections", c.limit/c.each)
			return nil
		}
		c.weight.Add(c.each) // what was ended is over in a moment
	}
	var entered http1.Counted = &c.whole
	if remote := conn.RemoteAddr(); c.mostPerIP > 0 && remote.IsValid() {
		network := clientNetwork(remote.Addr())
		if !c.enterNetwork(network) {
			c.weight.Add(-c.each)
			c.refuse(conn, "ConnectionsPerIP", int64(c.mostPerIP))
			return nil
		}
		entered = &neighbour{entered, c, network}
	}
	c.Open.Add(1)
	c.Accepted.Add(1)
	return entered
}

// clientNetwork is what counts as one client: an IPv4 address, or the /56 that
// providers hand to a household.
func clientNetwork(ip netip.Addr) netip.Prefix {
	bits := 56
	if ip = ip.Unmap(); ip.Is4() {
		bits = 32
	}
	network, _ := ip.WithZone("").Prefix(bits)
	return network
}

// enterNetwork counts a connection for the network it comes from.
func (c *Connections) enterNetwork(network netip.Prefix) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network] >= c.mostPerIP {
		return false
	}
	c.perIP[network]++
	return true
}

// leaveNetwork undoes enterNetwork.
func (c *Connections) leaveNetwork(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network]--; c.perIP[network] == 0 {
		delete(c.perIP, network)
	}
}

// refuse notes that there was no room for a connection; the log hears of it
// once a second at most.
func (c *Connections) refuse(conn *loop.Conn, option string, limit int64) {
	refused := c.Refused.Add(1)
	if now, last := time.Now().Unix(), c.warned.Load(); now > last && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("aerys: connection refused", slog.String("option", option), slog.Int64("limit", limit),
			slog.String("client", conn.RemoteAddr().String()), slog.Int64("refused", refused))
	}
}
