package aerys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"aerys/internal/http1"
	"aerys/internal/listen"
	"aerys/internal/loop"
)

// Server serves hosts on the addresses that they are exposed on, once at a
// time.
//
// Actions that implement Starter are started in the order of registration,
// each once, after all ports are bound and the user is changed, and before the
// first connection is accepted. When one fails, those already started are
// stopped again, if they implement Stopper, and all ports are released.
//
// MaxConnections and ConnectionsPerIP hold over all listeners. A connection
// too many is reset as soon as it is accepted: making it wait would keep its
// client from trying elsewhere.
type Server struct {
	Options Options
	Hosts   []*Host

	// Ready, if set, is called when the server starts to accept connections,
	// with the addresses it listens on: those of the first host first, in the
	// order of its Expose calls.
	Ready func(addresses []net.Addr)

	current atomic.Pointer[service]
}

// Serve serves until ctx is done, then stops gracefully and returns nil.
// Stopping means: no connection is accepted any more, idle ones are closed, and
// the actions that implement Stopper are stopped in reverse order while
// requests under way finish. After Options.ShutdownTimeout the remaining
// connections are cut off, which is an error if requests were lost by it, as is
// a Stopper's error.
//
// Serve returns an error before it has accepted anything if the hosts
// contradict each other, an address cannot be bound, a certificate not be
// read, or a Starter fails.
func (s *Server) Serve(ctx context.Context) error {
	return s.serve(ctx, nil, nil)
}

func (s *Server) serve(ctx context.Context, inherited []net.Listener, ready func(*service)) error {
	sv, err := newService(s.Options.withDefaults(), s.Hosts)
	if err != nil {
		return err
	}
	s.current.Store(sv)
	sv.warnOfExtendedConnect()
	defer sv.close()
	if err := sv.bind(inherited); err != nil {
		return err
	}
	if err := listen.ChangeUser(sv.options.User, sv.files()); err != nil {
		return err
	}
	if err := sv.start(ctx); err != nil {
		return errors.Join(err, sv.stopActions())
	}
	failed := sv.accept()
	if s.Ready != nil {
		s.Ready(sv.addresses())
	}
	if ready != nil {
		ready(sv)
	}
	select {
	case <-ctx.Done():
		return sv.stop(context.Cause(ctx))
	case err := <-failed:
		return errors.Join(err, sv.stop(err))
	}
}

// service is a Server while it serves.
type service struct {
	options     *Options
	sites       []*site
	general     *site // what is asked of the server as a whole (RFC 9110 §9.3.7)
	unknown     *site // requests for no host of the listener
	misdirected *site // those for a host whose rules the connection has not passed
	busy        *site // those that there is no room for
	listeners   []*listener
	connections *connections
	loop        *loop.Loop
	began       time.Time
	started     []any // actions, in the order of their start
	stopping    atomic.Bool
	handedOver  atomic.Bool   // the listeners are another process's, too
	patience    time.Duration // with a process that is to take over
	setID       bool          // somebody else than the process's user started it
}

// newService finds out which host is where, and reads the certificates.
func newService(options *Options, hosts []*Host) (*service, error) {
	if len(hosts) == 0 {
		return nil, errors.New("aerys: a Server without Hosts has nothing to serve")
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	sv := &service{options: options, connections: newConnections(options), loop: loop.New(options.Logger),
		began: time.Now(), patience: handOverTimeout, setID: listen.IsSetID()}
	sv.general = newErrorSite(options, http.StatusOK, "")
	sv.unknown = newErrorSite(options, http.StatusBadRequest, "No such host.\n")
	sv.misdirected = newErrorSite(options, http.StatusMisdirectedRequest, "Use another connection for this host.\n")
	sv.busy = newErrorSite(options, http.StatusServiceUnavailable, "Too many requests at once.\n")
	for _, h := range hosts {
		s := newSite(h, options)
		if err := s.encrypt(); err != nil {
			return nil, fmt.Errorf("aerys: host %v on %v: %w", h, h.exposedOn(), err)
		}
		sv.sites = append(sv.sites, s)
		if err := sv.expose(s); err != nil {
			return nil, err
		}
	}
	return sv, nil
}

// warnOfExtendedConnect tells that browsers' WebSockets will fail, if net/http
// announces to them what is not served (RFC 8441 §3). It does so by the
// environment, which some other library may have changed.
func (sv *service) warnOfExtendedConnect() {
	if strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
		sv.options.Logger.Warn("aerys: with http2xconnect=1 in GODEBUG, browsers open wss:// over HTTP/2 by an extended CONNECT (RFC 8441), " +
			"which is answered with 501, and their WebSockets fail: take it out of the environment")
	}
}

// expose adds the site to the listeners of its addresses.
func (sv *service) expose(s *site) error {
	exposed, addresses := false, s.host.exposedOn()
	for _, a := range addresses {
		if s.host.port != 0 && s.host.port != a.Port {
			continue
		}
		exposed = true
		if err := sv.listener(a).add(s); err != nil {
			return err
		}
	}
	if !exposed {
		return fmt.Errorf("aerys: host %v: not exposed on the port in its name, but on %v", s.host, addresses)
	}
	return nil
}

// listener returns the listener of an address.
func (sv *service) listener(a listen.Address) *listener {
	for _, l := range sv.listeners {
		if l.address == a {
			return l
		}
	}
	l := &listener{address: a, service: sv, named: make(map[string]*site)}
	sv.listeners = append(sv.listeners, l)
	return l
}

// bind binds every address, or none.
func (sv *service) bind(inherited []net.Listener) error {
	for _, l := range sv.listeners {
		if err := l.bind(inherited); err != nil {
			return err
		}
		l.protocols = newProtocols(l, sv.options)
	}
	for _, unused := range inherited {
		if unused != nil {
			sv.options.Logger.Warn("aerys: no host is exposed on an inherited socket", "address", unused.Addr().String())
			unused.Close()
		}
	}
	return nil
}

// actions returns everything that was registered with the hosts.
func (sv *service) actions() (actions []Action) {
	for _, s := range sv.sites {
		actions = append(actions, s.host.actions...)
	}
	return actions
}

// start starts the Starters, and remembers what is to be stopped.
func (sv *service) start(ctx context.Context) (err error) {
	walk(sv.actions(), func(action any) {
		if err != nil {
			return
		}
		if starter, ok := action.(Starter); ok {
			if err = starter.Start(ctx); err != nil {
				err = fmt.Errorf("aerys: starting %T: %w", action, err)
				return
			}
		}
		sv.started = append(sv.started, action)
	})
	return err
}

// stopActions stops the Stoppers, the last started first.
func (sv *service) stopActions() error {
	ctx, cancel := context.WithTimeout(context.Background(), sv.options.ShutdownTimeout)
	defer cancel()
	var failures []error
	for _, action := range slices.Backward(sv.started) {
		if stopper, ok := action.(Stopper); ok {
			if err := stopper.Stop(ctx); err != nil {
				failures = append(failures, fmt.Errorf("aerys: stopping %T: %w", action, err))
			}
		}
	}
	return errors.Join(failures...)
}

// accept starts to accept connections; the channel tells if that fails.
func (sv *service) accept() <-chan error {
	failed := make(chan error, len(sv.listeners))
	for _, l := range sv.listeners {
		if err := l.serve(); err != nil {
			failed <- fmt.Errorf("aerys: listening on %v: %w", l.address, err)
		}
	}
	return failed
}

// addresses returns the real addresses of the listeners.
func (sv *service) addresses() (addresses []net.Addr) {
	for _, l := range sv.listeners {
		addresses = append(addresses, l.bound.Addr())
	}
	return addresses
}

// files returns the paths of the Unix sockets that this process has made.
func (sv *service) files() (paths []string) {
	for _, l := range sv.listeners {
		if l.file != nil {
			paths = append(paths, l.address.Host)
		}
	}
	return paths
}

// stop stops accepting, the Stoppers, and the connections.
func (sv *service) stop(cause error) error {
	deadline := time.Now().Add(sv.options.ShutdownTimeout)
	sv.stopping.Store(true)
	for _, l := range sv.listeners {
		l.protocols.http1.EndAfterResponse()
	}
	sv.close()
	stopped := make(chan error, 1)
	go func() { stopped <- sv.stopActions() }()
	sv.drain(deadline, cause == errHandedOver)
	return errors.Join(sv.shutDown(deadline), <-stopped)
}

// close releases the ports.
func (sv *service) close() {
	for _, l := range sv.listeners {
		l.close()
	}
}

// silence is how long a stop waits for the first request of connections that
// were accepted just before it. To drop them would lose requests, and a browser that
// opened one in advance never sends anything.
const silence = 500 * time.Millisecond

// drain waits until every accepted connection had its first request and no
// request is under way. After a hand-over, where nobody waits for the end, it
// lets idle clients come once more, to be told that the connection closes.
func (sv *service) drain(deadline time.Time, handedOver bool) {
	quiet := time.Now().Add(silence)
	for now := time.Now(); now.Before(deadline); now = time.Now() {
		expected := http1.Fresh(sv.loop) > 0 || handedOver && sv.connections.open.Load() > 0
		if sv.underWay() == 0 && (!expected || now.After(quiet)) {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// underWay is how many requests are being answered.
func (sv *service) underWay() (requests int64) {
	for _, s := range sv.sites {
		requests += s.traffic.active()
	}
	return requests
}

// shutDown closes the idle connections, and at the deadline the others.
func (sv *service) shutDown(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	http1.EndIdle(sv.loop)
	var servers sync.WaitGroup
	for _, l := range sv.listeners {
		servers.Add(1)
		go func() {
			defer servers.Done()
			l.protocols.http2.Shutdown(ctx)
		}()
	}
	servers.Wait()
	for quiet := time.Now().Add(silence); sv.loop.Len() > 0 && ctx.Err() == nil; time.Sleep(time.Millisecond) {
		http1.EndIdle(sv.loop)
		if time.Now().After(quiet) {
			http1.EndAnswered(sv.loop)
		}
	}
	lost := sv.underWay()
	for _, l := range sv.listeners {
		l.protocols.http2.Close()
		l.protocols.queue.Close()
	}
	sv.loop.Close(closePeriod)
	if lost > 0 {
		return fmt.Errorf("aerys: %d requests were cut off after ShutdownTimeout (%v)", lost, sv.options.ShutdownTimeout)
	}
	return nil
}

// closePeriod is how long connections that are cut off may take to notice.
const closePeriod = time.Second

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
