package aerys

import (
	"errors"
	"net/http"

	"aerys/internal/http1"
)

// ErrHandshakeBody is what writing a body fails with while the status of a
// WebSocket handshake is 101, which has none (RFC 6455 §4.2.2). The response
// becomes a 500.
var ErrHandshakeBody = errors.New("aerys: a body with status 101 in OnHandshake: " +
	"to decline the connection, set a status from 300 on first")

// BeginHandshake makes r the response to a WebSocket handshake; package ws
// calls it before OnHandshake. The status becomes 101, and SetStatus takes only
// that or one from 300 on. Nothing is sent until EndHandshake.
func (r *Response) BeginHandshake() {
	if r.enter() {
		defer r.leave()
		r.handshake, r.status = true, http.StatusSwitchingProtocols
	}
}

// EndHandshake reports whether the status is 101 still and the header can be
// sent: package ws then calls Hijack, and writes the 101 with the
// fields of Header itself. Otherwise the response has been completed as any other.
func (r *Response) EndHandshake() (accepted bool) {
	if !r.enter() {
		return false
	}
	defer r.leave()
	r.handshake, r.state, r.explicit = false, None, false
	accepted = r.status == http.StatusSwitchingProtocols
	if accepted && len(r.body) > 0 {
		r.refuse(ErrHandshakeBody)
	}
	if accepted && r.fault == nil && r.checkHeader() == nil {
		return true
	}
	r.end("")
	return false
}

// Detach is Hijack for package ws. A connection of a Server stays one, and with
// its loop.
func (r *Response) Detach() (d http1.Detached, err error) {
	if !r.enter() {
		return d, ErrEnded
	}
	defer r.leave()
	if r.state >= Streaming {
		return d, ErrEnded
	}
	if d, err = r.out.detach(); err == nil {
		r.state = Ended
	}
	return d, err
}

// detach is Detach, for any writer.
func (o *outlet) detach() (http1.Detached, error) {
	if detacher, ok := o.writer.(http1.Detacher); ok && o.enter() {
		defer o.mu.Unlock()
		return detacher.Detach()
	}
	conn, buffered, err := o.Hijack()
	if err != nil {
		return http1.Detached{}, err
	}
	waiting, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	return http1.Detached{Conn: conn, Early: append([]byte(nil), waiting...)}, nil
}
