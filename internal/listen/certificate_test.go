package listen

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeKeyPair makes the files of a certificate that names its owner.
func writeKeyPair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	replaceFile(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	replaceFile(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}))
	return certFile, keyFile
}

// replaceFile writes a file at once, as one should.
func replaceFile(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// followed is a certificate in files, and what is logged of it.
type followed struct {
	*Certificate
	t   *testing.T
	dir string
	log bytes.Buffer
}

func follow(t *testing.T) *followed {
	t.Helper()
	f := &followed{t: t, dir: t.TempDir()}
	certFile, keyFile := writeKeyPair(t, f.dir, "old.example")
	var err error
	if f.Certificate, err = ReadCertificate(certFile, keyFile, new(tls.Config), slog.New(slog.NewTextHandler(&f.log, nil))); err != nil {
		t.Fatal(err)
	}
	return f
}

// renew replaces both files.
func (f *followed) renew() {
	cert, key := writeKeyPair(f.t, f.dir, "new.example")
	os.Rename(cert, f.certFile)
	os.Rename(key, f.keyFile)
}

// name is whose certificate a client gets at once, later a second later.
func (f *followed) name() string {
	pair, _ := f.Get(nil)
	return pair.Leaf.Subject.CommonName
}

func (f *followed) later() string {
	f.checked = f.checked.Add(-time.Second)
	return f.name()
}

// logged wants so many lines with this in them so far.
func (f *followed) logged(text string, want int) {
	f.t.Helper()
	if n := strings.Count(f.log.String(), text); n != want {
		f.t.Errorf("%q was logged %d times, want %d: %s", text, n, want, f.log.String())
	}
}

func TestCertificateFollowsItsFile(t *testing.T) {
	f := follow(t)
	f.name() // looks at the files
	replaceFile(t, f.certFile, []byte("broken"))
	if n := f.later(); n != "old.example" {
		t.Errorf("broken file: %q", n)
	}
	f.logged("keeping the old certificate", 1)
	f.later() // of the same broken file nothing more is said
	f.logged("keeping the old certificate", 1)
	f.renew()
	if n := f.name(); n != "old.example" {
		t.Errorf("within the second: %q", n)
	}
	if n := f.later(); n != "new.example" {
		t.Errorf("new files: %q", n)
	}
	f.logged("new certificate", 1)
	os.Remove(f.keyFile)
	if n := f.later(); n != "new.example" {
		t.Errorf("missing key: %q", n)
	}
	f.logged("keeping the old certificate", 2)
}

// A certificate that does not fit its key, or is not there, is no certificate.
func TestCertificateThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeKeyPair(t, dir, "a.example")
	_, otherKey := writeKeyPair(t, dir, "b.example")
	for _, files := range [][2]string{{certFile, otherKey}, {certFile, certFile}, {"missing", keyFile}, {certFile, "missing"}} {
		if _, err := ReadCertificate(files[0], files[1], new(tls.Config), slog.Default()); err == nil {
			t.Errorf("%v: no error", files)
		}
	}
}
