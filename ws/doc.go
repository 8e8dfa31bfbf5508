// Package ws serves WebSocket connections (RFC 6455) as actions of package
// aerys, or as handlers of net/http.
//
// An application implements Handler and registers it with Websocket. This one
// sends back whatever text it gets:
//
//	package main
//
//	import (
//		"log"
//
//		"aerys"
//		"aerys/ws"
//	)
//
//	type echo struct{ endpoint *ws.Endpoint }
//
//	var _ ws.Handler[struct{}] = (*echo)(nil) // the compiler names a method that is missing
//
//	func (e *echo) OnStart(endpoint *ws.Endpoint) error { e.endpoint = endpoint; return nil }
//	func (e *echo) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }
//	func (e *echo) OnOpen(id ws.ClientID, _ struct{}) {}
//	func (e *echo) OnData(id ws.ClientID, msg *ws.Message) {
//		if text, err := msg.Text(); err == nil {
//			e.endpoint.Send(text, id)
//		}
//	}
//	func (e *echo) OnClose(ws.ClientID, ws.Code, string) {}
//	func (e *echo) OnStop() {}
//
//	func main() {
//		router := aerys.Router().Get("/echo", ws.Websocket(&echo{}))
//		if err := aerys.Run(new(aerys.Host).Expose("*", 1337).Use(router)); err != nil {
//			log.Fatal(err)
//		}
//	}
//
// # Concurrency
//
// OnOpen, OnData and OnClose of one client are called one at a time and in
// this order; those of different clients run side by side. Each may block as
// long as it likes: only its own client's messages wait. All methods of Endpoint
// may be called from any goroutine at any time.
//
// While a handler runs for long, some of what its client sends is read ahead
// (Options.MaxReadAhead): pings are answered, and that the client closes or leaves
// is noticed at once. From then on Send returns ErrClosed, and Message.Context and
// Endpoint.Context are done, for handlers that wait for something else.
// Messages that came before are still handled, in order, and then comes OnClose.
//
// # When replies leave
//
// What a handler sends is gathered and leaves in one write when the messages
// that one read brought are dealt with, or after about a millisecond when a
// handler takes longer. Broadcasts made meanwhile leave the same way, in one
// write for each client.
//
// # HTTP/2
//
// With an import of package aerys/ws/xconnect a client that has a connection of
// HTTP/2 opens a WebSocket as a stream of it (RFC 8441). OnHandshake then sees a
// CONNECT; status, limits, heartbeat and all else are as ever, save that a stream
// ends in both directions at once. One that takes nothing holds up no other, and is
// closed by Options.WriteTimeout. Under a server of net/http, its HTTP2Config bounds
// how many there are on a connection.
//
// # How a connection ends
//
// A client that breaks the protocol, exceeds a limit or does not read what it
// is sent is closed with a code and a reason that names the rule or the
// option. However a connection ends, OnClose is called exactly once.
package ws
