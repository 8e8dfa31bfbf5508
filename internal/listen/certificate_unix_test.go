//go:build unix

package listen

import (
	"syscall"
	"testing"
)

// Files that have changed, but cannot be read for want of descriptors, are tried
// again, and complained of once.
func TestCertificateIsReadWhenItCanBe(t *testing.T) {
	f := follow(t)
	f.renew()
	withoutDescriptors(t, func() {
		for range 3 {
			if n := f.later(); n != "old.example" {
				t.Errorf("without a descriptor: %q", n)
			}
		}
	})
	f.logged("too many open files", 1)
	if n := f.later(); n != "new.example" {
		t.Errorf("afterwards: %q", n)
	}
	f.logged("new certificate", 1)
	f.later()

	replaceFile(t, f.certFile, []byte("broken"))
	withoutDescriptors(t, func() { f.later(); f.later() })
	f.logged("too many open files", 2)
	for range 3 {
		f.later()
	}
	f.logged("failed to find any PEM data", 1)
	replaceFile(t, f.certFile, []byte("broken in another way"))
	f.later()
	f.logged("failed to find any PEM data", 2)
	f.logged("new certificate", 1)
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
