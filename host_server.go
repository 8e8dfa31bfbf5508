package aerys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"aerys/internal/field"
	"aerys/internal/listen"
	"aerys/internal/page"
	"aerys/internal/serve"
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

// Serve serves until ctx is done, then stops gracefully and returns nil. The log
// hears of start and stop. Where Options.DrainDelay is set, the server serves on
// for that long first. Stopping means: no connection is accepted any more, idle ones are closed, and
// the actions that implement Stopper are stopped in reverse order while
// requests under way finish, which Request.Stopping tells those without an end. After Options.ShutdownTimeout the remaining
// connections are cut off, which is an error if requests were lost by it, as is
// a Stopper's error.
//
// Serve returns an error before it has accepted anything if the hosts
// contradict each other, an address cannot be bound, a certificate not be
// read, or a Starter fails.
func (s *Server) Serve(ctx context.Context) error {
	return s.serve(ctx, nil, func(*service) {})
}

func (s *Server) serve(ctx context.Context, inherited []net.Listener, ready func(*service)) error {
	sv, err := newService(s.Options.withDefaults(), s.Hosts)
	if err != nil {
		return err
	}
	s.current.Store(sv)
	serve.WarnOfTunnels(sv.options.Logger, sv.hasGateway())
	defer sv.serving.Close()
	if err := sv.bind(inherited); err != nil {
		return err
	}
	if err := listen.ChangeUser(sv.options.User, sv.serving.Files()); err != nil {
		return err
	}
	if err := sv.start(ctx); err != nil {
		return errors.Join(err, sv.stopActions())
	}
	if err := sv.serving.Accept(); err != nil {
		return errors.Join(err, sv.stop(err))
	}
	var addresses []net.Addr
	for _, bound := range sv.serving.Bound() {
		addresses = append(addresses, bound.Addr())
	}
	sv.options.Logger.Info("aerys: serving", "addresses", addresses)
	if s.Ready != nil {
		s.Ready(addresses)
	}
	ready(sv)
	<-ctx.Done()
	sv.drain(context.Cause(ctx))
	return sv.stop(context.Cause(ctx))
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
	serving     *serve.Server
	began       time.Time
	started     []any // actions, in the order of their start
	pause       func(time.Duration)

	glance  sync.Mutex // guards all below
	glanced time.Time
	seen    string // the state at that time, as JSON
}

// patience is for how many ConnectionTimeouts more of a body is waited for, and a
// client that takes nothing of a response: networks stall longer in the middle
// of something than before a header.
const patience = 10

func limitsOf(o *Options) *serve.Limits {
	return &serve.Limits{Connections: o.MaxConnections, PerIP: o.ConnectionsPerIP, Requests: o.MaxRequestsPerConnection,
		Streams: o.MaxConcurrentStreams, Tunnels: o.MaxSocketsPerConnection, HeaderBytes: o.MaxHeaderSize, Header: o.ConnectionTimeout, Idle: o.IdleTimeout,
		Progress: patience * o.ConnectionTimeout}
}

// newService finds out which host is where, and reads the certificates.
func newService(options *Options, hosts []*Host) (*service, error) {
	if len(hosts) == 0 {
		return nil, errors.New("aerys: a Server without Hosts has nothing to serve")
	}
	if err := options.check(); err != nil {
		return nil, err
	}
	sv := &service{options: options, serving: serve.New(limitsOf(options), options.Logger), began: time.Now(), pause: time.Sleep}
	sv.general = newErrorSite(options, &sv.serving.Refusals, http.StatusOK, "")
	sv.unknown = newErrorSite(options, &sv.serving.Refusals, http.StatusBadRequest, "There is no host of that name here.")
	sv.misdirected = newErrorSite(options, &sv.serving.Refusals, http.StatusMisdirectedRequest, "This host wants a connection of its own.")
	sv.busy = newErrorSite(options, &sv.serving.Refusals, http.StatusServiceUnavailable, "There are too many requests at once.")
	for _, h := range hosts {
		s := newSite(h, options)
		if err := s.readRules(); err != nil {
			return nil, fmt.Errorf("aerys: host %v on %v: %w", h, h.exposedOn(), err)
		}
		sv.sites = append(sv.sites, s)
		if err := sv.expose(s); err != nil {
			return nil, err
		}
	}
	return sv, nil
}

// gateway is an action that accepts an extended CONNECT, as those of package ws.
type gateway interface{ AcceptsConnect() }

// hasGateway reports whether some host has one.
func (sv *service) hasGateway() (has bool) {
	for _, s := range sv.sites {
		walk(s.host.actions, func(action any) {
			_, is := action.(gateway)
			has = has || is
		})
	}
	return has
}

// expose adds the site to the listeners of its addresses.
func (sv *service) expose(s *site) error {
	exposed, addresses := false, s.host.exposedOn()
	for _, a := range addresses {
		if s.host.port != 0 && s.host.port != a.Port {
			continue
		}
		exposed = true
		if err := sv.listener(a, s.tls != nil).add(s); err != nil {
			return err
		}
	}
	if !exposed {
		return fmt.Errorf("aerys: host %v: not exposed on the port in its name, but on %v", s.host, addresses)
	}
	return nil
}

// listener returns the listener of an address.
func (sv *service) listener(a listen.Address, encrypted bool) *listener {
	for _, l := range sv.listeners {
		if l.Address == a {
			return l
		}
	}
	l := &listener{service: sv}
	l.Listener = sv.serving.Listener(a, l, encrypted, l.rulesFor)
	sv.listeners = append(sv.listeners, l)
	return l
}

// bind binds every address, or none.
func (sv *service) bind(inherited []net.Listener) error {
	for _, l := range sv.listeners {
		if err := l.Bind(inherited); err != nil {
			return fmt.Errorf("aerys: host %v on %v: %w", l.sites[0].host, l.Address, err)
		}
	}
	for _, unused := range inherited {
		if unused != nil {
			sv.options.Logger.Warn("aerys: no host is exposed on an inherited socket", "address", unused.Addr().String())
			unused.Close()
		}
	}
	return nil
}

// start starts the Starters, and remembers what is to be stopped.
func (sv *service) start(ctx context.Context) (err error) {
	var actions []Action
	for _, s := range sv.sites {
		actions = append(actions, s.host.actions...)
	}
	walk(actions, func(action any) {
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

// drain tells that the server is about to stop, and serves on meanwhile, so that
// nobody sends it anything when it does. A successor has no need of that.
func (sv *service) drain(cause error) {
	sv.serving.Stopping.Store(true)
	if delay := sv.options.DrainDelay; delay > 0 && cause != serve.ErrHandedOver {
		sv.options.Logger.Info("aerys: about to stop, serving on", "cause", cause, "delay", delay)
		sv.pause(delay)
	}
}

// stop stops accepting, the Stoppers, and the connections.
func (sv *service) stop(cause error) error {
	began := time.Now()
	deadline := began.Add(sv.options.ShutdownTimeout)
	sv.options.Logger.Info("aerys: stopping", "cause", cause, "requests", sv.underWay(), "connections", sv.serving.Open.Load())
	sv.serving.EndAfterResponse()
	sv.serving.Close()
	stopped := make(chan error, 1)
	go func() { stopped <- sv.stopActions() }()
	sv.serving.Drain(deadline, sv.underWay)
	lost := sv.serving.ShutDown(deadline, sv.underWay)
	var err error
	if lost > 0 {
		err = fmt.Errorf("aerys: %d requests were cut off after ShutdownTimeout (%v)", lost, sv.options.ShutdownTimeout)
	}
	err = errors.Join(err, <-stopped)
	sv.options.Logger.Info("aerys: stopped", "lost", lost, "took", time.Since(began).Round(time.Millisecond))
	return err
}

// underWay is how many requests are being answered.
func (sv *service) underWay() (requests int64) {
	for _, s := range sv.sites {
		requests += s.traffic.Active()
	}
	return requests
}

// Run serves hosts with default Options as the program's whole business: see
// Server.Run.
func Run(hosts ...*Host) error { return (&Server{Hosts: hosts}).Run() }

// Run is Serve for a whole process. It prints a line with the URL of each
// address, stops gracefully on SIGINT and SIGTERM, and at once on the second
// of these signals.
//
// SIGHUP, which a terminal sends when it closes, ends nothing: certificates are read
// again when they change, and files of the log are the Logger's. After a clean
// stop Run returns nil, and the program should end with status 0:
//
//	if err := aerys.Run(host); err != nil {
//		log.Fatal(err)
//	}
//
// On Unix it listens on sockets that systemd passes (socket activation) where
// a host is exposed on their address, and SIGUSR2 replaces the program without
// a refused connection: the same command is started again, on the same sockets
// (port 0 excepted), and when the new process serves, this one stops
// gracefully. If the new one ends before, or does not serve after 90 s, this one
// kills it, says so in the log and serves on. It runs as the user that
// Options.User names, and has to be able to read the program and the
// certificates as that. A set-user-id or set-group-id program is not replaced, nor
// one that has made a listener itself (see [Host.Listen]).
//
// systemd is told when the server serves, stops, and is another process
// (sd_notify(3): a unit of Type=notify needs nothing else). Another supervisor that
// watches the process id, and a container's process 1, will take a hand-over for the
// end of the program.
func (s *Server) Run() error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := listen.StopSignals()
	defer close(signals)
	defer signal.Stop(signals)
	go serve.StopOn(signals, s.Options.withDefaults().Logger, cancel)
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
		if err := serving(); err != nil {
			sv.options.Logger.Warn("aerys: whoever waits for the start was not told", "error", err)
		}
		handingOver.Add(1)
		go func() {
			defer handingOver.Done()
			sv.serving.HandOverOn(ctx, handOver, cancel)
		}()
	})
	cancel(nil)
	handingOver.Wait() // no process stays that was to take over and has not
	return err
}

// ServerState is what Server.Monitor tells. Counts are since the start.
type ServerState struct {
	Since       time.Time       `json:"since" metric:"aerys_start_time_seconds gauge When the server started, in seconds since 1970."`
	Stopping    bool            `json:"stopping" metric:"aerys_stopping gauge Whether the server is about to stop."`
	Connections ConnectionState `json:"connections"`
	Process     ProcessState    `json:"process"`

	// Refusals are the requests that reached no host, by status: malformed ones,
	// those that name no host, and those that there was no room for.
	Refusals map[string]int64 `json:"refusals,omitempty" metric:"aerys_requests_refused_total{status} counter Requests that reached no host."`

	Hosts []HostState `json:"hosts"`
}

// ConnectionState counts the client connections of a server, and the bytes on
// the wire (those of upgraded connections are counted by their owner).
type ConnectionState struct {
	Open     int64 `json:"open" metric:"aerys_connections gauge Open client connections."` // upgraded ones included
	Accepted int64 `json:"accepted" metric:"aerys_connections_accepted_total counter Connections accepted."`
	Refused  int64 `json:"refused" metric:"aerys_connections_refused_total counter Connections refused for a limit."` // MaxConnections or ConnectionsPerIP
	Received int64 `json:"received_bytes" metric:"aerys_received_bytes_total counter Bytes received."`
	Sent     int64 `json:"sent_bytes" metric:"aerys_sent_bytes_total counter Bytes sent."`
}

// ProcessState is what the Go runtime has of the process.
type ProcessState struct {
	Goroutines int64 `json:"goroutines" metric:"go_goroutines gauge Goroutines that exist."`
	Heap       int64 `json:"heap_bytes" metric:"go_memstats_heap_alloc_bytes gauge Bytes of objects on the heap, dead ones that were not collected included."`
	Memory     int64 `json:"memory_bytes" metric:"aerys_memory_bytes gauge Bytes that the runtime has of the system, those given back excepted."`
}

// Monitor returns a ServerState, from any goroutine; nil before Serve.
func (s *Server) Monitor() any {
	if sv := s.current.Load(); sv != nil {
		return sv.state()
	}
	return nil
}

func (sv *service) state() ServerState {
	c := sv.serving
	received, sent := c.Loop.Traffic()
	state := ServerState{Since: sv.began, Stopping: c.Stopping.Load(), Connections: ConnectionState{
		c.Open.Load(), c.Accepted.Load(), c.Refused.Load(), received, sent}}
	state.Process.Goroutines, state.Process.Heap, state.Process.Memory = serve.Process()
	state.Refusals = c.Refusals.All()
	seen := make(map[any]bool)
	for _, s := range sv.sites {
		host := s.state(seen)
		for _, l := range sv.listeners {
			if slices.Contains(l.sites, s) {
				host.Addresses = append(host.Addresses, l.Address.String())
			}
		}
		state.Hosts = append(state.Hosts, host)
	}
	return state
}

// MonitorHandler is an action that answers with the ServerState of the Server
// it runs in: as JSON, or what the client prefers of text/plain, which is
// Prometheus's text format, text/html, a page that draws what happens while one
// looks at it, and text/event-stream, JSON once a second until the server stops. It
// falls through without a Server. Put it behind an action that lets only you pass:
//
//	router.Get("/metrics", onlyFromInside, aerys.MonitorHandler)
func MonitorHandler(req *Request, res *Response) {
	sv := serviceOf(req)
	if sv == nil {
		return
	}
	res.SetHeader("Cache-Control", "no-store").SetHeader("Vary", "Accept")
	switch media := field.PreferredMedia(req.Header["Accept"], "application/json", "text/plain", "text/html", field.EventStream); media {
	case "text/html":
		html, policy := page.Monitor()
		res.SetHeader("Content-Type", page.Type).SetHeader("Content-Security-Policy", policy).End(html)
	case "text/plain":
		res.SetHeader("Content-Type", page.MetricsType).End(page.Metrics(sv.state()))
	case field.EventStream:
		sv.follow(req, res.SetHeader("Content-Type", media).SetHeader("X-Accel-Buffering", "no"))
	default:
		res.SetHeader("Content-Type", media).End(sv.encodedState())
	}
}

// follow sends the state once a second, until the client leaves or the server stops.
func (sv *service) follow(req *Request, res *Response) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	if req.Method == http.MethodHead {
		res.End()
	}
	for res.State() != Ended {
		res.WriteString("data: " + sv.sharedState() + "\n\n")
		if res.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-req.Context().Done():
			return
		case <-req.Stopping():
			return
		}
	}
}

// sharedState is encodedState for those who look on at once, however many: for each,
// every client of a WebSocket endpoint is looked at.
func (sv *service) sharedState() string {
	sv.glance.Lock()
	defer sv.glance.Unlock()
	if time.Since(sv.glanced) > time.Second/2 {
		sv.seen, sv.glanced = sv.encodedState(), time.Now()
	}
	return sv.seen
}

// encodedState is the state as JSON.
func (sv *service) encodedState() string {
	text, err := json.Marshal(sv.state())
	if err != nil {
		panic(fmt.Errorf("aerys: a Monitor returned what JSON cannot express: %w", err))
	}
	return string(text)
}

// HealthHandler is an action that answers 200 while the Server it runs in
// serves, and 503 once it is stopping: for whoever decides where to send
// requests.
//
//	router.Get("/healthz", aerys.HealthHandler)
func HealthHandler(req *Request, res *Response) {
	res.SetHeader("Cache-Control", "no-store").SetHeader("Content-Type", "text/plain; charset=utf-8")
	if sv := serviceOf(req); sv != nil && sv.serving.Stopping.Load() {
		res.SetStatus(http.StatusServiceUnavailable).End("stopping\n")
		return
	}
	res.End("serving\n")
}

// serviceOf returns the running Server that a request came to, or nil.
func serviceOf(req *Request) *service {
	if l, ok := handlerOf(req.Request).(*listener); ok {
		return l.service
	}
	return nil
}
