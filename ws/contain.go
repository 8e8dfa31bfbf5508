package ws

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"aerys"
)

// This file keeps what goes wrong in a handler where it is. A call of
// runtime.Goexit, as t.Fatal makes it in a test, counts as a panic.

// errGoexit is what a handler panicked with that ended its goroutine.
var errGoexit = errors.New("runtime.Goexit was called")

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

// failed logs what a method of the handler panicked with, and returns it: where
// it did not panic, and yet did not return, errGoexit.
func (e *Endpoint) failed(method string, failure any, of ...any) any {
	if failure == nil {
		failure = errGoexit
	}
	e.options.Logger.Error("ws: panic in "+method, append([]any{slog.Any("panic", failure), slog.String("stack", string(debug.Stack()))}, of...)...)
	return failure
}

// recovered is deferred by who calls a method of the handler for one client. It
// logs a panic and closes the client with 1011.
func (c *conn) recovered(method string, returned *bool) {
	if *returned {
		return
	}
	c.endpoint.failed(method, recover(), slog.Uint64("client", uint64(c.id)))
	c.deaf = true
	c.fail(CodeInternalError, "the server failed")
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
