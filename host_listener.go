package aerys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// address is what Host.Expose was given.
type address struct {
	network string // as net.Listen wants it
	host    string // "" for every interface; the path of a Unix socket
	port    int
}

func parseAddress(addr string, port int) (address, error) {
	if strings.ContainsAny(addr, `/\`) || strings.HasPrefix(addr, "@") {
		if port != 0 {
			return address{}, errors.New("a Unix socket has port 0")
		}
		return address{network: "unix", host: addr}, nil
	}
	if port < 0 || port > 65535 {
		return address{}, errors.New("want a port from 0 to 65535")
	}
	if addr == "*" {
		return address{network: "tcp", port: port}, nil
	}
	if addr == "localhost" {
		addr = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil {
		return address{}, errors.New(`want "*", "localhost", an IP address or the path of a Unix socket`)
	}
	ip = ip.Unmap()
	network := "tcp6"
	if ip.Is4() {
		network = "tcp4"
	}
	return address{network: network, host: ip.String(), port: port}, nil
}

func (a address) String() string {
	if a.network == "unix" {
		return a.host
	}
	return net.JoinHostPort(or(a.host, "*"), strconv.Itoa(a.port))
}

// listen binds the address.
func (a address) listen() (net.Listener, error) {
	if a.network != "unix" {
		// Idle connections end by ConnectionTimeout and WebSockets by their
		// heartbeat: probes of the kernel's would cost four system calls each.
		config := net.ListenConfig{KeepAlive: -1}
		return config.Listen(context.Background(), a.network, net.JoinHostPort(a.host, strconv.Itoa(a.port)))
	}
	removeStale(a.host)
	return net.Listen("unix", a.host)
}

// removeStale removes a Unix socket that nobody listens on any more.
func removeStale(path string) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return
	}
	os.Remove(path)
}

// is reports whether a listener that another process bound is on a.
func (a address) is(bound net.Addr) bool {
	switch bound := bound.(type) {
	case *net.UnixAddr:
		return a.network == "unix" && bound.Name == a.host
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(bound.IP)
		ip = ip.Unmap()
		return bound.Port == a.port && a.network != "unix" &&
			(ip.String() == a.host || a.host == "" && (ip == netip.IPv6Unspecified() || !ip.IsValid()))
	}
	return false
}

// listener is one address that hosts are exposed on.
type listener struct {
	address  address
	service  *service
	named    map[string]*site
	wildcard *site
	sites    []*site
	bound    net.Listener
	server   *http.Server
}

// add exposes a host on the listener.
func (l *listener) add(s *site) error {
	h := s.host
	if len(l.sites) > 0 && (l.sites[0].tls == nil) != (s.tls == nil) {
		return fmt.Errorf("aerys: host %v on %v: encrypted and plain hosts cannot share an address (the other is %v)", h, l.address, l.sites[0].host)
	}
	switch {
	case h.wildcard() && l.wildcard != nil:
		return fmt.Errorf("aerys: host %v on %v: there is a host without a name already; call Name on one of them", h, l.address)
	case h.wildcard():
		l.wildcard = s
	case l.named[h.name] != nil:
		return fmt.Errorf("aerys: host %v on %v: there is a host of that name already", h, l.address)
	default:
		l.named[h.name] = s
	}
	l.sites = append(l.sites, s)
	return nil
}

// has reports whether a host is exposed on the listener.
func (l *listener) has(s *site) bool { return slices.Contains(l.sites, s) }

// bind takes the listener over from those inherited, or makes it.
func (l *listener) bind(inherited []net.Listener) (err error) {
	for i, other := range inherited {
		if other != nil && l.address.is(other.Addr()) {
			l.bound, inherited[i] = other, nil
			return nil
		}
	}
	if l.bound, err = l.address.listen(); err != nil {
		return fmt.Errorf("aerys: host %v on %v: %w", l.sites[0].host, l.address, err)
	}
	return nil
}

// serve accepts connections until the listener is closed.
func (l *listener) serve() error {
	counted := &counter{Listener: l.bound, all: l.service.connections}
	if l.sites[0].tls != nil {
		return l.server.ServeTLS(counted, "", "")
	}
	return l.server.Serve(counted)
}

// url is where a person opens the listener.
func (l *listener) url() string {
	if l.address.network == "unix" {
		return "unix:" + l.address.host
	}
	scheme, standard := "http", 80
	if l.sites[0].tls != nil {
		scheme, standard = "https", 443
	}
	host := "localhost"
	if l.wildcard == nil {
		host = l.sites[0].host.name
	} else if ip, err := netip.ParseAddr(l.address.host); err == nil && !ip.IsUnspecified() && !ip.IsLoopback() {
		host = l.address.host
	}
	if strings.Contains(host, ":") && host[0] != '[' {
		host = "[" + host + "]"
	}
	if port := l.bound.Addr().(*net.TCPAddr).Port; port != standard {
		host += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + host + "/"
}

// site returns the host that goes by the name in a Host header or in SNI.
func (l *listener) site(name string) *site {
	if len(l.named) > 0 {
		if s := l.named[canonicalName(name)]; s != nil {
			return s
		}
	}
	return l.wildcard
}

// ServeHTTP finds the host for a request, and ends the connection after it
// when it is the last.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	if l.isLast(c, r) {
		w.Header().Set("Connection", "close") // over HTTP/2 this sends GOAWAY
	}
	s := l.site(r.Host)
	if s == nil {
		http.Error(w, "No such host.", http.StatusBadRequest)
		return
	}
	if s.verifies() && l.bySNI(r.TLS.ServerName) != s {
		// The connection was opened under the rules of another host.
		http.Error(w, "Use another connection for this host.", http.StatusMisdirectedRequest)
		return
	}
	if r.ContentLength == 0 {
		s.ServeHTTP(w, r)
		if c != nil && c.upgrade.Load() == taken {
			panic(http.ErrAbortHandler) // net/http is to end its part without an answer
		}
		return
	}
	expectBody(r, s.options.ConnectionTimeout)
	s.ServeHTTP(w, r)
	// net/http reads what was left of the body, with no time limit of its own.
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.options.ConnectionTimeout))
}

// isLast reports whether the connection is to be closed after a request. It is
// after a chunked one: that may have come with a Content-Length too, which
// net/http does not tell, and then what follows may be half of a smuggled
// request (RFC 9112 §6.1 demands the close).
func (l *listener) isLast(c *connection, r *http.Request) bool {
	return c != nil && c.countRequest(r) || len(r.TransferEncoding) > 0 || l.service.stopping.Load()
}
