package aerys

import (
	"errors"
	"net"
	"net/http"
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
	r.live()
	r.handshake, r.status = true, http.StatusSwitchingProtocols
}

// EndHandshake reports whether the status is 101 still and the header can be
// sent: package ws then calls Detach or Hijack, and writes the 101 with the
// fields of Header itself. Otherwise the response has been completed as any other.
func (r *Response) EndHandshake() (accepted bool) {
	r.live()
	r.handshake, r.state, r.explicit = false, None, false
	accepted = r.status == http.StatusSwitchingProtocols
	if accepted && len(r.body) > 0 {
		r.refuse(ErrHandshakeBody)
	}
	if accepted && r.fault == nil && r.checkHeader() == nil {
		return true
	}
	r.End()
	return false
}

// Detach is Hijack for package ws, without its costs: conn is a *net.TCPConn or
// *net.UnixConn from which nothing was read behind the handshake, and release
// is to be called once when it is over. It works on connections of a [Server]
// that are not encrypted; when it reports false nothing has changed, and Hijack
// may work.
func (r *Response) Detach() (conn net.Conn, release func(), ok bool) {
	r.live()
	request := r.exchange.request.Request
	c, ok := request.Context().Value(connectionKey{}).(*connection)
	if _, hijacker := r.writer.(http.Hijacker); !ok || !hijacker || r.state >= Streaming || request.TLS != nil {
		return nil, nil, false
	}
	if conn, release, ok = c.take(); ok {
		r.state = Ended
	}
	return conn, release, ok
}
