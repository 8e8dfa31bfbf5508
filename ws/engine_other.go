//go:build !linux

package ws

// engine serves no connection here: EnginePortable serves them all.
type engine struct{}

func (*engine) ready(*Endpoint) bool { return false }

func (*engine) serves(*arrival) bool { return false }

func (*engine) adopt(*arrival) {}

func (*engine) stop() {}
