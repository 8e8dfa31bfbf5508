package ws

import (
	"net/http"

	"aerys"
)

// This file keeps what goes wrong in a handler where it is. A call of
// runtime.Goexit, as t.Fatal makes it in a test, counts as a panic.

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
