package aerys

import "testing"

// WriteCertificate is for the tests in package aerys_test.
func WriteCertificate(t *testing.T, dir string, names ...string) (certFile, keyFile string) {
	t.Helper()
	return writeCertificate(t, dir, names...)
}
