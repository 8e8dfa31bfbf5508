package aerys

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"

	"aerys/internal/field"
	"aerys/internal/http1"
	"aerys/internal/outlet"
)

// State is how far a Response has come.
type State uint8

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
// may change, and Reset takes all back. What the actions left open is ended after
// the last of them.
//
// A body without a Content-Type is Options.DefaultContentType, and is sent with
// X-Content-Type-Options: nosniff; that of a handler of net/http is what
// [http.DetectContentType] says, as net/http documents.
//
// Methods that return no error record the first one; [Response.Err] tells it.
// [http.NewResponseController] works on a Response.
//
// A Response belongs to the goroutine that serves the request. Once its handler
// has returned it is over for ever: calls of a goroutine that kept it fail with
// ErrEnded, or do nothing.
type Response struct {
	exchange *exchange
	out      outlet.Outlet

	// mu guards all below, and is not held while filters, loggers and readers run:
	// they may call the methods.
	mu        sync.Mutex
	over      bool  // the handler has returned
	standard  bool  // a handler of net/http runs
	foreign   bool  // and has started the response
	coded     bool  // a middleware has set Content-Encoding
	kept      uint8 // how many of the filters are not of the action that runs
	failed    bool  // Host.Errors was asked
	asking    bool  // and has not returned
	cut       bool  // the connection is to be aborted
	handshake bool
	explicit  bool  // WriteHeader was called
	streamed  bool  // the header was sent before the body was complete
	trailers  bool  // the header that was checked announces trailers
	used      uint8 // how many of first are
	state     State
	request   *Request // as a middleware of net/http has changed it, or nil
	status    int      // 0 until it is set
	written   int64    // bytes of the body
	body      []byte   // held back
	filters   []func(io.Writer) io.WriteCloser
	stages    []io.WriteCloser // the running filters, in order
	sink      io.Writer        // takes the body once the header was sent
	first     [3]string        // values of the header
	fault     error            // why this cannot be sent, but has to be a 500
	err       error            // what Err returns
}

// enter begins a call that leave ends. It reports false when the response is over.
func (r *Response) enter() bool {
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return false
	}
	return true
}

func (r *Response) leave() { r.mu.Unlock() }

// outside runs what may call the methods of the response.
func (r *Response) outside(call func()) {
	r.mu.Unlock()
	defer r.mu.Lock()
	r.out.Gather(call)
}

func (r *Response) options() *Options { return r.exchange.request.options }

// State reports how far the response has come.
func (r *Response) State() State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// Status returns the status as it stands: 200 unless another was set, 500 where
// the header cannot be sent. For a middleware it is final when the next handler has
// returned, unless it changes it itself.
func (r *Response) Status() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.fault != nil && r.state < Streaming:
		return http.StatusInternalServerError
	case r.status == 0 && r.exchange.request.input.refused():
		return http.StatusRequestEntityTooLarge
	}
	return cmp.Or(r.status, http.StatusOK)
}

// Written returns how many bytes of the body were written so far, before
// compression, and also where HEAD or the status keeps them from being sent.
func (r *Response) Written() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.written
}

// Reset takes back what was written and the status, as long as nothing of the
// response was sent, and with them the header fields that describe a body, such as
// Content-Type and ETag. Others stay, such as cookies and what CORS wants; so do
// the filters of middleware. State is None again; once something was sent it stays what it is.
func (r *Response) Reset() *Response {
	if r.enter() {
		defer r.leave()
		if r.state < Streaming || r.handshake {
			r.takeBack()
			r.failed = r.asking
		}
	}
	return r
}

func (r *Response) takeBack() {
	if r.sink != nil { // a filter has failed
		r.coded = r.coded && r.kept == 0
		r.kept = 0
	}
	dropRepresentation(r.out.Fields, r.coded)
	r.out.Hold(nil)
	r.filters = r.filters[:min(int(r.kept), len(r.filters))]
	r.body, r.stages, r.sink, r.fault = nil, nil, nil, nil
	r.state, r.status, r.explicit, r.written = None, 0, false, 0
	if r.handshake {
		r.status = http.StatusSwitchingProtocols
	}
}

// Err returns the first error of all calls so far: of the client's connection,
// ErrInvalidHeader, ErrHandshakeBody, ErrEnded or [http.ErrBodyNotAllowed].
func (r *Response) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// note records err as the one that Err returns, if it is the first. That
// something optional is not to be had is no error of the response.
func (r *Response) note(err error) error {
	if r.err == nil && !errors.Is(err, errors.ErrUnsupported) {
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

// SetStatus sets the status, without starting the response. One of 300 or more
// ends the list of actions all the same: alone it is sent without a body below 400,
// and from there on answered by [Host.Errors]. Any but 100–599
// panics, and during a WebSocket handshake any but 101 and 300–599. Once the
// header was sent it is too late: that is logged, and the status stays.
//
// Statuses below 200 are for [Response.WriteHeader], which sends them at once.
func (r *Response) SetStatus(status int) *Response {
	if status < 100 || status > 599 {
		panic(fmt.Sprintf("aerys: SetStatus(%d): a status is from 100 to 599", status))
	}
	if r.enter() {
		defer r.leave()
		r.setStatus(status)
	}
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
	r.log(slog.LevelWarn, "aerys: status set too late", "status", status, "sent", cmp.Or(r.status, http.StatusOK))
}

// log writes a line about this response.
func (r *Response) log(level slog.Level, message string, pairs ...any) {
	r.outside(func() { r.exchange.request.log(level, message, pairs...) })
}

// WriteHeader sets the status and starts the response, for the sake of
// [http.ResponseWriter]: as there, the first call and the first Write decide,
// and those that follow are logged; SetStatus may still change it. The
// informational 100 to 199, save 101, are sent at once with the header as it
// stands (103 Early Hints, RFC 8297), and start nothing.
func (r *Response) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("aerys: WriteHeader(%d): a status has three digits", status))
	}
	if !r.enter() {
		return
	}
	defer r.leave()
	switch {
	case status < 200 && status != http.StatusSwitchingProtocols && !r.handshake:
		r.inform(status)
	case r.explicit || r.state == Streaming || r.state == Ended && !r.handshake:
		r.superfluous(status)
	default:
		r.setStatus(status)
		r.begun()
		r.explicit = true
	}
}

// inform sends an interim response.
func (r *Response) inform(status int) {
	if r.state < Streaming && r.checkHeader() == nil {
		r.out.WriteHeader(status)
	}
}

// Header returns the header for reading and changing. What is put there is
// checked when it is sent, as SetHeader checks it.
func (r *Response) Header() http.Header { return r.out.Header() }

// Unwrap returns what the response is written to, for [http.ResponseController].
func (r *Response) Unwrap() http.ResponseWriter { return &r.out }

// Hijack takes the connection over, as [http.Hijacker]; the response is then
// Ended, with status 101 unless another was set. HTTP/2 does not offer it: [http.ErrNotSupported].
func (r *Response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !r.enter() {
		return nil, nil, ErrEnded
	}
	defer r.leave()
	if r.state >= Streaming {
		return nil, nil, ErrEnded
	}
	conn, buffered, err := r.out.Hijack()
	if err == nil {
		r.state, r.status = Ended, cmp.Or(r.status, http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// ErrInvalidHeader is in the chain of the error about a header field whose name
// is not a token or whose value has CR, LF, NUL or another control character
// (RFC 9110 §5.1, §5.5). The field is refused, not cleaned: the response
// becomes a 500, and the log names the field.
var ErrInvalidHeader = errors.New("aerys: invalid header field")

// SetHeader sets a header field, replacing all of that name.
func (r *Response) SetHeader(name, value string) *Response {
	if r.enter() {
		defer r.leave()
		if r.checkField(name, value) == nil {
			r.out.Fields[http.CanonicalHeaderKey(name)] = r.values(value)
		}
	}
	return r
}

// AddHeader adds a header field to those of that name.
func (r *Response) AddHeader(name, value string) *Response {
	if r.enter() {
		defer r.leave()
		r.addHeader(name, value)
	}
	return r
}

func (r *Response) addHeader(name, value string) {
	if r.checkField(name, value) == nil {
		r.out.Fields.Add(name, value)
	}
}

// SetCookie adds a Set-Cookie field. An invalid cookie (see
// [http.Cookie.Valid]) is refused as an invalid header field is.
func (r *Response) SetCookie(cookie *http.Cookie) *Response {
	if !r.enter() {
		return r
	}
	defer r.leave()
	if err := cookie.Valid(); err != nil {
		r.refuse(fmt.Errorf("%w: Set-Cookie: %v", ErrInvalidHeader, err))
	} else {
		r.addHeader("Set-Cookie", cookie.String())
	}
	return r
}

// Push tells the client that it will need url: by a Link header with
// rel=preload and, where the client takes HTTP/2 pushes, by one with header as
// the promised request's (RFC 9113 §8.4). Before the response is started.
func (r *Response) Push(url string, header http.Header) *Response {
	if !r.enter() {
		return r
	}
	defer r.leave()
	if strings.ContainsAny(url, "<> \t") {
		r.refuse(fmt.Errorf("%w: Link: a URL with %q", ErrInvalidHeader, url))
		return r
	}
	r.addHeader("Link", "<"+url+">; rel=preload")
	if r.fault == nil && !r.handshake {
		r.out.Push(url, &http.PushOptions{Header: header}) // a hint: clients decline it
	}
	return r
}

// checkField refuses a field that must not be sent.
func (r *Response) checkField(name, value string) error {
	if !field.IsToken(name) {
		return r.refuse(fmt.Errorf("%w: the name %q", ErrInvalidHeader, name))
	}
	if !field.ValidValue(value) {
		return r.refuse(fmt.Errorf("%w: %s: %q", ErrInvalidHeader, name, value))
	}
	return nil
}

// checkHeader checks what may have been put into the header directly, and notes
// whether trailers follow the body, which then has to go out without a
// Content-Length.
func (r *Response) checkHeader() error {
	r.trailers = false
	for name, values := range r.out.Fields {
		trailer, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		r.trailers = r.trailers || prefixed || name == "Trailer"
		for _, value := range values {
			if err := r.checkField(trailer, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// addContentType completes the header of a response with a body. A nil
// Content-Type says that there is to be none, as in net/http.
func (r *Response) addContentType(header http.Header) {
	set, ok := header["Content-Type"]
	switch {
	case !ok && r.foreign:
	case !ok:
		header["Content-Type"] = r.values(r.options().contentType)
		if header["X-Content-Type-Options"] == nil {
			header["X-Content-Type-Options"] = r.values("nosniff")
		}
	case len(set) == 1:
		if typed := field.WithCharset(set[0], r.options().DefaultTextCharset); typed != set[0] {
			header["Content-Type"] = r.values(typed)
		}
	}
}

// values returns the values of a header field, which handlers may change. The
// first ones of a response take no memory of their own.
func (r *Response) values(value string) []string {
	i := int(r.used)
	if i == len(r.first) {
		return []string{value}
	}
	r.used++
	r.first[i] = value
	return r.first[i : i+1 : i+1]
}

// writeHeader sends status and header. Declared trailers that are set already
// are kept from it, for net/http would send them twice.
func (r *Response) writeHeader() {
	header := r.out.Fields
	var trailers http.Header
	if r.trailers {
		trailers = announced(header)
		for name := range trailers {
			delete(header, name)
		}
	}
	r.out.WriteHeader(r.status)
	maps.Copy(header, trailers)
}

// announced returns the fields of a header that it says are trailers.
func announced(header http.Header) http.Header {
	trailers := make(http.Header)
	for name := range field.Elements(header["Trailer"]) {
		name = http.CanonicalHeaderKey(name)
		if values, ok := header[name]; ok {
			trailers[name] = values
		}
	}
	return trailers
}

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
	alone := r.state == None
	r.handshake, r.state, r.explicit = false, None, false
	accepted = r.status == http.StatusSwitchingProtocols
	if accepted && len(r.body) > 0 {
		r.refuse(ErrHandshakeBody)
	}
	if accepted && r.fault == nil && r.checkHeader() == nil {
		return true
	}
	if status := r.status; alone && status >= 400 && r.fault == nil {
		r.outside(func() { r.fail(&Error{Status: status}) })
	}
	r.end("")
	return false
}

// Detach is Hijack for package ws. A connection of a Server stays one, and with
// its loop. An extended CONNECT is accepted by it, with the fields of Header.
func (r *Response) Detach() (d http1.Detached, err error) {
	if !r.enter() {
		return d, ErrEnded
	}
	defer r.leave()
	if r.state >= Streaming {
		return d, ErrEnded
	}
	if d, err = r.out.Detach(); err == nil {
		r.state = Ended
	}
	if d.Stay != nil {
		r.status = http.StatusOK
	}
	return d, err
}
