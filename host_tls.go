package aerys

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

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
	s.certificate = &certificate{encryption: e, site: s}
	if err := s.certificate.load(); err != nil {
		return fmt.Errorf("cannot use its certificate: %w", err)
	}
	s.tls.Certificates, s.tls.GetCertificate = nil, s.certificate.get
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
		rules.GetCertificate = s.certificate.get
	}
	return rules, nil
}

// certificate is a key pair that follows its files.
type certificate struct {
	*encryption
	site    *site
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // only ever tried: no handshake waits for another's reading
	checked time.Time
	seen    [2]os.FileInfo // of what was read; nil before
	failure string         // to read what has come since
}

// get is a tls.Config's GetCertificate. As in crypto/tls, the caller's comes
// first for a client that names a server, and of several certificates the first
// that the client supports is taken, that of the files before the caller's.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.config.GetCertificate != nil && hello.ServerName != "" {
		if found, err := c.config.GetCertificate(hello); found != nil || err != nil {
			return found, err
		}
	}
	if c.mu.TryLock() {
		c.follow()
		c.mu.Unlock()
	}
	current := c.current.Load()
	if others := c.config.Certificates; len(others) > 0 && hello.SupportsCertificate(current) != nil {
		for i := range others {
			if hello.SupportsCertificate(&others[i]) == nil {
				return &others[i], nil
			}
		}
	}
	return current, nil
}

// follow reads the files again when they changed, and keeps the certificate if
// that fails. Files that cannot be read are tried again a second later, those
// that make no sense when they have changed once more.
func (c *certificate) follow() {
	if time.Since(c.checked) < time.Second {
		return
	}
	c.checked = time.Now()
	if c.look() == c.seen {
		c.failure = ""
		return
	}
	log := c.site.options.Logger.With("host", c.site.host.String(), "certificate", c.certFile, "key", c.keyFile)
	before := c.failure
	switch err := c.load(); {
	case err == nil:
		log.Info("aerys: new certificate")
	case before == "" || before != c.failure:
		log.Error("aerys: keeping the old certificate", "error", err)
	}
}

// load reads the files.
func (c *certificate) load() error {
	now := c.look()
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		c.failure = err.Error()
		return err
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		c.failure = err.Error()
		return err
	}
	c.seen, c.failure = now, ""
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil {
		c.current.Store(&pair)
	}
	return err
}

// look looks at the files without reading them. What has not changed is what
// was seen before.
func (c *certificate) look() (now [2]os.FileInfo) {
	for i, name := range [...]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		switch before := c.seen[i]; {
		case err != nil:
		case before != nil && os.SameFile(before, info) && before.ModTime().Equal(info.ModTime()) && before.Size() == info.Size():
			now[i] = before
		default:
			now[i] = info
		}
	}
	return now
}
