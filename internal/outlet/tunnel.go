package outlet

import (
	"cmp"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"aerys/internal/http1"
)

// Tunnel is a stream of HTTP/2 that an extended CONNECT asks for (RFC 8441 §4): once
// it is accepted a net.Conn, which lives for as long as the handler does. A deadline
// that has passed ends it for good.
type Tunnel struct {
	body          io.ReadCloser
	local, remote net.Addr
	stay          func() // what the handler's goroutine does when the actions have returned

	mu      sync.Mutex               // guards the following
	control *http.ResponseController // nil once it is closed
	ended   bool                     // by CloseWrite

	writing sync.Mutex          // held by whoever writes
	begun   bool                // the header was sent
	writer  http.ResponseWriter // nil once nobody may write: net/http would panic
}

// Accepter marks an action that accepts extended CONNECTs.
type Accepter struct{}

// AcceptsConnect is the mark.
func (Accepter) AcceptsConnect() {}

// Dig returns the tunnel that a request asks for, or nil where one that answers for
// another has it already.
func Dig(w http.ResponseWriter, r *http.Request) *Tunnel {
	if detacherBehind(w) != nil {
		return nil
	}
	t := &Tunnel{body: r.Body, writer: w}
	t.local, _ = r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		t.remote = net.TCPAddrFromAddrPort(peer)
	}
	return t
}

// detacherBehind unwraps w until it finds what can take the connection.
func detacherBehind(w http.ResponseWriter) http1.Detacher {
	for {
		switch writer := w.(type) {
		case http1.Detacher:
			return writer
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return nil
		}
	}
}

// accept answers with 200 and the fields of a header, which the first write or
// flush sends.
func (t *Tunnel) accept(fields http.Header) (d http1.Detached, err error) {
	control := http.NewResponseController(t.writer)
	if err := cmp.Or(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})); err != nil {
		return d, err
	}
	t.control = control
	maps.Copy(t.writer.Header(), fields)
	t.writer.WriteHeader(http.StatusOK)
	return http1.Detached{Conn: t, Stay: func(serve func()) { t.stay = serve }}, nil
}

// Answer calls what answers the request, in a goroutine of its own: that of net/http is
// to wait with a stack that has not grown. It reports whether the call has returned.
func (t *Tunnel) Answer(call func()) (returned bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if !returned {
				recover() // it was logged, or is http.ErrAbortHandler
			}
		}()
		call()
		returned = true
	}()
	<-done
	return returned
}

// Stay serves the tunnel, if it was accepted, until it is over.
func (t *Tunnel) Stay() {
	if t.stay == nil {
		return
	}
	t.stay()
	t.Close()
	t.writing.Lock()
	defer t.writing.Unlock()
	t.writer = nil
}

// Read implements net.Conn. Of no bytes it waits until there are some.
func (t *Tunnel) Read(p []byte) (int, error) {
	n, err := t.body.Read(p)
	if err != nil && t.isEnded() {
		err = io.EOF
	}
	return n, err
}

func (t *Tunnel) isEnded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// Write implements net.Conn.
func (t *Tunnel) Write(p []byte) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.writer == nil {
		return 0, net.ErrClosed
	}
	control := http.NewResponseController(t.writer)
	if !t.begun { // of a header that leaves with what follows net/http would guess the Content-Type
		t.begun = true
		if err := control.Flush(); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := t.writer.Write(p)
	if err == nil {
		err = control.Flush()
	}
	return n, err
}

// Flush sends the header, if that was not done yet.
func (t *Tunnel) Flush() error {
	_, err := t.Write(nil)
	return err
}

// CloseWrite ends both directions: a handler that has answered reads no more.
func (t *Tunnel) CloseWrite() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.body.Close()
}

// Close implements net.Conn. What is being written is cut off.
func (t *Tunnel) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.control == nil {
		return net.ErrClosed
	}
	if t.writing.TryLock() {
		t.writing.Unlock()
	} else {
		t.control.SetWriteDeadline(time.Unix(1, 0))
	}
	t.control = nil
	return t.body.Close()
}

// LocalAddr implements net.Conn.
func (t *Tunnel) LocalAddr() net.Addr { return t.local }

// RemoteAddr implements net.Conn.
func (t *Tunnel) RemoteAddr() net.Addr { return t.remote }

// SetDeadline implements net.Conn.
func (t *Tunnel) SetDeadline(at time.Time) error {
	return cmp.Or(t.SetReadDeadline(at), t.SetWriteDeadline(at))
}

// SetReadDeadline implements net.Conn.
func (t *Tunnel) SetReadDeadline(at time.Time) error {
	return t.set(func(c *http.ResponseController) error { return c.SetReadDeadline(at) })
}

// SetWriteDeadline implements net.Conn.
func (t *Tunnel) SetWriteDeadline(at time.Time) error {
	return t.set(func(c *http.ResponseController) error { return c.SetWriteDeadline(at) })
}

func (t *Tunnel) set(deadline func(*http.ResponseController) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.control == nil {
		return net.ErrClosed
	}
	return deadline(t.control)
}
