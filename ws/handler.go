package ws

import (
	"net/http"

	"aerys"
)

// Handler is a WebSocket application. T is what OnHandshake hands to OnOpen;
// Go infers it from the methods. Where one is missing or has another signature
// it can only tell that a type "does not match ws.Handler[T]"; which one it is
// it tells of a line like this, where T is string:
//
//	var _ ws.Handler[string] = (*myApplication)(nil)
//
// A method that panics, or ends its goroutine as t.Fatal does in a test, is
// logged with its stack. In OnOpen and OnData it costs the client its
// connection (1011), in OnHandshake its handshake (500), in OnStop all clients
// (1011); an endpoint whose OnStart panicked did not start.
type Handler[T any] interface {
	// OnStart is called once, before the server listens. The endpoint is how
	// the application sends; keep it. An error stops the start.
	OnStart(*Endpoint) error

	// OnHandshake decides on a request that passed all checks of the
	// protocol. The response's status is 101; set another (at least 300) and
	// the buffered response goes out as an ordinary HTTP reply, that of the
	// host's Errors for a status alone from 400 on, and OnOpen is not called.
	// Headers and cookies set here are sent either way; a
	// Sec-WebSocket-Protocol of those that the client offers (RFC 6455 §11.3.4)
	// wins over that of Options.Subprotocols. Neither the request nor the
	// response may be kept.
	OnHandshake(*aerys.Request, *aerys.Response) T

	// OnOpen is called once the client has its 101, before any OnData of it.
	OnOpen(ClientID, T)

	// OnData is called when a message begins to arrive. The message may be
	// read until OnData returns; what is left unread then is skipped. Its
	// Context is done when the client closes or leaves meanwhile.
	OnData(ClientID, *Message)

	// OnClose is called exactly once, after the last OnData, with the code
	// and reason of whoever closed first: CodeNoStatus if there was none,
	// CodeAbnormal if the connection was lost. Info still knows the client.
	OnClose(ClientID, Code, string)

	// OnStop is called when the server stops, while all clients may still be
	// sent to; when it returns they are closed with CodeGoingAway.
	OnStop()
}

// newApplication puts the type parameter of a handler out of sight.
func newApplication[T any](handler Handler[T]) application {
	return application{
		start: handler.OnStart,
		handshake: func(req *aerys.Request, res *aerys.Response) opener {
			value := handler.OnHandshake(req, res)
			return func(id ClientID) { handler.OnOpen(id, value) }
		},
		data:   handler.OnData,
		closed: handler.OnClose,
		stop:   handler.OnStop,
	}
}

// What goes wrong in a handler stays where it is. A call of runtime.Goexit, as
// t.Fatal makes it in a test, counts as a panic.

// contain calls a method of the handler that is of no one client, and returns
// what it panicked with, or nil. It has a goroutine of its own to end.
func (e *Endpoint) contain(method string, call func()) (failure any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if !returned {
				failure = e.failed(method, recover())
			}
		}()
		call()
		returned = true
	}()
	<-done
	return failure
}

// handshake calls OnHandshake. A panic of it is for the host to answer, as that
// of any action. If it ends its goroutine, which is that of the request, this is
// the last moment to answer.
func (e *Endpoint) handshake(req *aerys.Request, res *aerys.Response) opener {
	returned := false
	defer func() {
		if returned {
			return
		}
		if failure := recover(); failure != nil {
			panic(failure)
		}
		e.failed("OnHandshake", nil)
		if res.State() == aerys.None { // else a client will miss the end of what was written
			res.SetHeader("Content-Length", "0")
		}
		res.SetStatus(http.StatusInternalServerError).SetHeader("Connection", "close")
		res.EndHandshake()
		sendNow(res)
	}()
	o := e.application.handshake(req, res)
	returned = true
	return o
}

// sendNow sends a response that nobody will return to.
func sendNow(w http.ResponseWriter) {
	for {
		if response, ok := w.(interface{ End(...string) }); ok {
			response.End()
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	http.NewResponseController(w).Flush()
}
