package aerys

import (
	"errors"
	"os"
	"testing"
	"time"
)

// TestStuckClients has clients ask for something long, and read nothing of it.
func TestStuckClients(t *testing.T) {
	failed := make(chan error, 1)
	endless := func(_ *Request, res *Response) {
		var err error
		for piece := make([]byte, 64<<10); err == nil; {
			_, err = res.Write(piece)
		}
		failed <- err
	}
	certFile, keyFile := WriteCertificate(t, t.TempDir(), "localhost")
	for _, encrypted := range []bool{false, true} {
		host := new(Host).Expose("127.0.0.1", 0).Use(endless)
		if encrypted {
			host.Encrypt(certFile, keyFile)
		}
		s := runServer(t, Options{ConnectionTimeout: time.Second}, host)
		begun(t, s.addresses[0], encrypted)
		for seconds := 0; len(failed) == 0 && seconds < 60; seconds++ {
			Pass(s.Server, 1)
		}
		select {
		case err := <-failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("encrypted: %v: %v", encrypted, err)
			}
		default:
			t.Fatalf("encrypted: %v: the handler still writes", encrypted)
		}
		eventually(t, "the end of the connection", func() bool { return s.current.Load().connections.open.Load() == 0 })
	}
}
