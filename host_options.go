package aerys

import (
	"cmp"
	"fmt"
	"log/slog"
	"mime"
	"reflect"
	"time"

	"aerys/internal/field"
	"aerys/internal/serve"
)

// Options are the settings of a Server. The zero value of each field stands
// for the default that its comment names. A negative number switches a limit
// off where that is said, and is an error of Serve elsewhere.
type Options struct {
	// Debug shows in the page of an error what the log has: the cause, the request
	// and a panic's stack. Not for production.
	Debug bool

	// User is the account the process changes to once all ports are bound
	// (Unix only, needs root, or to be that user). Empty keeps the user; so a
	// set-user-id program keeps both. Unix sockets are given to it, with the mode
	// that they have; their files stay behind if it may not write to the
	// directory, and are replaced at the next start. Certificates are read
	// before; one that only root can read is not read again when it changes,
	// which is logged.
	User string

	// Logger receives everything the server has to say. Default slog.Default().
	Logger *slog.Logger

	// MaxConnections is how many client connections may be open at once,
	// upgraded ones included. For more, those of HTTP/1 that are idle for the
	// longest time are closed; where there are none, the new ones are reset. Each
	// may be sent a file besides, and over HTTP/2 one for each request at once.
	//
	// By default the limit of open files decides: a tenth of it, at least 64, is
	// for everything else, a connection takes two of the rest, an upgraded one
	// takes one, and further requests at once over HTTP/2 one each, which get
	// 503 when there is none left. Where there is no such limit it is 10000.
	MaxConnections int

	// ConnectionsPerIP bounds the connections from one IPv4 address or one
	// IPv6 /56 network; more are reset. Default 0: no bound.
	ConnectionsPerIP int

	// MaxRequestsPerConnection is after how many requests a keep-alive
	// connection is closed, over HTTP/2 by GOAWAY. Default 1000; negative: no
	// bound.
	MaxRequestsPerConnection int

	// ConnectionTimeout bounds the time that a client may take to send a
	// request's header, or to shake hands for TLS. A body that is waited for over
	// HTTP/1, by a handler or to be skipped behind an answer, may stand still for
	// ten times as long, and has to come with 240 bytes a second from then on; a
	// handler that reads gets an error, and may still answer. Over HTTP/2 a silent
	// client is pinged. Up to 256 KiB that no handler reads are skipped for the
	// sake of the connection; an error (a status from 400 on), an answer to
	// Expect: 100-continue, and one to a body in chunks are the connection's last
	// where the body is not all there.
	//
	// A client that takes nothing of a response for ten times as long is dropped;
	// over HTTP/2, where only the request's stream ends, it has to take 64 KiB at
	// least, and twenty times are the latest. A handler that sets a deadline
	// decides itself, until it returns. All this is looked after once a second:
	// what is due may happen up to three seconds later. Default 6 s.
	ConnectionTimeout time.Duration

	// IdleTimeout bounds how long a connection stays without a request. It is
	// longer than the 60 s after which common proxies close theirs, for one that
	// finds a connection closed that it has just used answers 502. Default 75 s.
	IdleTimeout time.Duration

	// ShutdownTimeout bounds how long a graceful stop waits for requests and
	// WebSocket clients. Default 3 s.
	ShutdownTimeout time.Duration

	// DrainDelay is for how long a server that is told to stop serves on as ever,
	// save that HealthHandler answers 503 and ServerState.Stopping is true: what
	// sends it requests (a load balancer, Kubernetes' endpoints) needs a while to
	// see that. Its ports close behind that, and ShutdownTimeout begins. There is no
	// delay after a hand-over. Default 0.
	DrainDelay time.Duration

	// DefaultContentType is what a response gets that names none, unless a handler
	// of net/http has made it. Default "text/html".
	DefaultContentType string

	// DefaultTextCharset is added to text types that name no charset. An empty
	// one, as in "text/html; charset=", says that there is to be none.
	// Default "utf-8".
	DefaultTextCharset string

	// SendServerToken adds a Server header.
	SendServerToken bool

	// KeepMethodCase leaves the request's method as it was sent. By default
	// it is turned to upper case (Aerys's normalizeMethodCase), save for HEAD
	// and CONNECT, which frame the response.
	KeepMethodCase bool

	// AllowedMethods are the methods served besides those that routes name.
	// Others get 405, or 501 when HTTP does not define them. Default GET, POST, PUT, PATCH, HEAD, OPTIONS, DELETE.
	AllowedMethods []string

	// MaxBodySize bounds a request's body in bytes; Request.Body and
	// Request.ParseBody may raise it. Default 128 KiB.
	MaxBodySize int64

	// MaxHeaderSize bounds a request's header, its first line included, in
	// bytes; larger ones get 431, as do those with more than 1000 fields.
	// Default 32 KiB, at least 4097. HTTP/2, where RFC 9113 §6.5.2 says what
	// counts, is told a limit 3776 bytes lower.
	MaxHeaderSize int

	// MaxInputVars bounds the fields of a parsed body. Default 200.
	MaxInputVars int

	// MaxFieldLen bounds the name of a field in a parsed body, in bytes.
	// Default 16 KiB.
	MaxFieldLen int

	// MaxConcurrentStreams bounds the requests at once on one HTTP/2
	// connection. Default 100: RFC 9113 §6.5.2 advises no less, and browsers
	// open that many on a page of small files (Aerys: 20). With package ws/xconnect
	// it is 1000, for each socket takes one.
	MaxConcurrentStreams int

	// MaxSocketsPerConnection bounds the WebSockets at once on one HTTP/2
	// connection (package ws/xconnect); more get 503. Of each, 64 KiB
	// may wait to be read. Default half of
	// MaxConcurrentStreams, so that requests find room beside them.
	MaxSocketsPerConnection int

	// DisableCompression switches gzip off. By default text/*, */xml, *+xml,
	// JSON and JavaScript of 860 bytes or more are compressed.
	DisableCompression bool

	// OutputBufferSize is how many bytes of a response are held back before
	// it is streamed. Default 8192.
	OutputBufferSize int

	contentType string // of both defaults

	// Of the host that serves by them.
	host   string
	errors func(*Request, *Response, *Error)
}

// check finds values that cannot be meant.
func (o *Options) check() error {
	options := reflect.ValueOf(o).Elem()
	for i := range options.NumField() {
		value, name := options.Field(i), options.Type().Field(i).Name
		if value.CanInt() && value.Int() < 0 && name != "MaxRequestsPerConnection" {
			return fmt.Errorf("aerys: Options.%s is negative: want 0 for the default, or more", name)
		}
	}
	for _, method := range o.AllowedMethods {
		if !field.IsToken(method) { // both are tokens: RFC 9110 §5.6.2
			return fmt.Errorf("aerys: Options.AllowedMethods: %q is no method", method)
		}
	}
	if _, _, err := mime.ParseMediaType(o.DefaultContentType); err != nil {
		return fmt.Errorf("aerys: Options.DefaultContentType %q: %w", o.DefaultContentType, err)
	}
	return nil
}

// longest is a ConnectionTimeout of which there may be multiples: a year.
const longest = 1 << 55

// withDefaults returns the options with every zero value replaced.
func (o Options) withDefaults() *Options {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.MaxRequestsPerConnection = cmp.Or(o.MaxRequestsPerConnection, 1000)
	o.ConnectionTimeout = min(cmp.Or(o.ConnectionTimeout, 6*time.Second), longest)
	o.IdleTimeout = min(cmp.Or(o.IdleTimeout, 75*time.Second), longest)
	o.ShutdownTimeout = cmp.Or(o.ShutdownTimeout, 3*time.Second)
	o.DefaultContentType = cmp.Or(o.DefaultContentType, "text/html")
	o.DefaultTextCharset = cmp.Or(o.DefaultTextCharset, "utf-8")
	if o.AllowedMethods == nil {
		o.AllowedMethods = []string{"GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE"}
	}
	o.MaxBodySize = cmp.Or(o.MaxBodySize, 128<<10)
	o.MaxHeaderSize = cmp.Or(o.MaxHeaderSize, 32<<10)
	o.MaxInputVars = cmp.Or(o.MaxInputVars, 200)
	o.MaxFieldLen = cmp.Or(o.MaxFieldLen, 16<<10)
	o.MaxConcurrentStreams = cmp.Or(o.MaxConcurrentStreams, serve.Streams())
	o.MaxSocketsPerConnection = cmp.Or(o.MaxSocketsPerConnection, (o.MaxConcurrentStreams+1)/2)
	o.OutputBufferSize = cmp.Or(o.OutputBufferSize, 8192)
	o.contentType = field.WithCharset(o.DefaultContentType, o.DefaultTextCharset)
	return &o
}
