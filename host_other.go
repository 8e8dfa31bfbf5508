//go:build !unix

package aerys

import (
	"context"
	"errors"
	"net"
	"os"
)

// openFilesLimit is the default of MaxConnections.
func openFilesLimit() int { return 10000 }

// changeUser fails: there is no such thing here.
func changeUser(name string) error {
	if name != "" {
		return errors.New("aerys: Options.User works on Unix only")
	}
	return nil
}

// inherit finds no sockets, and nobody to take over from.
func inherit(int) ([]net.Listener, func(), error) { return nil, func() {}, nil }

// handOverSignals returns what never tells anything.
func handOverSignals() chan os.Signal { return make(chan os.Signal) }

func (sv *service) handOverOn(context.Context, chan os.Signal, context.CancelCauseFunc) {}
