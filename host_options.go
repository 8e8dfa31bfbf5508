package aerys

import (
	"fmt"
	"log/slog"
	"mime"
	"time"
)

// Options are the settings of a Server. The zero value of each field stands
// for the default that its comment names. A negative number switches a limit
// off where that is said, and is an error of Serve elsewhere.
type Options struct {
	// Debug shows panics with their stack in the page, and detects a Request
	// or Response that is used after its handler returned. Not for production.
	Debug bool

	// User is the account the process changes to once all ports are bound
	// (Unix only, needs root). Empty keeps the user. Certificates are read
	// before; one that only root can read is not noticed to change.
	User string

	// Logger receives everything the server has to say. Default slog.Default().
	Logger *slog.Logger

	// MaxConnections is how many client connections may be open at once,
	// upgraded ones included; more are reset. Default: what the limit of open
	// files allows, less a tenth, at least 64, for everything else; 10000 where
	// there is no such limit.
	MaxConnections int

	// ConnectionsPerIP bounds the connections from one IPv4 address or one
	// IPv6 /56 network; more are reset. Default 0: no bound.
	ConnectionsPerIP int

	// MaxRequestsPerConnection is after how many requests a keep-alive
	// connection is closed, over HTTP/2 by GOAWAY. Default 1000; negative: no
	// bound.
	MaxRequestsPerConnection int

	// ConnectionTimeout bounds the time that a client may take to send a
	// request's header, or to shake hands for TLS, and that a connection may
	// stay idle, or owe what no handler read of a body. A handler that reads a
	// body over HTTP/1 waits ten times as long for each part of it; over HTTP/2
	// a silent client is pinged. A client that takes nothing of a response for
	// ten times as long is dropped, after forty times at the latest; a handler
	// that sets a write deadline decides itself. Default 6 s.
	ConnectionTimeout time.Duration

	// ShutdownTimeout bounds how long a graceful stop waits for requests and
	// WebSocket clients. Default 3 s.
	ShutdownTimeout time.Duration

	// DefaultContentType is what a response gets that names none. Default
	// "text/html".
	DefaultContentType string

	// DefaultTextCharset is added to text types that name no charset.
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
	// bytes; larger ones get 431. Default 32 KiB, at least 4097. net/http may
	// let it be exceeded by up to 4096 bytes. HTTP/2, where RFC 9113 §6.5.2
	// says what counts, is told a limit 3776 bytes lower.
	MaxHeaderSize int

	// MaxInputVars bounds the fields of a parsed body. Default 200.
	MaxInputVars int

	// MaxFieldLen bounds the name of a field in a parsed body, in bytes.
	// Default 16 KiB.
	MaxFieldLen int

	// MaxConcurrentStreams bounds the requests at once on one HTTP/2
	// connection. Default 100: RFC 9113 §6.5.2 advises no less, and browsers
	// open that many on a page of small files (Aerys: 20).
	MaxConcurrentStreams int

	// DisableCompression switches gzip off. By default text/*, */xml, *+xml,
	// JSON and JavaScript of 860 bytes or more are compressed.
	DisableCompression bool

	// OutputBufferSize is how many bytes of a response are held back before
	// it is streamed. Default 8192.
	OutputBufferSize int
}

// or returns value, or the default when value is zero.
func or[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}

// check finds values that cannot be meant.
func (o *Options) check() error {
	for name, value := range map[string]int64{
		"MaxConnections": int64(o.MaxConnections), "ConnectionsPerIP": int64(o.ConnectionsPerIP),
		"ConnectionTimeout": int64(o.ConnectionTimeout), "ShutdownTimeout": int64(o.ShutdownTimeout),
		"MaxBodySize": o.MaxBodySize, "MaxHeaderSize": int64(o.MaxHeaderSize),
		"MaxInputVars": int64(o.MaxInputVars), "MaxFieldLen": int64(o.MaxFieldLen),
		"MaxConcurrentStreams": int64(o.MaxConcurrentStreams), "OutputBufferSize": int64(o.OutputBufferSize),
	} {
		if value < 0 {
			return fmt.Errorf("aerys: Options.%s is negative: want 0 for the default, or more", name)
		}
	}
	for _, method := range o.AllowedMethods {
		if !validFieldName(method) { // both are tokens: RFC 9110 §5.6.2
			return fmt.Errorf("aerys: Options.AllowedMethods: %q is no method", method)
		}
	}
	if _, _, err := mime.ParseMediaType(o.DefaultContentType); err != nil {
		return fmt.Errorf("aerys: Options.DefaultContentType %q: %w", o.DefaultContentType, err)
	}
	return nil
}

// withDefaults returns the options with every zero value replaced.
func (o Options) withDefaults() *Options {
	o.Logger = or(o.Logger, slog.Default())
	o.MaxRequestsPerConnection = or(o.MaxRequestsPerConnection, 1000)
	o.ConnectionTimeout = or(o.ConnectionTimeout, 6*time.Second)
	o.ShutdownTimeout = or(o.ShutdownTimeout, 3*time.Second)
	o.DefaultContentType = or(o.DefaultContentType, "text/html")
	o.DefaultTextCharset = or(o.DefaultTextCharset, "utf-8")
	if o.AllowedMethods == nil {
		o.AllowedMethods = []string{"GET", "POST", "PUT", "PATCH", "HEAD", "OPTIONS", "DELETE"}
	}
	o.MaxBodySize = or(o.MaxBodySize, 128<<10)
	o.MaxHeaderSize = or(o.MaxHeaderSize, 32<<10)
	o.MaxInputVars = or(o.MaxInputVars, 200)
	o.MaxFieldLen = or(o.MaxFieldLen, 16<<10)
	o.MaxConcurrentStreams = or(o.MaxConcurrentStreams, 100)
	o.OutputBufferSize = or(o.OutputBufferSize, 8192)
	return &o
}
