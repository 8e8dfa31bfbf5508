package aerys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Run serves hosts with default Options as the program's whole business: see
// Server.Run.
func Run(hosts ...*Host) error { return (&Server{Hosts: hosts}).Run() }

// Run is Serve for a whole process. It prints a line with the URL of each
// address, stops gracefully on SIGINT and SIGTERM, and at once on the second
// of these signals.
//
// On Unix it listens on sockets that systemd passes (socket activation) where
// a host is exposed on their address, and SIGUSR2 replaces the program without
// a refused connection: the same command is started again, on the same sockets
// (port 0 excepted), and when the new process serves, this one stops
// gracefully. If the new one fails to start, this one serves on. A supervisor
// that watches the process id, and a container's process 1, will take that for
// the end of the program.
func (s *Server) Run() error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer close(signals)
	defer signal.Stop(signals)
	go stopOn(signals, cancel)
	handOver := handOverSignals()
	defer signal.Stop(handOver)
	inherited, serving, err := inherit(3)
	if err != nil {
		return err
	}
	return s.serve(ctx, inherited, func(sv *service) {
		for _, l := range sv.listeners {
			fmt.Println("Listening on", l.url())
		}
		serving()
		go sv.handOverOn(ctx, handOver, cancel)
	})
}

// stopOn stops gracefully at the first signal, and at once at the second.
func stopOn(signals <-chan os.Signal, stop context.CancelCauseFunc) {
	if _, open := <-signals; open {
		stop(nil)
	}
	if _, open := <-signals; open {
		os.Exit(1)
	}
}

// errHandedOver is why a server stops whose successor has its sockets.
var errHandedOver = errors.New("aerys: handed over to a new process")
