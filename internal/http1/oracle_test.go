package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/internal/loop"
)

// The oracle is net/http's server. It and ours are given the same bytes on
// connections in memory, and a handler that does what the request's target
// tells it to. What the handler saw, and what left, must be the same but for
// the differences listed in doc.go.

// A scripted connection gives its pieces, and then the end.
type scripted struct {
	pieces [][]byte
	log    *trace

	mu     sync.Mutex
	out    bytes.Buffer
	closed chan struct{} // nothing is sent any more
	once   sync.Once
}

func newScripted(pieces [][]byte) *scripted {
	return &scripted{pieces: slices.Clone(pieces), log: new(trace), closed: make(chan struct{})}
}

func (s *scripted) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *scripted) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *scripted) CloseWrite() error { return s.Close() }

func (s *scripted) LimitUnsent() {}

func (s *scripted) LocalAddr() net.Addr              { return s.log }
func (s *scripted) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (s *scripted) SetDeadline(time.Time) error      { return nil }
func (s *scripted) SetReadDeadline(time.Time) error  { return nil }
func (s *scripted) SetWriteDeadline(time.Time) error { return nil }

// trace is what a handler saw, and travels as the connection's local address.
type trace struct {
	mu    sync.Mutex
	lines []string
	// methods of the requests that were handled
	methods []string
	running sync.WaitGroup // a handler goes on when it has hijacked
}

func (t *trace) Network() string { return "trace" }
func (t *trace) String() string  { return "trace" }

func (t *trace) add(format string, values ...any) {
	t.mu.Lock()
	t.lines = append(t.lines, fmt.Sprintf(format, values...))
	t.mu.Unlock()
}

// trailerMark marks an error that net/http may not see.
const trailerMark = " of trailers"

// broken reports whether the last thing was an error.
func (t *trace) broken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := t.lines[len(t.lines)-1]
	return strings.HasSuffix(last, " error") || strings.HasSuffix(last, trailerMark)
}

// class is what matters of an error.
func class(err error) string {
	switch {
	case err == nil:
		return "nil"
	case err == errTrailers:
		return "error" + trailerMark
	case err == io.EOF, err == http.ErrBodyReadAfterClose, err == http.ErrContentLength, err == http.ErrBodyNotAllowed, err == http.ErrHijacked:
		return err.Error()
	}
	return "error"
}

func sorted(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// feed is a listener for net/http's server.
type feed struct{ conns chan net.Conn }

func (f *feed) Accept() (net.Conn, error) {
	if c, ok := <-f.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (f *feed) Close() error   { return nil }
func (f *feed) Addr() net.Addr { return &net.TCPAddr{} }

// oracle is both servers.
type oracle struct {
	conns  chan net.Conn
	theirs *http.Server
	ours   *Server
}

func newOracle() *oracle {
	silent := log.New(io.Discard, "", 0)
	o := &oracle{
		conns:  make(chan net.Conn),
		theirs: &http.Server{Handler: http.HandlerFunc(obey), DisableGeneralOptionsHandler: true, ErrorLog: silent},
		ours:   &Server{Handler: http.HandlerFunc(obey), ErrorLog: silent},
	}
	go o.theirs.Serve(&feed{o.conns})
	return o
}

func (o *oracle) close() { close(o.conns) }

// both serves the same pieces with both, and says how each went.
func (o *oracle) both(pieces [][]byte) (theirs, ours account) {
	a, b := newScripted(pieces), newScripted(pieces)
	o.conns <- a
	o.serve(&direct{b})
	<-a.closed
	return accountOf(a), accountOf(b)
}

// serve serves a connection with ours to its end.
func (o *oracle) serve(t interface {
	Transport
	Close() error
}) {
	c, why := o.ours.NewConn(t), loop.ErrAgain
	for why == loop.ErrAgain {
		why = c.Turn()
	}
	if why == io.EOF {
		t.Close()
	}
}

// account is one server's side of an execution.
type account struct {
	handled []string // what the handlers saw, a request each
	answers []string
	rest    string // what left and is no response
	err     string // why
	reason  string // of the refusal that came last
}

var dates = regexp.MustCompile("Date: [^t\r]*")

// refused is what the answer to a request says that no handler saw.
type refused string

func (r refused) Error() string { return string(r) }

func refusal(r *http.Response) bool { return r.StatusCode >= 400 && r.Header.Get("Date") == "" }

func accountOf(s *scripted) (a account) {
	s.log.running.Wait()
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.log.lines {
		if strings.HasPrefix(line, "request ") {
			a.handled = append(a.handled, "")
		}
		a.handled[len(a.handled)-1] += line + "\n"
	}
	methods := s.log.methods
	out := bytes.ReplaceAll(s.out.Bytes(), []byte("Transfer-Encoding: gzip\r\n"), []byte("Coding: gzip\r\n")) // which no client reads
	r := bufio.NewReader(bytes.NewReader(out))
	for {
		if _, err := r.Peek(1); err != nil {
			return a
		}
		method := http.MethodGet
		if len(methods) > 0 {
			method = methods[0]
		}
		answer, interim, err := readAnswer(r, method)
		var reason refused
		if errors.As(err, &reason) {
			a.answers, a.reason = append(a.answers, answer), string(reason)
			return a
		}
		if err != nil {
			rest, _ := io.ReadAll(r)
			rest = dates.ReplaceAll(rest, []byte("Date: now"))
			a.err, a.rest = err.Error(), answer+string(rest)
			return a
		}
		if interim && strings.HasPrefix(answer, "HTTP/1.0") {
			continue // not known to HTTP/1.0, and not sent by ours
		}
		if !interim && len(methods) > 0 {
			methods = methods[1:]
		}
		a.answers = append(a.answers, answer)
	}
}

// readAnswer reads a response and writes down what matters of it.
func readAnswer(r *bufio.Reader, method string) (answer string, interim bool, err error) {
	response, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return "", false, err
	}
	if refusal(response) {
		b, err := io.ReadAll(response.Body)
		return fmt.Sprintf("refused with %d\n", response.StatusCode), false, errors.Join(err, refused(b))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s length=%d coding=%v close=%v\n", response.Proto, response.Status, response.ContentLength, response.TransferEncoding, response.Close)
	for _, name := range sorted(response.Header) {
		if name == "Date" && response.Header.Get(name) != "today" {
			fmt.Fprintf(&b, "  Date: now\n")
			continue
		}
		fmt.Fprintf(&b, "  %s: %q\n", name, response.Header[name])
	}
	interim = response.StatusCode < 200 && response.StatusCode != 101
	if !interim {
		body, err := io.ReadAll(response.Body)
		fmt.Fprintf(&b, "  body %q %s\n", body, class(err))
		for _, name := range sorted(response.Trailer) {
			fmt.Fprintf(&b, "  trailer %s: %q\n", name, response.Trailer[name])
		}
		if err != nil {
			return b.String(), false, err
		}
	}
	return b.String(), interim, nil
}

// difference is the first one between two accounts, or "".
func difference(theirs, ours account) string {
	for i := range max(len(theirs.handled), len(ours.handled)) {
		if a, b := at(theirs.handled, i), strings.ReplaceAll(at(ours.handled, i), trailerMark, ""); a != b {
			return fmt.Sprintf("request %d\nnet/http:\n%s\nhttp1:\n%s", i, a, b)
		}
	}
	for i := range max(len(theirs.answers), len(ours.answers)) {
		if a, b := at(theirs.answers, i), at(ours.answers, i); a != b {
			return fmt.Sprintf("answer %d\nnet/http:\n%s\nhttp1:\n%s", i, a, b)
		}
	}
	if theirs.rest != ours.rest || theirs.err != ours.err {
		return fmt.Sprintf("rest\nnet/http: %s %q\nhttp1: %s %q", theirs.err, theirs.rest, ours.err, ours.rest)
	}
	return ""
}

func at(list []string, i int) string {
	if i >= 0 && i < len(list) {
		return list[i]
	}
	return "nothing\n"
}

func TestOracleAgrees(t *testing.T) {
	o := newOracle()
	defer o.close()
	for _, seed := range seeds {
		theirs, ours := o.both([][]byte{[]byte(seed + probe)})
		if d := difference(theirs, ours); d != "" && excuse([]byte(seed+probe), theirs, ours) == "" {
			t.Errorf("%q\n%s", seed, d)
		}
	}
}
