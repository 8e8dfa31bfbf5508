package ws

import "aerys/internal/loop"

// What follows is for the tests in package ws_test.

// Loop returns the loop that carries a client.
func Loop(e *Endpoint, id ClientID) *loop.Loop { return e.find(id).transport.Loop() }

// Held returns how much the kernel has still to deliver to a client, if it is there.
func Held(e *Endpoint, id ClientID) int {
	if c := e.find(id); c != nil {
		return c.transport.Held()
	}
	return 0
}
