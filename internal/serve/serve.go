// Package serve is a server at work: it takes connections from the addresses that
// it listens on, no more than there may be, has them served by the protocol that
// they speak, and ends all that gracefully. What answers is a handler.
package serve

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/http1"
	"aerys/internal/listen"
	"aerys/internal/loop"
	"aerys/internal/page"
)

// Limits are what clients may take of a server. All but the first three are set.
type Limits struct {
	Connections int // at once; by default as many as there may be files for
	PerIP       int // of these from one network; 0 is no bound
	Requests    int // on a connection; negative is no bound
	Streams     int // requests at once on a connection of HTTP/2
	Tunnels     int // of these, extended CONNECTs
	HeaderBytes int
	Header      time.Duration // for a header
	Idle        time.Duration // without a request
	Progress    time.Duration // without any progress of a body, or of an answer
}

// sweepPeriod is how often connections are looked at: whether one moves shows
// only after that.
const sweepPeriod = time.Second

// Server is what all addresses share.
type Server struct {
	*Connections
	Loop     *loop.Loop
	Stopping atomic.Bool   // it is about to end
	Ending   chan struct{} // closed when every response is its connection's last
	Patience time.Duration // with a process that is to take over
	Refusals Refusals

	log        *slog.Logger
	limits     *Limits
	listeners  []*Listener
	handedOver atomic.Bool // the listeners are another process's, too
	setID      bool        // somebody else than the process's user started it
}

// New returns a server that listens nowhere yet.
func New(limits *Limits, log *slog.Logger) *Server {
	return &Server{Connections: limited(limits.Connections, limits.PerIP, log), Loop: loop.New(log), Ending: make(chan struct{}),
		Patience: handOverTimeout, log: log, limits: limits, setID: listen.IsSetID()}
}

// Listener is an address at which a server serves.
type Listener struct {
	listen.Socket
	server    *Server
	encrypted *tls.Config   // nil is plain
	http1     *http1.Server // on the server's loop
	http2     *http.Server  // as net/http has it
	queue     *queue        // of connections for that
	accepting *loop.Listener
}

// Listener returns what will listen on an address, and have requests answered by
// a handler. Where it is encrypted, rules are those for a client.
func (s *Server) Listener(a listen.Address, handler http.Handler, encrypted bool, rules func(*tls.ClientHelloInfo) (*tls.Config, error)) *Listener {
	l := &Listener{Socket: listen.Socket{Address: a}, server: s}
	if encrypted {
		l.encrypted = &tls.Config{GetConfigForClient: rules}
	}
	log := slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)
	l.queue = newQueue(&l.Socket, s)
	l.http2 = newHTTP2Server(handler, l.queue, s.limits)
	l.http2.ErrorLog = log
	l.http1 = &http1.Server{
		Handler:        handler,
		ContextValue:   l.http2, // handlers look for an *http.Server
		HTTP2:          l.queue.add,
		ErrorPage:      s.refusalPage,
		ErrorLog:       log,
		MaxHeaderBytes: s.limits.HeaderBytes,
		MaxRequests:    s.limits.Requests,
		HeaderTimeout:  s.limits.Header,
		IdleTimeout:    s.limits.Idle,
		BodyTimeout:    s.limits.Progress + sweepPeriod,
		WriteTimeout:   s.limits.Progress + sweepPeriod,
	}
	s.listeners = append(s.listeners, l)
	return l
}

// refusalPage is what a request gets that no handler has seen: the page that
// hosts send, and why.
func (s *Server) refusalPage(e *http1.Error) (contentType, body string) {
	s.Refusals.Add(e.Status)
	text := page.Sentence(e.Status)
	if e.Reason != "" {
		text = strings.TrimSuffix(text, ".") + ": " + e.Reason + "."
	}
	return (&page.Error{Status: e.Status, Text: text}).Render(nil)
}

// accept begins to accept connections.
func (l *Listener) accept() (err error) {
	go l.http2.Serve(l.queue)
	l.accepting, err = l.server.Loop.Listen(l.Bound, l.encrypted, l.admit)
	return err
}

// Accept begins to accept connections at all addresses.
func (s *Server) Accept() error {
	for _, l := range s.listeners {
		if err := l.accept(); err != nil {
			return fmt.Errorf("aerys: listening on %v: %w", l.Address, err)
		}
	}
	return nil
}

// Bound returns the listeners on all addresses.
func (s *Server) Bound() (bound []net.Listener) {
	for _, l := range s.listeners {
		bound = append(bound, l.Bound)
	}
	return bound
}

// Files returns the paths of the Unix sockets that this process has made.
func (s *Server) Files() (paths []string) {
	for _, l := range s.listeners {
		if path := l.File(); path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// admit has a connection that was accepted served, if there is room for it.
func (l *Listener) admit(c *loop.Conn) loop.Owner {
	if counted := l.server.enter(c); counted != nil {
		return l.http1.Admit(c, counted)
	}
	return nil
}

// Close stops listening, and removes the files of Unix sockets unless another
// process has the sockets, too.
func (s *Server) Close() {
	for _, l := range s.listeners {
		switch {
		case l.Bound == nil:
			continue
		case !s.handedOver.Load():
			l.Remove()
		}
		if l.accepting != nil {
			l.accepting.Close()
		} else {
			l.Bound.Close()
		}
	}
}

// EndAfterResponse lets every connection end with its next response.
func (s *Server) EndAfterResponse() {
	s.Stopping.Store(true)
	close(s.Ending)
	for _, l := range s.listeners {
		l.http1.EndAfterResponse()
	}
}

// silence is how long a stop waits for the first request of connections that
// were accepted just before it. To drop them would lose requests, and a browser that
// opened one in advance never sends anything.
const silence = 500 * time.Millisecond

// Drain waits until every accepted connection had its first request and none is
// under way. After a hand-over, where nobody waits for the end, it lets idle
// clients come once more, to be told that the connection closes.
func (s *Server) Drain(deadline time.Time, underWay func() int64) {
	quiet := time.Now().Add(silence)
	for now := time.Now(); now.Before(deadline); now = time.Now() {
		expected := http1.Fresh(s.Loop) > 0 || s.handedOver.Load() && s.Open.Load() > 0
		if underWay() == 0 && (!expected || now.After(quiet)) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// isEnding reports whether Ending is closed.
func (s *Server) isEnding() bool {
	select {
	case <-s.Ending:
		return true
	default:
		return false
	}
}

// closePeriod is how long connections that are cut off may take to notice.
const closePeriod = time.Second

// ShutDown closes the idle connections, and at the deadline the others. It returns
// how many requests were under way then.
func (s *Server) ShutDown(deadline time.Time, underWay func() int64) (lost int64) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	http1.EndIdle(s.Loop)
	var servers sync.WaitGroup
	for _, l := range s.listeners {
		servers.Add(1)
		go func() {
			defer servers.Done()
			l.http2.Shutdown(ctx)
		}()
	}
	servers.Wait()
	for quiet := time.Now().Add(silence); s.Loop.Len() > 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		http1.EndIdle(s.Loop)
		if time.Now().After(quiet) {
			http1.EndAnswered(s.Loop)
		}
	}
	lost = underWay()
	for _, l := range s.listeners {
		l.http2.Close()
		l.queue.Close()
	}
	s.Loop.Close(closePeriod)
	return lost
}
