//go:build unix

package aerys

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCertificateIsReadWhenItCanBe: files that have changed, but cannot be read
// for want of descriptors, are tried again, and complained of once.
func TestCertificateIsReadWhenItCanBe(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, "old.example")
	log := new(safeBuffer)
	s := &site{host: new(Host).Encrypt(certFile, keyFile), options: &Options{Logger: textLogger(log)}}
	if err := s.encrypt(); err != nil {
		t.Fatal(err)
	}
	name := func() string {
		s.certificate.checked = time.Now().Add(-time.Second)
		pair, _ := s.certificate.get(nil)
		return pair.Leaf.Subject.CommonName
	}
	logged := func(text string, want int) {
		t.Helper()
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%q was logged %d times, want %d: %s", text, n, want, log)
		}
	}
	newCert, newKey := writeCertificate(t, dir, "new.example")
	os.Rename(newCert, certFile)
	os.Rename(newKey, keyFile)
	withoutDescriptors(t, func() {
		for range 3 {
			if n := name(); n != "old.example" {
				t.Errorf("without a descriptor: %q", n)
			}
		}
	})
	logged("too many open files", 1)
	if n := name(); n != "new.example" {
		t.Errorf("afterwards: %q", n)
	}
	logged("new certificate", 1)
	name()

	replaceFile(t, certFile, []byte("broken"))
	withoutDescriptors(t, func() { name(); name() })
	logged("too many open files", 2)
	for range 3 {
		name()
	}
	logged("failed to find any PEM data", 1)
	replaceFile(t, certFile, []byte("broken in another way"))
	name()
	logged("failed to find any PEM data", 2)
	logged("new certificate", 1)
}

// withoutDescriptors calls f while this process can open no file.
func withoutDescriptors(t *testing.T, f func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	f()
}
