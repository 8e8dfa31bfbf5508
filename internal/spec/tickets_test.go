package spec

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"

	"aerys"
)

// anySession is a client's cache that offers the latest session to every server.
type anySession struct{ latest *tls.ClientSessionState }

func (s *anySession) Get(string) (*tls.ClientSessionState, bool) { return s.latest, s.latest != nil }

func (s *anySession) Put(_ string, session *tls.ClientSessionState) {
	if session != nil {
		s.latest = session
	}
}

// visitor is a client of several hosts of one server.
type visitor struct {
	*server
	version      uint16
	sessions     *anySession
	certificates []tls.Certificate
}

// visit asks for / of a host, and reports whether that resumed a session, and
// whether the host answered.
func (v *visitor) visit(t *testing.T, name string) (resumed, answered bool) {
	t.Helper()
	conn, _, err := handshake(t, v.addresses[0], &tls.Config{ServerName: name, MinVersion: v.version, MaxVersion: v.version,
		ClientSessionCache: v.sessions, Certificates: v.certificates})
	if err != nil {
		return false, false
	}
	text := exchange(t, conn, request(name, "/"))
	return conn.ConnectionState().DidResume, strings.HasSuffix(text, "\r\n\r\n"+name)
}

// admitting are ways to serve one client alone.
var admitting = map[string]func(client *x509.Certificate) *tls.Config{
	"VerifyPeerCertificate": func(client *x509.Certificate) *tls.Config {
		return &tls.Config{ClientAuth: tls.RequireAnyClientCert, VerifyPeerCertificate: func(certs [][]byte, _ [][]*x509.Certificate) error {
			if !bytes.Equal(certs[0], client.Raw) {
				return errStranger
			}
			return nil
		}}
	},
	"VerifyConnection": func(client *x509.Certificate) *tls.Config {
		return &tls.Config{ClientAuth: tls.RequireAnyClientCert, VerifyConnection: func(state tls.ConnectionState) error {
			if !state.PeerCertificates[0].Equal(client) {
				return errStranger
			}
			return nil
		}}
	},
	"ClientCAs": func(client *x509.Certificate) *tls.Config {
		config := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
		config.ClientCAs.AddCert(client)
		return config
	},
}

var errStranger = errors.New("a stranger")

// TestTicketsAreOfOneHost has clients come to a host with the session that
// another of the same listener gave them: they are verified as any others.
func TestTicketsAreOfOneHost(t *testing.T) {
	keys := [][32]byte{{1}}
	for way, admits := range admitting {
		for manner, change := range map[string]func(admits *tls.Config) *tls.Config{
			"each its own":   func(admits *tls.Config) *tls.Config { return admits },
			"the keys given": func(admits *tls.Config) *tls.Config { admits.SetSessionTicketKeys(keys); return admits },
			"in GetConfigForClient": func(admits *tls.Config) *tls.Config {
				return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return admits, nil }}
			},
			"in GetConfigForClient, the keys given": func(admits *tls.Config) *tls.Config {
				admits.SetSessionTicketKeys(keys)
				return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return admits, nil }}
			},
			"wrapped by the caller": func(admits *tls.Config) *tls.Config {
				shared := new(tls.Config)
				shared.SetSessionTicketKeys(keys)
				admits.WrapSession, admits.UnwrapSession = shared.EncryptTicket, shared.DecryptTicket
				return admits
			},
		} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				t.Run(way+", "+manner+", "+tls.VersionName(version), func(t *testing.T) {
					t.Parallel()
					testTicketsOfTwoHosts(t, version, func(client *x509.Certificate) *tls.Config { return change(admits(client)) })
				})
			}
		}
	}
}

func testTicketsOfTwoHosts(t *testing.T, version uint16, admitting func(client *x509.Certificate) *tls.Config) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "www.example", "admin.example", "open.example")
	friends := map[string]tls.Certificate{"www.example": certificate(t, "w"), "admin.example": certificate(t, "a")}
	hosts := []*aerys.Host{local("open.example").Name("open.example").Encrypt(certFile, keyFile)}
	for name, pair := range friends {
		hosts = append(hosts, local(name).Name(name).Encrypt(certFile, keyFile, admitting(pair.Leaf)))
	}
	s := run(t, aerys.Options{}, hosts...)
	for _, test := range []struct{ of, to string }{
		{"www.example", "admin.example"}, {"admin.example", "www.example"}, {"open.example", "admin.example"}, {"open.example", "www.example"},
	} {
		client := &visitor{server: s, version: version, sessions: new(anySession)}
		if pair, ok := friends[test.of]; ok {
			client.certificates = []tls.Certificate{pair}
		}
		for i, want := range []bool{false, true} {
			if resumed, answered := client.visit(t, test.of); resumed != want || !answered {
				t.Errorf("visit %d of a friend to %s: resumed %v, want %v, answered %v", i, test.of, resumed, want, answered)
			}
		}
		if resumed, answered := client.visit(t, test.to); resumed || answered {
			t.Errorf("with the ticket of %s to %s: resumed %v, answered %v", test.of, test.to, resumed, answered)
		}
		client.certificates = []tls.Certificate{friends[test.to]}
		if resumed, answered := client.visit(t, test.to); resumed || !answered {
			t.Errorf("a friend of %s with the ticket of %s: resumed %v, answered %v", test.to, test.of, resumed, answered)
		}
	}
}

// A config that has served has keys, which Clone copied before Go 1.24.13 and
// 1.25.7 (CVE-2025-68121).
func TestTicketsOfConfigsFromOne(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "www.example", "admin.example")
	base := new(tls.Config)
	base.EncryptTicket(tls.ConnectionState{}, new(tls.SessionState)) // makes them
	pair := certificate(t, "a")
	guarded := base.Clone()
	guarded.ClientAuth, guarded.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	guarded.ClientCAs.AddCert(pair.Leaf)
	other := base.Clone()
	other.ClientAuth = tls.RequireAnyClientCert
	s := run(t, aerys.Options{}, local("www.example").Name("www.example").Encrypt(certFile, keyFile, other),
		local("admin.example").Name("admin.example").Encrypt(certFile, keyFile, guarded))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		client := &visitor{s, version, new(anySession), []tls.Certificate{certificate(t, "w")}}
		if _, answered := client.visit(t, "www.example"); !answered {
			t.Error("www.example refuses its client")
		}
		if resumed, answered := client.visit(t, "admin.example"); resumed || answered {
			t.Errorf("a stranger with the ticket of www.example: resumed %v, answered %v", resumed, answered)
		}
	}
}

// An ordinary host's sessions are resumed, also after its certificate changed,
// on all of its listeners, and when it serves anew.
func TestSessionsAreResumed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, "a.example")
	host := local("a.example").Encrypt(certFile, keyFile)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := run(t, aerys.Options{}, host)
		client := &visitor{server: s, version: version, sessions: new(anySession)}
		for i, want := range []bool{false, true, true} {
			if resumed, answered := client.visit(t, "a.example"); resumed != want || !answered {
				t.Errorf("visit %d: resumed %v, want %v, answered %v", i, resumed, want, answered)
			}
		}
		newCert, newKey := writeCertificate(t, dir, "new.example")
		os.Rename(newCert, certFile)
		os.Rename(newKey, keyFile)
		eventually(t, "the new certificate", func() bool {
			_, name, _ := handshake(t, s.addresses[0], &tls.Config{})
			return name == "new.example"
		})
		if resumed, answered := client.visit(t, "a.example"); !resumed || !answered {
			t.Errorf("after a change of the certificate: resumed %v, answered %v", resumed, answered)
		}
		s.stop()
		client.server = run(t, aerys.Options{}, host)
		if resumed, answered := client.visit(t, "a.example"); !resumed || !answered {
			t.Errorf("when it serves anew: resumed %v, answered %v", resumed, answered)
		}
	}
}
