package listen

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// Encryption says how the connections of a host are encrypted.
type Encryption struct {
	certFile, keyFile string // "" if config has all certificates
	config            *tls.Config
}

// NewEncryption checks what a host is to be encrypted with.
func NewEncryption(certFile, keyFile string, config []*tls.Config) (*Encryption, error) {
	e := &Encryption{certFile: certFile, keyFile: cmp.Or(keyFile, certFile), config: new(tls.Config)}
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

// Rules are those that the connections of a host begin under.
type Rules struct {
	config      *tls.Config
	certificate *Certificate // nil without its files
	owner       string       // whose session tickets are good here
}

// Rules reads the certificate. Their tickets are good for their owner alone.
func (e *Encryption) Rules(owner string, log *slog.Logger) (*Rules, error) {
	r := &Rules{owner: owner}
	r.config = r.complete(e.config)
	if e.certFile == "" {
		return r, nil
	}
	var err error
	if r.certificate, err = ReadCertificate(e.certFile, e.keyFile, e.config, log); err != nil {
		return nil, fmt.Errorf("cannot use its certificate: %w", err)
	}
	r.config.Certificates, r.config.GetCertificate = nil, r.certificate.Get
	return r, nil
}

// complete returns a copy of a config as the host's connections need it.
func (r *Rules) complete(config *tls.Config) *tls.Config {
	own := config.Clone()
	if !slices.Contains(own.NextProtos, "h2") && !slices.Contains(own.NextProtos, "http/1.1") {
		own.NextProtos = append(slices.Clip(own.NextProtos), "h2", "http/1.1")
	}
	r.bindTickets(own, config)
	return own
}

// bindTickets makes session tickets good for the owner alone. A client that
// comes with one is not verified again, but crypto/tls takes those of all hosts
// of a listener, and of all configs with the same keys. The keys are those of
// config, which have Go's rotation unless the caller has set them.
func (r *Rules) bindTickets(own, config *tls.Config) {
	wrap, unwrap := config.WrapSession, config.UnwrapSession
	if wrap == nil {
		wrap = config.EncryptTicket
	}
	if unwrap == nil {
		unwrap = config.DecryptTicket
	}
	own.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		session.Extra = append(session.Extra, []byte(r.owner))
		return wrap(state, session)
	}
	own.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		session, err := unwrap(ticket, state)
		if session == nil || !slices.ContainsFunc(session.Extra, func(extra []byte) bool { return string(extra) == r.owner }) {
			return nil, err
		}
		return session, err
	}
}

// Verify reports whether a client may be refused by what it shows in the
// handshake.
func (r *Rules) Verify() bool {
	c := r.config
	return c.ClientAuth != tls.NoClientCert || c.VerifyPeerCertificate != nil || c.VerifyConnection != nil || c.GetConfigForClient != nil
}

// For returns the rules for a client: these, or what the caller's
// GetConfigForClient makes of them.
func (r *Rules) For(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if r.config.GetConfigForClient == nil {
		return r.config, nil
	}
	config, err := r.config.GetConfigForClient(hello)
	switch {
	case err != nil:
		return nil, err
	case config == nil:
		return r.config, nil
	}
	own := r.complete(config)
	if r.certificate != nil && !hasCertificate(own) {
		own.GetCertificate = r.certificate.Get
	}
	return own, nil
}
