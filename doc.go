// Package aerys serves HTTP/1.1 and HTTP/2, WebSockets (package aerys/ws) and
// static files (package aerys/static), after PHP's Aerys, with the standard
// library and nothing else.
//
//	package main
//
//	import (
//		"log"
//
//		"aerys"
//	)
//
//	func hello(_ *aerys.Request, res *aerys.Response) { res.End("Hello, world!") }
//
//	func main() {
//		router := aerys.Router().Get("/", hello)
//		if err := aerys.Run(new(aerys.Host).Expose("*", 1337).Use(router)); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// A [Host] listens, under a name if there are several. Its actions are tried
// in order until one answers: functions and Handlers, [Routes],
// a WebSocket gateway, the files of a directory, and net/http's handlers.
// Middleware wraps the actions after it. See [Action].
//
// A [Request] is net/http's, with what an application needs besides. A
// [Response] keeps everything back until it is complete, flushed or too large,
// so that status and header can change until then.
//
// [Run] is all that a program needs; [Server] adds [Options] and serves for as
// long as a context lives. Both start and stop gracefully, and Run takes its
// sockets from systemd and hands them to a new version of the program. A Host
// is also an [http.Handler], for httptest or for another server.
//
// Setting up is for one goroutine. From then on hosts, routers and actions are
// used by many at once, a Request and its Response by one.
package aerys
