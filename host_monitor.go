package aerys

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// ServerState is what Server.Monitor tells. Counts are since the start.
type ServerState struct {
	Since       time.Time       `json:"since"`
	Stopping    bool            `json:"stopping"`
	Connections ConnectionState `json:"connections"`
	Hosts       []HostState     `json:"hosts"`
}

// ConnectionState counts the client connections of a server, and the bytes on
// the wire (those of upgraded connections are counted by their owner).
type ConnectionState struct {
	Open     int64 `json:"open"` // upgraded ones included
	Accepted int64 `json:"accepted"`
	Refused  int64 `json:"refused"` // by MaxConnections or ConnectionsPerIP
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
}

// HostState counts the requests of a host.
type HostState struct {
	Name      string           `json:"name"`
	Addresses []string         `json:"addresses"`
	Active    int64            `json:"active"`   // requests being answered
	Requests  map[string]int64 `json:"requests"` // by class of status, "1xx" to "5xx"
	Seconds   float64          `json:"seconds"`  // spent on all of them
	Handlers  []any            `json:"handlers"` // what the actions that implement Monitor tell
}

// Monitor returns a ServerState, from any goroutine; nil before Serve.
func (s *Server) Monitor() any {
	if sv := s.current.Load(); sv != nil {
		return sv.state()
	}
	return nil
}

func (sv *service) state() ServerState {
	c := sv.connections
	received, sent := sv.loop.Traffic()
	state := ServerState{Since: sv.began, Stopping: sv.stopping.Load(), Connections: ConnectionState{
		c.open.Load(), c.accepted.Load(), c.refused.Load(), received, sent}}
	for _, s := range sv.sites {
		host := s.state()
		for _, l := range sv.listeners {
			if l.has(s) {
				host.Addresses = append(host.Addresses, l.address.String())
			}
		}
		state.Hosts = append(state.Hosts, host)
	}
	return state
}

func (s *site) state() HostState {
	state := HostState{Name: s.host.String(), Active: s.traffic.active(), Requests: make(map[string]int64),
		Seconds: time.Duration(s.traffic.nanos.Load()).Seconds(), Handlers: []any{}}
	for i := range s.traffic.classes {
		state.Requests[fmt.Sprintf("%dxx", i+1)] = s.traffic.classes[i].Load()
	}
	for _, action := range s.host.actions {
		if monitor, ok := action.(Monitor); ok {
			state.Handlers = append(state.Handlers, monitor.Monitor())
		}
	}
	return state
}

// MonitorHandler is an action that answers with the ServerState of the Server
// it runs in: as JSON, or in Prometheus's text format when the client accepts
// text/plain, as Prometheus does. It falls through without a Server. Put it
// behind an action that lets only you pass:
//
//	router.Get("/metrics", onlyFromInside, aerys.MonitorHandler)
func MonitorHandler(req *Request, res *Response) {
	sv := serviceOf(req)
	if sv == nil {
		return
	}
	state := sv.state()
	res.SetHeader("Cache-Control", "no-store").SetHeader("Vary", "Accept")
	if strings.Contains(req.Header.Get("Accept"), "text/plain") {
		res.SetHeader("Content-Type", "text/plain; version=0.0.4; charset=utf-8").End(state.prometheus())
		return
	}
	text, err := json.Marshal(state)
	if err != nil {
		panic(fmt.Errorf("aerys: a Monitor returned what JSON cannot express: %w", err))
	}
	res.SetHeader("Content-Type", "application/json").End(string(text))
}

// HealthHandler is an action that answers 200 while the Server it runs in
// serves, and 503 once it is stopping: for whoever decides where to send
// requests.
//
//	router.Get("/healthz", aerys.HealthHandler)
func HealthHandler(req *Request, res *Response) {
	res.SetHeader("Cache-Control", "no-store").SetHeader("Content-Type", "text/plain; charset=utf-8")
	if sv := serviceOf(req); sv != nil && sv.stopping.Load() {
		res.SetStatus(http.StatusServiceUnavailable).End("stopping\n")
		return
	}
	res.End("serving\n")
}

// serviceOf returns the running Server that a request came to, or nil.
func serviceOf(req *Request) *service {
	if server, ok := req.Context().Value(http.ServerContextKey).(*http.Server); ok {
		if l, ok := server.Handler.(*listener); ok {
			return l.service
		}
	}
	return nil
}

// prometheus writes the state in Prometheus's text format, version 0.0.4.
func (s ServerState) prometheus() string {
	var text strings.Builder
	metric := func(kind, name, help string, value int64) {
		fmt.Fprintf(&text, "# HELP %[2]s %[3]s\n# TYPE %[2]s %[1]s\n%[2]s %[4]d\n", kind, name, help, value)
	}
	c := s.Connections
	metric("gauge", "aerys_connections", "Open client connections.", c.Open)
	metric("counter", "aerys_connections_accepted_total", "Connections accepted.", c.Accepted)
	metric("counter", "aerys_connections_refused_total", "Connections refused for a limit.", c.Refused)
	metric("counter", "aerys_received_bytes_total", "Bytes received.", c.Received)
	metric("counter", "aerys_sent_bytes_total", "Bytes sent.", c.Sent)
	text.WriteString("# HELP aerys_requests_active Requests being answered.\n# TYPE aerys_requests_active gauge\n")
	for _, h := range s.Hosts {
		fmt.Fprintf(&text, "aerys_requests_active{%s} %d\n", h.labels(), h.Active)
	}
	text.WriteString("# HELP aerys_requests_total Requests answered.\n# TYPE aerys_requests_total counter\n")
	for _, h := range s.Hosts {
		for i := 1; i <= 5; i++ {
			class := fmt.Sprintf("%dxx", i)
			fmt.Fprintf(&text, "aerys_requests_total{%s,class=%q} %d\n", h.labels(), class, h.Requests[class])
		}
	}
	text.WriteString("# HELP aerys_request_seconds_total Time spent on requests.\n# TYPE aerys_request_seconds_total counter\n")
	for _, h := range s.Hosts {
		fmt.Fprintf(&text, "aerys_request_seconds_total{%s} %g\n", h.labels(), h.Seconds)
	}
	return text.String()
}

func (h HostState) labels() string {
	return fmt.Sprintf("host=%q,address=%q", h.Name, strings.Join(h.Addresses, " "))
}

// traffic counts the requests of one host.
type traffic struct {
	begun   atomic.Int64
	classes [5]atomic.Int64 // of those answered, 1xx to 5xx
	nanos   atomic.Int64    // time spent on them
}

// active is how many requests are being answered.
func (t *traffic) active() int64 {
	answered := int64(0)
	for i := range t.classes {
		answered += t.classes[i].Load()
	}
	return t.begun.Load() - answered
}

// epoch is what times are measured from: time.Since needs only the monotonic
// clock, time.Now reads two.
var epoch = time.Now()

// begin counts a request, and returns when.
func (t *traffic) begin() time.Duration {
	t.begun.Add(1)
	return time.Since(epoch)
}

// end counts the answer to a request that began at that time.
func (t *traffic) end(began time.Duration, status int) {
	t.nanos.Add(int64(time.Since(epoch) - began))
	t.classes[max(0, min(status/100-1, 4))].Add(1)
}
