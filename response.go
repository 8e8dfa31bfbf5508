package aerys

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
)

// State is how far a Response has come.
type State int

const (
	None      State = iota // not started; status and header may be set
	Started                // started, and held back
	Streaming              // the header is sent, and perhaps some of the body
	Ended                  // complete, or the connection was taken over
)

// ErrEnded is what writing to a complete Response fails with.
var ErrEnded = errors.New("aerys: the response has ended: write before End and before the handler returns")

// Response is the answer to a Request, and an [http.ResponseWriter]. Write,
// WriteString, WriteHeader, ReadFrom, Flush and End start it, which keeps the
// actions that follow from running; SetStatus and SetHeader alone do not.
//
// Nothing reaches the wire until End, Flush, or more than
// Options.OutputBufferSize bytes were written: until then status and header
// may change. What the actions left open is ended after the last of them.
//
// Methods that return no error record the first one; [Response.Err] tells it.
// A Response belongs to the goroutine that serves the request, and must not be
// used after its handler returned. [http.NewResponseController] works on it.
type Response struct {
	exchange  *exchange
	writer    http.ResponseWriter // nil once the request is over, in debug mode
	defaults  defaults
	state     State
	status    int // 0 until it is set
	handshake bool
	explicit  bool   // WriteHeader was called
	trailers  bool   // the header that was checked announces trailers
	body      []byte // held back
	filters   []func(io.Writer) io.WriteCloser
	stages    []io.WriteCloser // the running filters, in order
	sink      io.Writer        // takes the body once the header was sent
	fault     error            // why this cannot be sent, but has to be a 500
	err       error            // what Err returns
}

// reset prepares a response, new or released, for another request.
func (r *Response) reset(x *exchange, w http.ResponseWriter) {
	if r.defaults.options != x.request.options {
		r.defaults = newDefaults(x.request.options)
	}
	r.exchange, r.writer, r.state, r.status = x, w, None, 0
	r.handshake, r.explicit, r.trailers = false, false, false
	r.body, r.err = r.body[:0], nil
}

// release lets go of all that belongs to the request.
func (r *Response) release(debug bool) {
	r.writer, r.state = gone{}, Ended
	r.filters, r.stages, r.sink, r.fault = nil, nil, nil, nil
	if debug {
		r.writer = nil
	}
}

// gone is the writer of a response whose request is over.
type gone struct{}

func (gone) Header() http.Header       { return http.Header{} }
func (gone) WriteHeader(int)           {}
func (gone) Write([]byte) (int, error) { return 0, ErrEnded }

func (r *Response) live() {
	if r.writer == nil {
		panic(misuse)
	}
}

func (r *Response) options() *Options { return r.defaults.options }

// State reports how far the response has come.
func (r *Response) State() State {
	r.live()
	return r.state
}

// Status returns the status as it stands: 200 unless another was set. It is
// final once the response has ended.
func (r *Response) Status() int {
	r.live()
	return or(r.status, http.StatusOK)
}

// Err returns the first error of all calls so far: of the client's connection,
// ErrInvalidHeader, ErrHandshakeBody, ErrEnded or [http.ErrBodyNotAllowed].
func (r *Response) Err() error {
	r.live()
	return r.err
}

// note records err as the one that Err returns, if it is the first.
func (r *Response) note(err error) error {
	if r.err == nil {
		r.err = err
	}
	return err
}

// refuse makes the response a 500, unless it is too late for that.
func (r *Response) refuse(err error) error {
	if r.fault == nil && r.state < Streaming {
		r.fault = err
	}
	return r.note(err)
}

// SetStatus sets the status, without starting the response. Any but 100–599
// panics, and during a WebSocket handshake any but 101 and 300–599. Once the
// header was sent it is too late: that is logged, and the status stays.
//
// Statuses below 200 are for [Response.WriteHeader], which sends them at once.
func (r *Response) SetStatus(status int) *Response {
	r.live()
	if status < 100 || status > 599 {
		panic(fmt.Sprintf("aerys: SetStatus(%d): a status is from 100 to 599", status))
	}
	r.setStatus(status)
	return r
}

func (r *Response) setStatus(status int) {
	if r.handshake && status != http.StatusSwitchingProtocols && status < 300 {
		panic(fmt.Sprintf("aerys: status %d in OnHandshake: leave it at 101 to accept, "+
			"or set one from 300 on to decline", status))
	}
	if r.state >= Streaming && !r.handshake {
		r.superfluous(status)
		return
	}
	r.status = status
}

func (r *Response) superfluous(status int) {
	r.log(slog.LevelWarn, "aerys: status set too late", "status", status, "sent", r.Status())
}

// log writes a line about this response, unless it is over.
func (r *Response) log(level slog.Level, message string, pairs ...any) {
	if request := r.exchange.request.Request; request != nil {
		pairs = append(pairs, "method", request.Method, "path", request.URL.Path)
		r.options().Logger.Log(request.Context(), level, message, pairs...)
	}
}

// WriteHeader sets the status and starts the response, for the sake of
// [http.ResponseWriter]: as there, the first call and the first Write decide,
// and those that follow are logged; SetStatus may still change it. The
// informational 100 to 199, save 101, are sent at once with the header as it
// stands (103 Early Hints, RFC 8297), and start nothing.
func (r *Response) WriteHeader(status int) {
	r.live()
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("aerys: WriteHeader(%d): a status has three digits", status))
	case status < 200 && status != http.StatusSwitchingProtocols && !r.handshake:
		r.inform(status)
	case r.explicit || r.state == Streaming || r.state == Ended && !r.handshake:
		r.superfluous(status)
	default:
		r.setStatus(status)
		r.explicit, r.state = true, max(r.state, Started)
	}
}

// inform sends an interim response.
func (r *Response) inform(status int) {
	if r.state < Streaming && r.checkHeader() == nil {
		r.writer.WriteHeader(status)
	}
}

// Header returns the header for reading and changing. What is put there is
// checked when it is sent, as SetHeader checks it.
func (r *Response) Header() http.Header {
	r.live()
	return r.writer.Header()
}

// Unwrap returns the writer of net/http, for [http.ResponseController].
func (r *Response) Unwrap() http.ResponseWriter {
	r.live()
	return r.writer
}

// Hijack takes the connection over, as [http.Hijacker]; the response is then
// Ended. HTTP/2 does not offer it: [http.ErrNotSupported].
func (r *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.live()
	if r.state >= Streaming {
		return nil, nil, ErrEnded
	}
	conn, buffered, err := http.NewResponseController(r.writer).Hijack()
	if err == nil {
		r.state = Ended
	}
	return conn, buffered, err
}

// standardWriter is a Response as net/http's handlers know it: its Flush has the
// signature of http.Flusher's.
type standardWriter struct{ *Response }

func (w standardWriter) Flush() { w.Response.Flush() }

// Unwrap returns the Response, past which no one is to write.
func (w standardWriter) Unwrap() http.ResponseWriter { return w.Response }
