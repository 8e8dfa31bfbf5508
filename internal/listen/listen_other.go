//go:build !unix

package listen

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// OpenFiles is 0: there is no such limit.
func OpenFiles() int { return 0 }

// ChangeUser fails: there is no such thing here.
func ChangeUser(name string, _ []string) error {
	if name != "" {
		return errors.New("aerys: Options.User works on Unix only")
	}
	return nil
}

// IsSetID reports whether somebody else than the process's user started it.
func IsSetID() bool { return false }

// nobodyListens reports whether nobody listens where err comes from. Errors have
// their numbers only in some of these systems.
func nobodyListens(err error) bool { return strings.Contains(err.Error(), "refused") }

// Inherit finds no sockets, and nobody to take over from.
func Inherit(int) ([]net.Listener, func() error, error) {
	return nil, func() error { return nil }, nil
}

// StopSignals returns the signals that ask for a stop.
func StopSignals() chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	return signals
}

// HandOverSignals returns what never tells anything.
func HandOverSignals() chan os.Signal { return make(chan os.Signal) }

// HandOver fails: there is no such thing here.
func HandOver(context.Context, []net.Listener, time.Duration) (pid int, err error) {
	return 0, errors.ErrUnsupported
}
