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
func (s *Server) Run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its usual effect: it ends the process
	return s.serve(ctx, nil, func(sv *service) {
		for _, l := range sv.listeners {
			fmt.Println("Listening on", l.url())
		}
	})
}

// errHandedOver is why a server stops whose successor has its sockets.
var errHandedOver = errors.New("aerys: handed over to a new process")
