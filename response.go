package aerys

import (
	"bufio"
	"net"
	"net/http"
)

// State is how far a Response has come.
type State int

const (
	None      State = iota // nothing was written
	Started                // there is a body, held back
	Streaming              // header and some of the body are on the wire
	Ended                  // complete
)

// Response is the answer to a Request: an http.ResponseWriter that holds
// everything back until status is decided.
type Response struct {
	exchange *exchange // which r is the half of
	writer   http.ResponseWriter
	options  *Options
	status   int
	state    State
	body     []byte
}

func (r *Response) reset(w http.ResponseWriter, request *http.Request, options *Options) {
	r.writer, r.options = w, options
}

// State reports how far the response has come.
func (r *Response) State() State { return r.state }

// Status returns the status as it stands.
func (r *Response) Status() int { return r.status }

// SetStatus sets the status.
func (r *Response) SetStatus(status int) *Response { r.status = status; return r }

// SetHeader sets a header field.
func (r *Response) SetHeader(name, value string) *Response { r.Header().Set(name, value); return r }

// Header returns the header.
func (r *Response) Header() http.Header { return r.writer.Header() }

// WriteHeader implements http.ResponseWriter.
func (r *Response) WriteHeader(status int) { r.status = status; r.state = Started }

// Write writes to the body.
func (r *Response) Write(p []byte) (int, error) {
	r.state = Started
	r.body = append(r.body, p...)
	return len(p), nil
}

// End completes the response.
func (r *Response) End(body ...string) error {
	for _, s := range body {
		r.body = append(r.body, s...)
	}
	r.state = Ended
	if r.status != 0 {
		r.writer.WriteHeader(r.status)
	}
	_, err := r.writer.Write(r.body)
	return err
}

// BeginHandshake turns r into the response to a WebSocket handshake: the status starts at 101.
func (r *Response) BeginHandshake() { r.status = http.StatusSwitchingProtocols }

// Hijack takes the connection over.
func (r *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(r.writer).Hijack()
}
