package aerys

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// connections counts the client connections of a Server, and bounds them.
type connections struct {
	options *Options
	limit   int64

	open, accepted atomic.Int64
	refused        atomic.Int64
	received, sent atomic.Int64 // bytes
	warned         atomic.Int64 // Unix time of the last warning
	pipes          atomic.Int32 // that long files leave through

	leave func() // ends one connection; what Detach returns without ConnectionsPerIP

	mu    sync.Mutex
	fresh map[*connection]bool // those whose first request has not come
	perIP map[netip.Prefix]int // nil without ConnectionsPerIP
}

func newConnections(options *Options) *connections {
	c := &connections{options: options, fresh: make(map[*connection]bool)}
	c.limit = int64(or(options.MaxConnections, openFilesLimit()))
	c.leave = func() { c.open.Add(-1) }
	if options.ConnectionsPerIP > 0 {
		c.perIP = make(map[netip.Prefix]int)
	}
	return c
}

// enter counts a new connection, or refuses it when there is no room.
func (c *connections) enter(conn net.Conn) (entered *connection, ok bool) {
	if c.open.Add(1) > c.limit {
		c.open.Add(-1)
		c.refuse(conn, "MaxConnections", c.limit)
		return nil, false
	}
	entered = &connection{Conn: conn, all: c}
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok && c.perIP != nil {
		entered.network = clientNetwork(tcp.AddrPort().Addr())
	}
	if !c.enterNetwork(entered) {
		c.open.Add(-1)
		c.refuse(conn, "ConnectionsPerIP", int64(c.options.ConnectionsPerIP))
		return nil, false
	}
	c.accepted.Add(1)
	// In Go 1.24, net/http waits for the first bytes without any limit.
	entered.SetReadDeadline(time.Now().Add(c.options.ConnectionTimeout))
	return entered, true
}

// enterNetwork counts a connection for the network it comes from.
func (c *connections) enterNetwork(entering *connection) (ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if entering.network.IsValid() {
		if c.perIP[entering.network] >= c.options.ConnectionsPerIP {
			return false
		}
		c.perIP[entering.network]++
	}
	c.fresh[entering] = true
	return true
}

// waiting is how many connections had no request yet.
func (c *connections) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.fresh)
}

// closeFresh closes the connections that had no request yet.
func (c *connections) closeFresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for fresh := range c.fresh {
		fresh.Conn.Close() // whoever reads from it will then call Close
	}
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
func (c *connections) refuse(conn net.Conn, option string, limit int64) {
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
	row int // accepted since others went first
}

// acceptRow is after how many connections in a row those accepted go first: in
// a rush they would all have their goroutines, stacks and buffers at once.
const acceptRow = 8

// Accept waits for a connection that there is room for.
func (l *counter) Accept() (net.Conn, error) {
	if l.row++; l.row%acceptRow == 0 {
		runtime.Gosched()
	}
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
	upgrade  atomic.Int32 // what is known of a WebSocket handshake
	cork     *cork        // not nil within gather
	deadline readDeadline
	progress progress
}

// The values of connection.upgrade.
const (
	notAsked int32 = iota
	asked          // the last read ended with the header of a WebSocket handshake
	watched        // and net/http would like to know of the next byte
	taken          // the connection is no longer net/http's
)

// asksForUpgrade reports whether what a read brought is (the end of) the header
// of a WebSocket handshake and nothing else, as far as it is written as most
// clients write it.
func asksForUpgrade(p []byte) bool {
	end := []byte("\r\n\r\n")
	return bytes.HasSuffix(p, end) && bytes.Contains(p, []byte("\r\nSec-WebSocket-Key: ")) && bytes.Index(p, end) == len(p)-len(end)
}

// countRequest reports whether r is to be the connection's last request.
func (c *connection) countRequest(r *http.Request) bool {
	n := c.begin()
	if n == 1 && r.ProtoMajor == 2 && r.TLS == nil {
		c.SetReadDeadline(time.Time{}) // that of enter, which only HTTP/1 replaces
	}
	limit := int64(c.all.options.MaxRequestsPerConnection)
	return limit > 0 && n >= limit
}

// begin counts a request; the first one, or the end, makes the connection
// no longer fresh.
func (c *connection) begin() int64 {
	n := c.requests.Add(1)
	if n == 1 {
		c.all.mu.Lock()
		defer c.all.mu.Unlock()
		delete(c.all.fresh, c)
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

// Close closes the connection, unless it was taken.
func (c *connection) Close() error {
	if c.upgrade.Load() == taken {
		return net.ErrClosed
	}
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
	c.deadline.clear(c.Conn)
	c.progress.clear(c.Conn)
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

// take is Hijack and Detach in one, for a connection of which net/http has read
// a handshake and nothing else. For net/http it looks closed from then on: it
// ends its part and keeps its buffers, which Hijack would take from it.
func (c *connection) take() (conn net.Conn, release func(), ok bool) {
	if !c.upgrade.CompareAndSwap(asked, taken) && !c.upgrade.CompareAndSwap(watched, taken) {
		return nil, nil, false
	}
	conn, release = c.Detach()
	return conn, release, true
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	if c.upgrade.Load() != notAsked {
		if again, err := c.readAfterUpgrade(len(p)); !again {
			return 0, err
		}
	}
	n, err := c.deadline.read(c.Conn, p)
	if n > 0 {
		c.all.received.Add(int64(n))
	}
	if c.requests.Load() == 0 && asksForUpgrade(p[:n]) { // later ones are not worth a look
		c.upgrade.Store(asked)
	}
	return n, err
}

// readAfterUpgrade reports whether a read behind a handshake is to go on. The
// first of one byte is net/http's, which watches out for the end of the
// connection while a handler runs: a handshake is answered sooner than that is
// worth its while, and its second byte would be a frame's.
func (c *connection) readAfterUpgrade(size int) (again bool, err error) {
	switch {
	case size == 1 && c.upgrade.CompareAndSwap(asked, watched):
		return false, nil
	case c.upgrade.CompareAndSwap(asked, notAsked), c.upgrade.CompareAndSwap(watched, notAsked):
		return true, nil
	}
	return c.upgrade.Load() == notAsked, net.ErrClosed
}

// Write implements net.Conn.
func (c *connection) Write(p []byte) (int, error) {
	if c.cork != nil {
		return c.writeCorked(p)
	}
	if c.upgrade.Load() == taken {
		return 0, net.ErrClosed
	}
	n, err := c.write(p)
	c.all.sent.Add(int64(n))
	return n, err
}

// SetReadDeadline implements net.Conn.
func (c *connection) SetReadDeadline(t time.Time) error {
	if c.upgrade.Load() == taken {
		return net.ErrClosed
	}
	return c.deadline.want(c.Conn, t)
}

// SetWriteDeadline implements net.Conn.
func (c *connection) SetWriteDeadline(t time.Time) error { return c.progress.want(c.Conn, t) }

// SetDeadline implements net.Conn. net/http calls it once it gives a connection
// away, to Hijack.
func (c *connection) SetDeadline(t time.Time) error {
	c.progress.until.Store(handed)
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// ReadFrom implements io.ReaderFrom, so that files are sent by the kernel.
func (c *connection) ReadFrom(r io.Reader) (n int64, err error) {
	if c.cork != nil {
		n, err = c.readCorked(r)
	} else {
		n, err = c.copy(r)
	}
	c.all.sent.Add(n)
	return n, err
}

// CloseWrite tells the client that nothing more will come.
func (c *connection) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// SyscallConn implements syscall.Conn. Read deadlines do not hold for what is
// read by it.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

// expectedBody is a body of HTTP/1 that fails when nothing comes for a while.
type expectedBody struct {
	io.ReadCloser
	connection *connection
	timeout    time.Duration
}

// expectBody bounds how long reading the request's body waits for more of it.
// Over HTTP/2, pings find out whether the client is still there.
func expectBody(r *http.Request, timeout time.Duration) {
	if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && r.ProtoMajor == 1 {
		r.Body = &expectedBody{r.Body, c, patience * timeout}
	}
}

// Read implements io.Reader. No deadline stays behind: at the end of the body
// net/http begins to watch the connection.
func (b *expectedBody) Read(p []byte) (int, error) {
	b.connection.SetReadDeadline(time.Now().Add(b.timeout))
	defer b.connection.SetReadDeadline(time.Time{})
	return b.ReadCloser.Read(p)
}
