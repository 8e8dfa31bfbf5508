package aerys

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"aerys/internal/listen"
	"aerys/internal/loop"
)

// listener is one address that hosts are exposed on.
type listener struct {
	address  listen.Address
	service  *service
	named    map[string]*site
	wildcard *site
	sites    []*site
	bound    net.Listener
	file     os.FileInfo // of the Unix socket that was made for bound, or nil

	accepting *loop.Listener
	protocols protocols
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
		if other != nil && l.address.Is(other.Addr()) {
			l.bound, inherited[i] = other, nil
			return nil
		}
	}
	if l.bound, err = l.address.Listen(); err != nil {
		return fmt.Errorf("aerys: host %v on %v: %w", l.sites[0].host, l.address, err)
	}
	if unix, ok := l.bound.(interface{ SetUnlinkOnClose(bool) }); ok && l.address.Host[0] != '@' {
		unix.SetUnlinkOnClose(false)
		l.file, err = os.Lstat(l.address.Host)
	}
	return err
}

// close releases the address, and removes the file of a Unix socket unless
// another server has put its own in the place.
func (l *listener) close() {
	if l.bound == nil {
		return
	}
	if l.file != nil && !l.service.handedOver.Load() {
		if now, err := os.Lstat(l.address.Host); err == nil && os.SameFile(l.file, now) {
			os.Remove(l.address.Host)
		}
		l.file = nil
	}
	if l.accepting != nil {
		l.accepting.Close()
		return
	}
	l.bound.Close()
}

// serve begins to accept connections.
func (l *listener) serve() (err error) {
	var config *tls.Config
	if l.sites[0].tls != nil {
		config = l.tlsConfig()
	}
	go l.protocols.http2.Serve(l.protocols.queue)
	l.accepting, err = l.service.loop.Listen(l.bound, config, l.admit)
	return err
}

// admit has a connection that was accepted served, if there is room for it.
func (l *listener) admit(c *loop.Conn) loop.Owner {
	if counted := l.service.connections.enter(c); counted != nil {
		return l.protocols.http1.Admit(c, counted)
	}
	return nil
}

// url is where a person opens the listener.
func (l *listener) url() string {
	if l.address.Network == "unix" {
		return "unix:" + l.address.Host
	}
	scheme, standard := "http", 80
	if l.sites[0].tls != nil {
		scheme, standard = "https", 443
	}
	host := "localhost"
	if l.wildcard == nil {
		host = l.sites[0].host.name
	} else if ip, err := netip.ParseAddr(l.address.Host); err == nil && !ip.IsUnspecified() && !ip.IsLoopback() {
		host = l.address.Host
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

// ServeHTTP finds the host for a request.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c, _ := r.Context().Value(connectionKey{}).(*connection); c != nil {
		l.serveStream(c, w, r)
		return
	}
	l.choose(r).serve(w, r, l.service)
}

// serveStream serves a request over HTTP/2.
func (l *listener) serveStream(c *connection, w http.ResponseWriter, r *http.Request) {
	s := l.choose(r)
	if c.countRequest() || l.service.stopping.Load() {
		w.Header().Set("Connection", "close") // this sends GOAWAY
	}
	weight, ok := c.beginStream()
	if ok {
		defer c.endStream(weight)
	} else {
		s = l.service.busy
	}
	s.serve(w, r, l.service)
}

// choose returns the host for a request, or what answers in its place.
func (l *listener) choose(r *http.Request) *site {
	s := l.site(r.Host)
	switch {
	case r.Method == "OPTIONS" && r.RequestURI == "*":
		return l.service.general
	case s == nil:
		return l.service.unknown
	case s.verifies() && l.bySNI(r.TLS.ServerName) != s:
		return l.service.misdirected // the connection was opened under the rules of another host
	}
	return s
}
