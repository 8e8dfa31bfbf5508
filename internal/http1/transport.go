package http1

import (
	"net"
	"net/netip"
	"time"

	"aerys/internal/loop"
)

var _ Transport = (*loop.Conn)(nil)

// Transport is what a Conn needs of the connection that it serves, which is a
// loop.Conn: a stream of bytes, and who drives it. One goroutine at a time calls
// TryRead and Wait, and one at a time Write; all others may be called at any
// time, beside them.
type Transport interface {
	RemoteAddr() netip.AddrPort
	LocalAddr() net.Addr

	TryRead(p []byte) (int, error) // loop.ErrAgain where nothing has come
	Wait() error                   // for something to read
	Write(p []byte) (int, error)
	SendFile(head []byte, p *loop.FilePart, progress func()) (int64, error)
	CloseWrite() error

	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error

	PeerEnded() bool // the client has left, or ended its half
	Soon()           // has Conn.Flush called about a millisecond later
	Interrupt()      // reading and writing fail from now on
	Hijack() (net.Conn, error)
}
