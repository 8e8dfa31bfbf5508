package spec

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"aerys"
)

func TestMonitor(t *testing.T) {
	log := new(events)
	s := run(t, aerys.Options{},
		local("x").Name("a.example").Use(&part{name: "ignored", log: log}),
		new(aerys.Host).Expose("127.0.0.1", 0).Expose("::1", 0).Use(&part{name: "counted", log: log}, aerys.Router().
			Get("/ok", says("ok"), &part{name: "routed", log: log}).Get("/metrics", aerys.MonitorHandler).Get("/healthz", aerys.HealthHandler),
			func(req *aerys.Request, _ *aerys.Response) {
				if req.URL.Path == "/panic" {
					panic("x")
				}
			}))
	for _, path := range []string{"/ok", "/ok", "/missing", "/panic"} {
		converse(t, s.addresses[0], request("b", path))
	}
	_, text := statusAndBody(t, converse(t, s.addresses[0], request("b", "/metrics")))
	var state aerys.ServerState
	if err := json.Unmarshal([]byte(text), &state); err != nil {
		t.Fatal(err, text)
	}
	if len(state.Hosts) != 2 || state.Stopping || state.Since.IsZero() {
		t.Fatalf("%s", text)
	}
	c, h := state.Connections, state.Hosts[1]
	if c.Open != 1 || c.Accepted != 5 || c.Refused != 0 || c.Received < 5*50 || c.Sent < 4*100 {
		t.Errorf("%+v", c)
	}
	if h.Name != "*" || strings.Join(h.Addresses, " ") != "127.0.0.1:0 [::1]:0" || h.Active != 1 || h.Durations.Seconds <= 0 || h.Durations.Count != 4 {
		t.Errorf("%+v", h)
	}
	for class, want := range map[string]int64{"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 1, "5xx": 1} {
		if h.Requests[class] != want {
			t.Errorf("%s: %d, want %d", class, h.Requests[class], want)
		}
	}
	if len(h.Handlers) != 2 || h.Handlers[0] != "counted" || fmt.Sprint(h.Handlers[1]) != "map[GET:map[/ok:[routed]]]" {
		t.Errorf("handlers: %v", h.Handlers)
	}
}

func TestMonitorForPrometheus(t *testing.T) {
	s := run(t, aerys.Options{}, at(aerys.MonitorHandler))
	text := converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nConnection: close\r\n\r\n")
	_, body := statusAndBody(t, text)
	for _, want := range []string{
		"# HELP aerys_connections Open client connections.\n# TYPE aerys_connections gauge\naerys_connections 1\n",
		"# TYPE aerys_sent_bytes_total counter\naerys_sent_bytes_total 0\n",
		`aerys_requests_active{host="*",address="127.0.0.1:0"} 1` + "\n",
		`aerys_requests_total{host="*",address="127.0.0.1:0",class="2xx"} 0` + "\n",
		`aerys_request_duration_seconds_bucket{host="*",address="127.0.0.1:0",le="0.0025"} 0` + "\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if !strings.Contains(text, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n") {
		t.Errorf("%s", text)
	}
}

// unspeakable is an action whose state JSON cannot express.
type unspeakable struct{ part }

func (*unspeakable) Monitor() any { return make(chan int) }

func TestMonitorThatJSONCannotExpress(t *testing.T) {
	s := run(t, aerys.Options{}, at(&unspeakable{part{log: new(events)}}, aerys.MonitorHandler))
	if status, _ := statusAndBody(t, s.get(t, "/")); status != 500 || !strings.Contains(s.log.String(), "JSON cannot express") {
		t.Errorf("status %d, log %s", status, s.log)
	}
}

func TestMonitorWithoutServer(t *testing.T) {
	if state := new(aerys.Server).Monitor(); state != nil {
		t.Errorf("%v", state)
	}
	s := run(t, aerys.Options{}, at(func(req *aerys.Request, res *aerys.Response) {
		plain := *req.Request // of another server
		req.Request = plain.WithContext(t.Context())
		aerys.MonitorHandler(req, res)
		if res.State() == aerys.None {
			aerys.HealthHandler(req, res)
		}
	}))
	if _, body := statusAndBody(t, s.get(t, "/")); body != "serving\n" {
		t.Errorf("%q", body)
	}
}
