// Package early asks net/http to accept extended CONNECT requests, which it does if
// an environment variable says so when net/http is initialised. This has to come
// first, and does: packages that are ready are initialised in the order of their
// import paths (Go spec, Package initialization), and this one needs next to nothing.
package early

import "syscall"

// Before is what GODEBUG was, if it was set.
var Before, WasSet = syscall.Getenv("GODEBUG")

func init() { syscall.Setenv("GODEBUG", "http2xconnect=1,"+Before) }
