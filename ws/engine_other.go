//go:build !linux

package ws

import "net"

// engine serves no connection here: EnginePortable serves them all.
type engine struct{}

func (*engine) adopt(*Endpoint, net.Conn, *arrival) bool { return false }

func (*engine) stop() {}
