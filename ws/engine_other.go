//go:build !linux

package ws

import "net"

// engine serves no connection here: EnginePortable serves them all.
type engine struct{}

func (*engine) ready(*Endpoint) bool { return false }

func (*engine) adopt(*arrival) {}

func (*engine) stop() {}

func isSocket(net.Conn) bool { return false }

// watched is nothing that the engine could wait for.
type watched struct{}

func (*watched) init(*Endpoint, net.Conn) {}

func (*watched) possible() bool { return false }

func (*watched) interrupt() {}

func (*watched) forget() {}

func (*stream) watch() error { return nil }

func (*stream) decrypt() error { return nil }
