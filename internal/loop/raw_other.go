//go:build !unix

package loop

import "net"

// raw is not offered here.
type raw struct{}

func newRaw(net.Conn) *raw { return nil }

func (*raw) read([]byte) (int, error) { return 0, ErrAgain }

func (*raw) write([]byte) (int, error) { return 0, nil }
