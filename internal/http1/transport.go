package http1

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"aerys/internal/loop"
)

// ErrWait is what Transport.Read returns in place of waiting.
var ErrWait = errors.New("http1: nothing has come yet")

// A Transport is a connection as a stream of bytes, and whoever drives it. One goroutine at a time calls Read and Wait, and
// one at a time Write; all others may be called at any time, beside them.
type Transport interface {
	// ClientAddr, LocalAddr and TLS are what requests tell of their connection.
	ClientAddr() string
	LocalAddr() net.Addr
	TLS() *tls.ConnectionState

	// Read reads what has come. Where nothing has, it returns ErrWait.
	Read(p []byte) (int, error)

	// Wait waits for something to read, or for Interrupt.
	Wait() error

	// Write writes or queues all of p, and waits while too much is queued.
	Write(p []byte) (int, error)

	// Watch has Conn.Gone called when the client leaves or ends its half, until
	// Unwatch. Nobody reads until then. Watch reports that the client has left
	// before.
	Watch() (gone bool)
	Unwatch()

	// FlushSoon has Conn.Flush called about a millisecond later, from elsewhere:
	// responses wait behind a handler that may take long.
	FlushSoon()

	// SetReadDeadline and SetWriteDeadline are a handler's; they end a Wait or
	// Write with os.ErrDeadlineExceeded.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error

	// Interrupt lets Read and Wait fail from now on, with a net.Error that is a
	// timeout.
	Interrupt()

	// CloseWrite ends what is sent, behind what is queued.
	CloseWrite() error

	// Close ends the connection, behind what is queued. Abort does not wait.
	Close() error
	Abort()

	// Hijack makes a net.Conn of it, for somebody else.
	Hijack() (net.Conn, error)
}

// A FileSender is a Transport that sends files without copying them.
type FileSender interface {
	// SendFile writes head and a part of a file, which it moves on, and calls
	// progress whenever the client took some. It returns how much it sent of the
	// part.
	SendFile(head []byte, p *loop.FilePart, progress func()) (int64, error)
}
