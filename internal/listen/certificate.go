package listen

import (
	"cmp"
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Certificate is a key pair that follows its files.
type Certificate struct {
	certFile, keyFile string
	config            *tls.Config
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // only ever tried: no handshake waits for another's reading
	checked time.Time
	seen    [2]os.FileInfo // of what was read; nil before
	failure string         // to read what has come since
}

// ReadCertificate reads a key pair, which stands beside the certificates of a
// config. log hears when the files have changed.
func ReadCertificate(certFile, keyFile string, config *tls.Config, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, config: config, log: log.With("certificate", certFile, "key", keyFile)}
	return c, c.load()
}

// Get is a tls.Config's GetCertificate. As in crypto/tls, the config's comes
// first for a client that names a server, and of several certificates the first
// that the client supports is taken, that of the files before the config's.
func (c *Certificate) Get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
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
func (c *Certificate) follow() {
	if time.Since(c.checked) < time.Second {
		return
	}
	c.checked = time.Now()
	if c.look() == c.seen {
		c.failure = ""
		return
	}
	before := c.failure
	switch err := c.load(); {
	case err == nil:
		c.log.Info("aerys: new certificate")
	case before == "" || before != c.failure:
		c.log.Error("aerys: keeping the old certificate", "error", err)
	}
}

// load reads the files.
func (c *Certificate) load() error {
	now := c.look()
	cert, certErr := os.ReadFile(c.certFile)
	key, keyErr := os.ReadFile(c.keyFile)
	if err := cmp.Or(certErr, keyErr); err != nil {
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
func (c *Certificate) look() (now [2]os.FileInfo) {
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
