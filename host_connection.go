package aerys

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connections counts the client connections of a Server, and bounds them.
type connections struct {
	options *Options
	limit   int64

	open, fresh    atomic.Int64 // fresh ones wait for their first request
	accepted       atomic.Int64
	refused        atomic.Int64
	received, sent atomic.Int64 // bytes
	warned         atomic.Int64 // Unix time of the last warning

	leave func() // ends one connection; what Detach returns without ConnectionsPerIP

	mu    sync.Mutex
	perIP map[netip.Prefix]int // nil without ConnectionsPerIP
}

func newConnections(options *Options) *connections {
	c := &connections{options: options, limit: int64(or(options.MaxConnections, openFilesLimit()))}
	c.leave = func() { c.open.Add(-1) }
	if options.ConnectionsPerIP > 0 {
		c.perIP = make(map[netip.Prefix]int)
	}
	return c
}

// enter counts a new connection, or reports that there is no room for it.
func (c *connections) enter(conn net.Conn) (*connection, bool) {
	if c.open.Add(1) > c.limit {
		c.open.Add(-1)
		c.refuse("MaxConnections", c.limit, conn)
		return nil, false
	}
	network, ok := c.enterNetwork(conn)
	if !ok {
		c.open.Add(-1)
		c.refuse("ConnectionsPerIP", int64(c.options.ConnectionsPerIP), conn)
		return nil, false
	}
	c.accepted.Add(1)
	c.fresh.Add(1)
	return &connection{Conn: conn, all: c, network: network}, true
}

// enterNetwork counts conn for the network it comes from.
func (c *connections) enterNetwork(conn net.Conn) (network netip.Prefix, ok bool) {
	tcp, isTCP := conn.RemoteAddr().(*net.TCPAddr)
	if c.perIP == nil || !isTCP {
		return network, true
	}
	network = clientNetwork(tcp.AddrPort().Addr())
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network] >= c.options.ConnectionsPerIP {
		return network, false
	}
	c.perIP[network]++
	return network, true
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

// leaveNetwork undoes enterNetwork.
func (c *connections) leaveNetwork(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.perIP[network]--; c.perIP[network] == 0 {
		delete(c.perIP, network)
	}
}

// refuse closes a connection that there is no room for; the log hears of it
// once a second at most.
func (c *connections) refuse(option string, limit int64, conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // a reset holds no resources; the client knows at once
	}
	conn.Close()
	refused := c.refused.Add(1)
	if now, last := time.Now().Unix(), c.warned.Load(); now > last && c.warned.CompareAndSwap(last, now) {
		c.options.Logger.Warn("aerys: connection refused", slog.String("option", option), slog.Int64("limit", limit),
			slog.String("client", conn.RemoteAddr().String()), slog.Int64("refused", refused))
	}
}

// counter is a listener whose connections are counted.
type counter struct {
	net.Listener
	all *connections
}

// Accept waits for a connection that there is room for.
func (l counter) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := l.all.enter(conn); ok {
			return c, nil
		}
	}
}

// connectionKey is the key of the *connection in a request's context.
type connectionKey struct{}

// connection is a client connection: a *net.TCPConn or *net.UnixConn that is
// counted until it is closed, or until the func that Detach returned is called.
type connection struct {
	net.Conn
	all      *connections
	network  netip.Prefix // counted in perIP, when valid
	requests atomic.Int64
	left     atomic.Bool
}

// countRequest reports whether the connection's last request has come.
func (c *connection) countRequest() bool {
	n := c.begin()
	limit := int64(c.all.options.MaxRequestsPerConnection)
	return limit > 0 && n >= limit
}

// begin counts a request; the first one, or the end, makes the connection
// no longer fresh.
func (c *connection) begin() int64 {
	n := c.requests.Add(1)
	if n == 1 {
		c.all.fresh.Add(-1)
	}
	return n
}

// leave reports whether nobody has taken the connection out of the count yet.
func (c *connection) leave() bool {
	if !c.left.CompareAndSwap(false, true) {
		return false
	}
	c.begin()
	return true
}

// Close closes the connection.
func (c *connection) Close() error {
	if c.leave() {
		c.all.open.Add(-1)
		if c.network.IsValid() {
			c.all.leaveNetwork(c.network)
		}
	}
	return c.Conn.Close()
}

// Detach hands the connection over to a new owner, after Hijack: conn is the
// *net.TCPConn or *net.UnixConn itself, which the owner may close once it
// holds a duplicate of the descriptor. The connection counts as open until the
// owner calls release, exactly once; Close no longer changes that.
func (c *connection) Detach() (conn net.Conn, release func()) {
	if !c.leave() {
		return c.Conn, func() {}
	}
	if !c.network.IsValid() {
		return c.Conn, c.all.leave
	}
	all, network := c.all, c.network
	return c.Conn, func() {
		all.leave()
		all.leaveNetwork(network)
	}
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.all.received.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *connection) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.all.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom, so that files are sent by the kernel.
func (c *connection) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(c.Conn, r)
	c.all.sent.Add(n)
	return n, err
}

// CloseWrite tells the client that nothing more will come.
func (c *connection) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// SyscallConn implements syscall.Conn.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}
