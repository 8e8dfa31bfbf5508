package aerys

import (
	"io"
	"testing"

	"aerys/internal/loop/looptest"
)

// WriteCertificate is for the tests in package aerys_test.
func WriteCertificate(t *testing.T, dir string, names ...string) (certFile, keyFile string) {
	t.Helper()
	return writeCertificate(t, dir, names...)
}

// HTTP/2 by hand, for them too.
const (
	Preface      = preface
	HeadersFrame = headersFrame
	Settings     = settingsFrame
	EndHeaders   = endHeaders
)

func Frame(kind, flags byte, stream uint32, payload string) string {
	return frame(kind, flags, stream, payload)
}

func ReadFrame(r io.Reader) (kind byte, stream uint32, payload []byte, err error) {
	return readFrame(r)
}

// Pass lets seconds pass for the connections of a server.
func Pass(s *Server, seconds int) { looptest.Pass(s.current.Load().loop, seconds) }

// PassWhile lets seconds pass until something that waits for them has ended. No
// test beside it may be at work: each second would wait for that, too.
func PassWhile(s *Server, something func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		something()
	}()
	for {
		select {
		case <-ended:
			return
		default:
			Pass(s, 1)
		}
	}
}
