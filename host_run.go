package aerys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"aerys/internal/listen"
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
// gracefully. If the new one ends before, or does not serve after 90 s, this one
// kills it, says so in the log and serves on. It runs as the user that
// Options.User names, and has to be able to read the program and the
// certificates as that. A set-user-id or set-group-id program is not replaced.
// A supervisor that watches the process id, and a container's process 1, will
// take a hand-over for the end of the program.
func (s *Server) Run() error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer close(signals)
	defer signal.Stop(signals)
	go stopOn(signals, cancel)
	handOver := listen.HandOverSignals()
	defer signal.Stop(handOver)
	inherited, serving, err := listen.Inherit(3)
	if err != nil {
		return err
	}
	var handingOver sync.WaitGroup
	err = s.serve(ctx, inherited, func(sv *service) {
		for _, l := range sv.listeners {
			fmt.Println("Listening on", l.url())
		}
		serving()
		handingOver.Add(1)
		go func() {
			defer handingOver.Done()
			sv.handOverOn(ctx, handOver, cancel)
		}()
	})
	cancel(nil)
	handingOver.Wait() // no process stays that was to take over and has not
	return err
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

// handOverTimeout is how long a new process may take until it serves: as long
// as systemd grants to a start.
const handOverTimeout = 90 * time.Second

// handOverOn hands over at a signal, and then ends ctx by done.
func (sv *service) handOverOn(ctx context.Context, signals chan os.Signal, done context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		pid, err := sv.handOver(ctx)
		switch {
		case err == nil:
			sv.options.Logger.Info("aerys: a new process has taken over", "pid", pid)
			done(errHandedOver)
			return
		case ctx.Err() == nil:
			sv.options.Logger.Error("aerys: hand-over failed, serving on", "error", err)
		}
	}
}

// handOver starts the program anew with the sockets of this one, and returns when
// that serves.
func (sv *service) handOver(ctx context.Context) (pid int, err error) {
	if sv.setID {
		return 0, errors.New("who starts a set-user-id or set-group-id program chooses its name and environment: it does not start itself anew")
	}
	var sockets []net.Listener
	for _, l := range sv.listeners {
		sockets = append(sockets, l.bound)
	}
	if pid, err = listen.HandOver(ctx, sockets, sv.patience); err == nil {
		sv.handedOver.Store(true)
	}
	return pid, err
}
