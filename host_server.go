package aerys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
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
	defer sv.close()
	if err := sv.bind(inherited); err != nil {
		return err
	}
	if err := changeUser(sv.options.User); err != nil {
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
	listeners   []*listener
	connections *connections
	began       time.Time
	started     []any // actions, in the order of their start
	accepting   sync.WaitGroup
	stopping    atomic.Bool
}

// newService finds out which host is where, and reads the certificates.
func newService(options *Options, hosts []*Host) (*service, error) {
	if len(hosts) == 0 {
		return nil, errors.New("aerys: a Server without Hosts has nothing to serve")
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	sv := &service{options: options, connections: newConnections(options), began: time.Now()}
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

// expose adds the site to the listeners of its addresses.
func (sv *service) expose(s *site) error {
	exposed, addresses := false, s.host.exposedOn()
	for _, a := range addresses {
		if s.host.port != 0 && s.host.port != a.port {
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
func (sv *service) listener(a address) *listener {
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
		l.server = newHTTPServer(l, sv.options)
	}
	for _, unused := range inherited {
		if unused != nil {
			sv.options.Logger.Warn("aerys: no host is exposed on an inherited socket", "address", unused.Addr().String())
			unused.Close()
		}
	}
	return nil
}

// newHTTPServer sets up what does the work.
func newHTTPServer(l *listener, options *Options) *http.Server {
	server := &http.Server{
		Handler:           l,
		ReadHeaderTimeout: options.ConnectionTimeout,
		IdleTimeout:       options.ConnectionTimeout,
		MaxHeaderBytes:    max(1, options.MaxHeaderSize-4096), // net/http adds this much
		ErrorLog:          slog.NewLogLogger(options.Logger.Handler(), slog.LevelWarn),
		ConnContext:       connectionContext,
		Protocols:         new(http.Protocols),
		// Larger frames than RFC 9113 §4.2's minimum would gain little, and
		// net/http checks the size of a frame only against its own maximum.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: options.MaxConcurrentStreams, MaxReadFrameSize: 16384,
			SendPingTimeout: options.ConnectionTimeout},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if l.sites[0].tls != nil {
		server.TLSConfig = l.tlsConfig()
	}
	return server
}

// connectionContext lets a request find its connection.
func connectionContext(ctx context.Context, conn net.Conn) context.Context {
	if encrypted, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = encrypted.NetConn()
	}
	return context.WithValue(ctx, connectionKey{}, conn)
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
		sv.accepting.Add(1)
		go func() {
			defer sv.accepting.Done()
			if err := l.serve(); !sv.stopping.Load() {
				failed <- fmt.Errorf("aerys: listening on %v: %w", l.address, err)
			}
		}()
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

// stop stops accepting, the Stoppers, and the connections.
func (sv *service) stop(cause error) error {
	deadline := time.Now().Add(sv.options.ShutdownTimeout)
	sv.stopping.Store(true)
	sv.close()
	sv.accepting.Wait()
	stopped := make(chan error, 1)
	go func() { stopped <- sv.stopActions() }()
	sv.drain(deadline, cause == errHandedOver)
	sv.connections.closeFresh()
	return errors.Join(sv.shutDown(deadline), <-stopped)
}

// close releases the ports.
func (sv *service) close() {
	for _, l := range sv.listeners {
		if l.bound != nil {
			l.bound.Close()
		}
	}
}

// silence is how long a stop waits for the first request of connections that
// were accepted just before it. net/http would drop them, and a browser that
// opened one in advance never sends anything.
const silence = 500 * time.Millisecond

// drain waits until every accepted connection had its first request and no
// request is under way. After a hand-over, where nobody waits for the end, it
// lets idle clients come once more, to be told that the connection closes.
func (sv *service) drain(deadline time.Time, handedOver bool) {
	quiet := time.Now().Add(silence)
	for now := time.Now(); now.Before(deadline); now = time.Now() {
		expected := sv.connections.waiting() > 0 || handedOver && sv.connections.open.Load() > 0
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
	var servers sync.WaitGroup
	for _, l := range sv.listeners {
		servers.Add(1)
		go func() {
			defer servers.Done()
			l.server.Shutdown(ctx)
		}()
	}
	servers.Wait()
	lost := sv.underWay()
	for _, l := range sv.listeners {
		l.server.Close()
	}
	if lost > 0 {
		return fmt.Errorf("aerys: %d requests were cut off after ShutdownTimeout (%v)", lost, sv.options.ShutdownTimeout)
	}
	return nil
}
