package aerys

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a self-signed certificate for names and its key.
func writeCertificate(t *testing.T, dir string, names ...string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, names[0]+".crt"), filepath.Join(dir, names[0]+".key")
	writePEM(t, certFile, &pem.Block{Type: "CERTIFICATE", Bytes: cert})
	writePEM(t, keyFile, &pem.Block{Type: "EC PRIVATE KEY", Bytes: bytes})
	return certFile, keyFile
}

// writePEM replaces a file at once, as one should.
func writePEM(t *testing.T, name string, blocks ...*pem.Block) {
	t.Helper()
	var text bytes.Buffer
	for _, block := range blocks {
		pem.Encode(&text, block)
	}
	replaceFile(t, name, text.Bytes())
}

func replaceFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

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
	s := runServer(t, Options{},
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
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n")
	text, _ := io.ReadAll(conn)
	if _, body := statusAndBody(t, string(text)); body != "b" {
		t.Errorf("another host over the same connection: %q", body)
	}
	if answer := s.get(t, s.addresses[0], "a.example", "/"); !strings.HasPrefix(answer, "HTTP/1.0 400") {
		t.Errorf("clear text: %q", answer)
	}
}

func TestClientCertificateIsNotPassedByAnotherName(t *testing.T) {
	cert, key := writeCertificate(t, t.TempDir(), "a.example", "b.example")
	s := runServer(t, Options{},
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
	s := runServer(t, Options{}, local("x").Encrypt(certFile, keyFile))
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
	io.WriteString(before, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if text, _ := io.ReadAll(before); !strings.HasSuffix(string(text), "x") {
		t.Errorf("the connection from before: %q", text)
	}
}

// transport is a client of one protocol.
func transport(set func(*http.Protocols)) *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}
	set(tr.Protocols)
	return tr
}
