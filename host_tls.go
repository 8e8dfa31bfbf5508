package aerys

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// encryption is what Host.Encrypt was given.
type encryption struct {
	certFile, keyFile string
	config            *tls.Config
}

func newEncryption(certFile, keyFile string, config []*tls.Config) *encryption {
	e := &encryption{certFile: certFile, keyFile: keyFile, config: new(tls.Config)}
	if len(config) > 0 && config[0] != nil {
		e.config = config[0].Clone()
	}
	return e
}

// encrypt reads the site's certificate, if it is to have one.
func (s *site) encrypt() error {
	e := s.host.encryption
	if e == nil {
		return nil
	}
	c := &certificate{encryption: e, site: s}
	if err := c.load(); err != nil {
		return fmt.Errorf("cannot use its certificate: %w", err)
	}
	s.tls = e.config.Clone()
	s.tls.Certificates, s.tls.GetCertificate = nil, c.get
	if s.tls.NextProtos == nil {
		s.tls.NextProtos = []string{"h2", "http/1.1"}
	}
	return nil
}

// verifies reports whether the site asks its clients for certificates.
func (s *site) verifies() bool { return s.tls != nil && s.tls.ClientAuth != tls.NoClientCert }

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
		return l.bySNI(hello.ServerName).tls, nil
	}}
}

// certificate is a key pair that follows its files.
type certificate struct {
	*encryption
	site    *site
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // only ever tried: no handshake waits for another's reading
	checked time.Time
	seen    [2]os.FileInfo // nil for a file that is missing
}

// get is a tls.Config's GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.mu.TryLock() {
		c.follow()
		c.mu.Unlock()
	}
	return c.current.Load(), nil
}

// follow reads the files again when they changed, and keeps the certificate if
// that fails.
func (c *certificate) follow() {
	if time.Since(c.checked) < time.Second {
		return
	}
	c.checked = time.Now()
	if c.look() == c.seen {
		return
	}
	log := c.site.options.Logger.With("host", c.site.host.String(), "certificate", c.certFile, "key", c.keyFile)
	if err := c.load(); err != nil {
		log.Error("aerys: keeping the old certificate", "error", err)
		return
	}
	log.Info("aerys: new certificate")
}

// load reads the files.
func (c *certificate) load() error {
	c.seen = c.look()
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
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
