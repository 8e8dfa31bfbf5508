//go:build !unix

package ws

// readiness is not offered here: connections read into their own two bytes
// while they wait, and write in a goroutine.
type readiness struct{}

func (*readiness) init(*stream) {}

func (*readiness) possible() bool { return false }

func (*readiness) wait() {}

func (*readiness) readNow([]byte) (int, error) { return 0, nil }

func (*readiness) tryWrite([]byte) (int, error) { return 0, nil }
