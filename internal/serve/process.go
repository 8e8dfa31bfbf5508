package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/metrics"
	"slices"
	"syscall"
	"time"

	"aerys/internal/listen"
)

// StopOn calls stop at the first SIGINT or SIGTERM, and ends the process at the
// second. The other one of listen.StopSignals, which a terminal sends when it closes,
// ends nothing: files of the log are the Logger's, and certificates are read again
// when they change.
func StopOn(signals <-chan os.Signal, log *slog.Logger, stop func(cause error)) {
	stopping := false
	for received := range signals {
		switch {
		case received != os.Interrupt && received != syscall.SIGTERM:
			log.Info("aerys: SIGHUP received, serving on: certificates that change are read again without it")
		case stopping:
			os.Exit(1)
		default:
			stopping = true
			notify(log, "STOPPING=1")
			stop(fmt.Errorf("%v signal received", received))
		}
	}
}

// ErrHandedOver is why a server stops whose successor has its sockets.
var ErrHandedOver = errors.New("handed over to a new process")

// handOverTimeout is how long a new process may take until it serves: as long
// as systemd grants to a start.
const handOverTimeout = 90 * time.Second

// HandOverOn hands over at a signal, and then ends ctx by done.
func (s *Server) HandOverOn(ctx context.Context, signals <-chan os.Signal, done context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		pid, err := s.handOver(ctx)
		switch {
		case err == nil:
			s.log.Info("aerys: a new process has taken over", "pid", pid)
			done(ErrHandedOver)
			return
		case ctx.Err() == nil:
			s.log.Error("aerys: hand-over failed, serving on", "error", err)
		}
	}
}

// handOver starts the program anew with the sockets of this one, and returns when
// that serves.
func (s *Server) handOver(ctx context.Context) (pid int, err error) {
	if s.setID {
		return 0, errors.New("who starts a set-user-id or set-group-id program chooses its name and environment: it does not start itself anew")
	}
	if slices.ContainsFunc(s.listeners, func(l *Listener) bool { return l.Address.IsGiven() }) {
		return 0, errors.New("the program has made a listener itself, by Host.Listen: it will not find it there when it starts anew")
	}
	s.log.Info("aerys: starting a new process that is to take over")
	if pid, err = listen.HandOver(ctx, s.Bound(), s.Patience); err == nil {
		s.handedOver.Store(true)
		notify(s.log, fmt.Sprintf("MAINPID=%d", pid))
	}
	return pid, err
}

// notify tells the service manager, if there is one, what becomes of the process.
func notify(log *slog.Logger, state string) {
	if err := listen.Notify(state); err != nil {
		log.Warn("aerys: the service manager was not told", "state", state, "error", err)
	}
}

// Process tells how many goroutines there are, how many bytes the objects on the
// heap take, and how many the runtime has of the system.
func Process() (goroutines, heap, memory int64) {
	samples := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples) // which does not stop the world
	value := func(i int) int64 { return int64(samples[i].Value.Uint64()) }
	return value(0), value(1), value(2) - value(3)
}
