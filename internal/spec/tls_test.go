package spec

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aerys"
)

// handshake opens a TLS connection and returns it with the name in the
// server's certificate.
func handshake(t *testing.T, address net.Addr, config *tls.Config) (conn *tls.Conn, name string, err error) {
	t.Helper()
	config.InsecureSkipVerify = true
	conn = tls.Client(dial(t, address), config)
	if err = conn.Handshake(); err == nil {
		name = conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	return conn, name, err
}

func TestServerNamePicksTheCertificate(t *testing.T) {
	dir := t.TempDir()
	certA, keyA := writeCertificate(t, dir, "a.example")
	certB, keyB := writeCertificate(t, dir, "b.example")
	both := filepath.Join(dir, "both.pem")
	cert, _ := os.ReadFile(certB)
	key, _ := os.ReadFile(keyB)
	replaceFile(t, both, append(cert, key...))
	s := run(t, aerys.Options{},
		local("a").Name("a.example").Encrypt(certA, keyA, &tls.Config{MinVersion: tls.VersionTLS13}),
		local("b").Name("b.example").Encrypt(both, ""))
	for _, test := range []struct {
		sni, host, want string
		protocols       []string
		protocol        string
	}{
		{"a.example", "a.example", "a.example", nil, ""},
		{"B.example", "b.example", "b.example", []string{"http/1.1"}, "http/1.1"},
		{"b.example", "b.example", "b.example", []string{"http/1.1", "h2"}, "h2"},
		{"", "b.example", "a.example", nil, ""},
		{"c.example", "b.example", "a.example", nil, ""},
	} {
		_, name, err := handshake(t, s.addresses[0], &tls.Config{ServerName: test.sni, NextProtos: test.protocols})
		if err != nil || name != test.want {
			t.Errorf("%q: certificate of %q, want %q (%v)", test.sni, name, test.want, err)
		}
	}
	if _, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example", MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("the host's own tls.Config did not hold")
	}
	conn, _, _ := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example"})
	text := exchange(t, conn, request("b.example", "/"))
	if _, body := statusAndBody(t, text); body != "b" {
		t.Errorf("another host over the same connection: %q", body)
	}
	if answer := converse(t, s.addresses[0], request("a.example", "/")); !strings.HasPrefix(answer, "HTTP/1.0 400") {
		t.Errorf("clear text: %q", answer)
	}
}

func TestClientCertificateIsNotPassedByAnotherName(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "a.example", "b.example")
	s := run(t, aerys.Options{},
		local("open").Name("a.example").Encrypt(cert, key),
		local("guarded").Name("b.example").Encrypt(cert, key, &tls.Config{ClientAuth: tls.RequireAnyClientCert}))
	ask := func(sni string, certificates ...tls.Certificate) (int, string) {
		conn, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: sni, Certificates: certificates})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n")
		text, err := io.ReadAll(conn)
		if err != nil {
			return 0, ""
		}
		return statusAndBody(t, string(text))
	}
	if status, _ := ask("a.example"); status != 421 {
		t.Errorf("by the name of the open host: status %d, want 421", status)
	}
	if status, _ := ask("b.example"); status != 0 {
		t.Errorf("without a certificate: status %d, want none", status)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := ask("b.example", pair); body != "guarded" {
		t.Errorf("with a certificate: %d %q", status, body)
	}
}

func TestCertificateIsReplacedWhileServing(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, "old.example")
	s := run(t, aerys.Options{}, local("x").Encrypt(certFile, keyFile))
	before, name, err := handshake(t, s.addresses[0], &tls.Config{})
	if name != "old.example" {
		t.Fatal(name, err)
	}
	newCert, newKey := writeCertificate(t, dir, "new.example")
	os.Rename(newCert, certFile)
	os.Rename(newKey, keyFile)
	eventually(t, "the new certificate", func() bool {
		_, name, _ = handshake(t, s.addresses[0], &tls.Config{})
		return name == "new.example"
	})
	if text := exchange(t, before, request("a", "/")); !strings.HasSuffix(text, "x") {
		t.Errorf("the connection from before: %q", text)
	}
}

// theirs is a config's GetCertificate that has one for the name it is in.
func theirs(pair tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch hello.ServerName {
		case pair.Leaf.Subject.CommonName, "":
			return &pair, nil
		case "forbidden.example":
			return nil, errors.New("no certificate for that")
		}
		return nil, nil
	}
}

// TestEncryptKeepsTheConfig: what the caller's config says where certificates
// come from, and which protocols there are, holds beside the files and without.
func TestEncryptKeepsTheConfig(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, "file.example")
	a, b := certificate(t, "a.example"), certificate(t, "b.example")
	choose := func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch hello.ServerName {
		case "a.example":
			return &tls.Config{Certificates: []tls.Certificate{a}}, nil
		case "b.example":
			return &tls.Config{GetCertificate: theirs(b), NextProtos: []string{"b/1"}}, nil
		case "old.example":
			return &tls.Config{MaxVersion: tls.VersionTLS12}, nil
		case "forbidden.example":
			return nil, errors.New("nobody is served here")
		}
		return nil, nil
	}
	files, none := [2]string{certFile, keyFile}, [2]string{}
	for _, test := range []struct {
		name   string
		files  [2]string
		config *tls.Config
		want   map[string]string // the certificate's name by the server's, "" for a failure
	}{
		{"files", files, &tls.Config{}, map[string]string{"a.example": "file.example", "": "file.example"}},
		{"GetCertificate", none, &tls.Config{GetCertificate: theirs(a)},
			map[string]string{"a.example": "a.example", "": "a.example", "forbidden.example": "", "other.example": ""}},
		{"Certificates", none, &tls.Config{Certificates: []tls.Certificate{a, b}},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "other.example": "a.example", "": "a.example"}},
		{"GetCertificate and Certificates", none, &tls.Config{GetCertificate: theirs(b), Certificates: []tls.Certificate{a}},
			map[string]string{"b.example": "b.example", "": "a.example", "other.example": "a.example", "forbidden.example": ""}},
		{"GetConfigForClient", none, &tls.Config{GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "", "forbidden.example": "", "": ""}},
		{"files and GetCertificate", files, &tls.Config{GetCertificate: theirs(a)},
			map[string]string{"a.example": "a.example", "": "file.example", "other.example": "file.example", "forbidden.example": ""}},
		{"files and Certificates", files, &tls.Config{Certificates: []tls.Certificate{a, b}},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "": "file.example", "other.example": "file.example"}},
		{"files and GetConfigForClient", files, &tls.Config{GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "file.example", "forbidden.example": "", "": "file.example"}},
		{"all", files, &tls.Config{GetCertificate: theirs(a), Certificates: []tls.Certificate{b}, GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "file.example", "": "file.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := run(t, aerys.Options{}, local("x").Encrypt(test.files[0], test.files[1], test.config))
			for sni, want := range test.want {
				conn, name, err := handshake(t, s.addresses[0], &tls.Config{ServerName: sni, NextProtos: []string{"http/1.1"}})
				if name != want || want != "" && err != nil {
					t.Errorf("%q: certificate of %q, want %q (%v)", sni, name, want, err)
				}
				if want == "" {
					continue
				}
				text := exchange(t, conn, request("a", "/"))
				if _, body := statusAndBody(t, text); body != "x" {
					t.Errorf("%q: %q", sni, body)
				}
			}
		})
	}
}

// The protocols of a config are kept, as ACME's "acme-tls/1" (RFC 8737); HTTP's
// are added only if there are none.
func TestEncryptKeepsProtocols(t *testing.T) {
	a := certificate(t, "a.example")
	for _, test := range []struct{ protocols, want []string }{
		{nil, []string{"h2", "http/1.1"}},
		{[]string{"acme-tls/1"}, []string{"acme-tls/1", "h2", "http/1.1"}},
		{[]string{"h2", "http/1.1", "acme-tls/1"}, []string{"h2", "http/1.1", "acme-tls/1"}},
		{[]string{"http/1.1", "acme-tls/1"}, []string{"http/1.1", "acme-tls/1"}}, // no HTTP/2, as its owner wants it
		{[]string{"http/1.1"}, []string{"http/1.1"}},
	} {
		for name, config := range map[string]*tls.Config{
			"config": {GetCertificate: theirs(a), NextProtos: test.protocols},
			"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{GetCertificate: theirs(a), NextProtos: test.protocols}, nil
			}},
		} {
			s := run(t, aerys.Options{}, local("x").Encrypt("", "", config))
			var got []string
			for _, protocol := range test.want {
				conn, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example", NextProtos: []string{protocol}})
				if err == nil {
					got = append(got, conn.ConnectionState().NegotiatedProtocol)
				}
			}
			if _, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example", NextProtos: []string{"other/1"}}); err == nil {
				t.Errorf("%s, %q: other/1 was accepted", name, test.protocols)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("%s, %q: %q, want %q", name, test.protocols, got, test.want)
			}
		}
	}
}

// What a host that refuses clients in the handshake serves does not come over
// another host's connection.
func TestNoRequestComesOverAnotherHostsConnection(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a.example", "b.example")
	for name, test := range map[string]struct {
		config *tls.Config
		want   int
	}{
		"ordinary":           {&tls.Config{MinVersion: tls.VersionTLS13}, 200},
		"ClientAuth":         {&tls.Config{ClientAuth: tls.RequestClientCert}, 421},
		"VerifyConnection":   {&tls.Config{VerifyConnection: func(tls.ConnectionState) error { return nil }}, 421},
		"GetConfigForClient": {&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}, 421},
	} {
		s := run(t, aerys.Options{}, local("a").Name("a.example").Encrypt(certFile, keyFile), local("b").Name("b.example").Encrypt(certFile, keyFile, test.config))
		for sni, want := range map[string]int{"a.example": test.want, "b.example": 200} {
			conn, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: sni})
			if err != nil {
				t.Fatal(err)
			}
			text := exchange(t, conn, request("b.example", "/"))
			if status, _ := statusAndBody(t, text); status != want {
				t.Errorf("%s, by the name of %s: status %d, want %d", name, sni, status, want)
			}
		}
	}
}
