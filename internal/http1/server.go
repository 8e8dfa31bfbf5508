package http1

import (
	"cmp"
	"context"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Server is what all connections share. Its fields are set before it serves.
// Limits that are zero have a default, negative ones do not apply.
type Server struct {
	// Handler gets all requests, OPTIONS * among them.
	Handler http.Handler

	// Context is the parent of all requests' contexts.
	Context context.Context

	// ContextValue is what http.ServerContextKey stands for in a request's
	// context, where handlers expect an *http.Server.
	ContextValue any

	// HTTP2 gets connections that begin with the preface of HTTP/2, which it
	// reads again, and those that have negotiated it, as *tls.Conn. Without it
	// they are refused.
	HTTP2 func(net.Conn, Counted)

	// ErrorPage is the body of the answer to a request that is refused before
	// Handler could see it. Without it the status is repeated, as by net/http.
	ErrorPage func(*Error) (contentType, body string)

	// ErrorLog gets panics of handlers, and what they do wrong; log's standard
	// logger if it is nil.
	ErrorLog *log.Logger

	MaxHeaderBytes int // of a head; 1 MiB
	MaxFields      int // 1,000
	MaxRequests    int // of a connection; the last response says so; unlimited

	HeaderTimeout time.Duration // for a whole head; 10 s
	IdleTimeout   time.Duration // for the next request; 75 s
	BodyTimeout   time.Duration // without a byte of the body that is waited for; 30 s
	BodyRate      int           // bytes a second of the body that are waited for, from BodyTimeout on; 240
	WriteTimeout  time.Duration // for 64 KiB of a response; 30 s

	limits  limits
	closing atomic.Bool
	dated   atomic.Pointer[dateField]
	once    sync.Once
}

const (
	defaultMaxFields     = 1000
	defaultHeaderTimeout = 10 * time.Second
	defaultIdleTimeout   = 75 * time.Second
	defaultBodyTimeout   = 30 * time.Second
	defaultBodyRate      = 240
	defaultWriteTimeout  = 30 * time.Second
	lingerTimeout        = 2 * time.Second
)

func (s *Server) prepare() {
	s.once.Do(func() {
		if s.Handler == nil {
			panic("http1: a Server needs a Handler")
		}
		s.Context = cmp.Or(s.Context, context.Background())
		s.ErrorLog = cmp.Or(s.ErrorLog, log.Default())
		s.limits = limits{
			header: max(0, cmp.Or(s.HeaderTimeout, defaultHeaderTimeout)),
			idle:   max(0, cmp.Or(s.IdleTimeout, defaultIdleTimeout)),
			body:   max(0, cmp.Or(s.BodyTimeout, defaultBodyTimeout)),
			write:  max(0, cmp.Or(s.WriteTimeout, defaultWriteTimeout)),
			linger: lingerTimeout,
			rate:   max(0, int64(cmp.Or(s.BodyRate, defaultBodyRate))),
		}
	})
}

func (s *Server) errorPage(e *Error) (contentType, body string) {
	if s.ErrorPage != nil {
		return s.ErrorPage(e)
	}
	return "text/plain; charset=utf-8", e.status()
}

func (s *Server) maxHeaderBytes() int { return bound(s.MaxHeaderBytes, http.DefaultMaxHeaderBytes) }

func (s *Server) maxFields() int { return bound(s.MaxFields, defaultMaxFields) }

// bound is a limit, its default, or none.
func bound(limit, otherwise int) int {
	switch {
	case limit == 0:
		return otherwise
	case limit < 0:
		return int(^uint(0) >> 1)
	}
	return limit
}

// last reports whether the nth request of a connection is its last one.
func (s *Server) last(n int) bool {
	return s.MaxRequests > 0 && n >= s.MaxRequests || s.closing.Load()
}

// EndAfterResponse lets every connection end with its next response.
func (s *Server) EndAfterResponse() { s.closing.Store(true) }

// dateField is a Date field, which is the same until the second ends.
type dateField struct {
	from time.Time
	left time.Duration
	line string
}

func (s *Server) date() string {
	if d := s.dated.Load(); d != nil && time.Since(d.from) < d.left { // one clock is read, not two
		return d.line
	}
	now := time.Now()
	d := &dateField{now, now.Truncate(time.Second).Add(time.Second).Sub(now), "Date: " + now.UTC().Format(http.TimeFormat) + "\r\n"}
	s.dated.Store(d)
	return d.line
}

// Counted is told when a connection speaks another protocol, which may be counted
// in another way, and once when it is not one of the server any more. Connections
// may share one.
type Counted interface {
	Upgraded() Counted
	Over()
}
