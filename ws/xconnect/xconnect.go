// Package xconnect has WebSocket connections opened over HTTP/2 (RFC 8441) by
// clients that can, such as browsers: each is a stream of the connection that the
// client has already. Import it for that effect alone, which is on every server of the
// process:
//
//	import _ "aerys/ws/xconnect"
//
// A gateway then sees a CONNECT request whose header has ":protocol", and answers it
// with 200; all else about it is as ever. Routes for GET are for these requests, too, and
// what else may answer runs as it does for a handshake over HTTP/1, but for a 2xx: that
// is 501 unless it is a gateway's. [aerys.Options] says how many streams and sockets a
// connection may have. Of each stream, that of an upload too, 64 KiB may be on their way,
// so that one that is not read leaves the others their share.
//
// This works by a setting in GODEBUG that net/http reads when it is initialised, and
// that is gone from the environment when main runs. It comes too late if the import
// path of the library sorts behind "net/http", as www.example.com/aerys does; a Server
// says so in its log. To set GODEBUG=http2xconnect=1 in the environment, without this
// package, does the same.
package xconnect

import (
	"syscall"

	"aerys/internal/serve"
	"aerys/ws/xconnect/internal/early"
)

// net/http, which this package imports, has read the variable by now.
func init() {
	if early.WasSet {
		syscall.Setenv("GODEBUG", early.Before)
	} else {
		syscall.Unsetenv("GODEBUG")
	}
	serve.WantTunnels(announced)
}
