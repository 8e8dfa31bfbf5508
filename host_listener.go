package aerys

import (
	"crypto/tls"
	"errors"
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
	if c, _ := r.Context().Value(connectionKey{}).(*multiplexed); c != nil {
		l.serveStream(c, w, r)
		return
	}
	l.choose(r).serve(w, r, l.service)
}

// serveStream serves a request over HTTP/2.
func (l *listener) serveStream(c *multiplexed, w http.ResponseWriter, r *http.Request) {
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

// encryption is what Host.Encrypt was given.
type encryption struct {
	certFile, keyFile string // "" if config has all certificates
	config            *tls.Config
}

func newEncryption(certFile, keyFile string, config []*tls.Config) (*encryption, error) {
	e := &encryption{certFile: certFile, keyFile: or(keyFile, certFile), config: new(tls.Config)}
	if len(config) > 1 {
		return nil, errors.New("want at most one tls.Config")
	}
	if len(config) > 0 && config[0] != nil {
		e.config = config[0].Clone()
	}
	switch {
	case certFile != "":
	case keyFile != "":
		return nil, errors.New("want the file with the certificate that the key is for")
	case !hasCertificate(e.config) && e.config.GetConfigForClient == nil:
		return nil, errors.New("want a certificate file, or a tls.Config with GetCertificate, Certificates or GetConfigForClient")
	}
	return e, nil
}

func hasCertificate(c *tls.Config) bool { return len(c.Certificates) > 0 || c.GetCertificate != nil }

// encrypt reads the site's certificate, if it is to have one.
func (s *site) encrypt() error {
	e := s.host.encryption
	if e == nil {
		return nil
	}
	s.tls = s.rules(e.config)
	if e.certFile == "" {
		return nil
	}
	var err error
	if s.certificate, err = listen.ReadCertificate(e.certFile, e.keyFile, e.config, s.options.Logger.With("host", s.host.String())); err != nil {
		return fmt.Errorf("cannot use its certificate: %w", err)
	}
	s.tls.Certificates, s.tls.GetCertificate = nil, s.certificate.Get
	return nil
}

// rules returns a copy of a config as the site's connections need it.
func (s *site) rules(config *tls.Config) *tls.Config {
	rules := config.Clone()
	if !slices.Contains(rules.NextProtos, "h2") && !slices.Contains(rules.NextProtos, "http/1.1") {
		rules.NextProtos = append(slices.Clip(rules.NextProtos), "h2", "http/1.1")
	}
	s.bindTickets(rules, config)
	return rules
}

// bindTickets makes session tickets good for this site alone. A client that
// comes with one is not verified again, but crypto/tls takes those of all hosts
// of a listener, and of all configs with the same keys. The keys are those of
// config, which have Go's rotation unless the caller has set them.
func (s *site) bindTickets(rules, config *tls.Config) {
	wrap, unwrap := config.WrapSession, config.UnwrapSession
	if wrap == nil {
		wrap = config.EncryptTicket
	}
	if unwrap == nil {
		unwrap = config.DecryptTicket
	}
	mark := fmt.Appendf(nil, "aerys host %v on %v", s.host, s.host.exposedOn())
	rules.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, mark)
		return wrap(state, session)
	}
	rules.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(ticket, state)
		if session == nil || !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return string(extra) == string(mark) }) {
			return nil, err
		}
		return session, err
	}
}

// verifies reports whether the site may refuse a client by what it shows in
// the handshake.
func (s *site) verifies() bool {
	c := s.tls
	return c != nil && (c.ClientAuth != tls.NoClientCert || c.VerifyPeerCertificate != nil || c.VerifyConnection != nil ||
		c.GetConfigForClient != nil)
}

// bySNI returns the site whose TLS rules hold for a server name.
func (l *listener) bySNI(name string) *site {
	if s := l.site(name); s != nil {
		return s
	}
	return l.sites[0]
}

// tlsConfig lets the server name in the client's hello pick the host.
func (l *listener) tlsConfig() *tls.Config {
	return &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return l.bySNI(hello.ServerName).configFor(hello)
	}}
}

// configFor returns the rules for a client: the site's, or what the caller's
// GetConfigForClient makes of them.
func (s *site) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if s.tls.GetConfigForClient == nil {
		return s.tls, nil
	}
	config, err := s.tls.GetConfigForClient(hello)
	switch {
	case err != nil:
		return nil, err
	case config == nil:
		return s.tls, nil
	}
	rules := s.rules(config)
	if s.certificate != nil && !hasCertificate(rules) {
		rules.GetCertificate = s.certificate.Get
	}
	return rules, nil
}
