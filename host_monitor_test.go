package aerys

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
)

func TestMonitor(t *testing.T) {
	log := new(events)
	s := runServer(t, Options{},
		local("x").Name("a.example").Use(&part{name: "ignored", log: log}),
		new(Host).Expose("127.0.0.1", 0).Expose("::1", 0).Use(&part{name: "counted", log: log}, Router().
			Get("/ok", answer("ok")).Get("/metrics", MonitorHandler).Get("/healthz", HealthHandler),
			func(req *Request, _ *Response) {
				if req.URL.Path == "/panic" {
					panic("x")
				}
			}))
	for _, path := range []string{"/ok", "/ok", "/missing", "/panic"} {
		s.get(t, s.addresses[0], "b", path)
	}
	_, text := statusAndBody(t, s.get(t, s.addresses[0], "b", "/metrics"))
	var state ServerState
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
	if h.Name != "*" || strings.Join(h.Addresses, " ") != "127.0.0.1:0 [::1]:0" || h.Active != 1 || h.Seconds <= 0 {
		t.Errorf("%+v", h)
	}
	for class, want := range map[string]int64{"1xx": 0, "2xx": 2, "3xx": 0, "4xx": 1, "5xx": 1} {
		if h.Requests[class] != want {
			t.Errorf("%s: %d, want %d", class, h.Requests[class], want)
		}
	}
	if len(h.Handlers) != 2 || h.Handlers[0] != "counted" || !strings.Contains(text, "/healthz") {
		t.Errorf("handlers: %v", h.Handlers)
	}
}

func TestMonitorForPrometheus(t *testing.T) {
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(MonitorHandler))
	text := converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\nConnection: close\r\n\r\n")
	_, body := statusAndBody(t, text)
	for _, want := range []string{
		"# HELP aerys_connections Open client connections.\n# TYPE aerys_connections gauge\naerys_connections 1\n",
		"# TYPE aerys_sent_bytes_total counter\naerys_sent_bytes_total 0\n",
		`aerys_requests_active{host="*",address="127.0.0.1:0"} 1` + "\n",
		`aerys_requests_total{host="*",address="127.0.0.1:0",class="2xx"} 0` + "\n",
		`aerys_request_seconds_total{host="*",address="127.0.0.1:0"} 0` + "\n",
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
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(&unspeakable{part{log: new(events)}}, MonitorHandler))
	if status, _ := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); status != 500 || !strings.Contains(s.log.String(), "JSON cannot express") {
		t.Errorf("status %d, log %s", status, s.log)
	}
}

func TestHealthTurnsWhileStopping(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(Router().
		Get("/healthz", HealthHandler).
		Get("/slow", func(_ *Request, res *Response) {
			close(entered)
			<-release
			res.End()
		})))
	if text := s.get(t, s.addresses[0], "a", "/healthz"); !strings.HasSuffix(text, "serving\n") {
		t.Errorf("%q", text)
	}
	probe, slow := dial(t, s.addresses[0]), dial(t, s.addresses[0])
	io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	eventually(t, "accepted", func() bool { return s.open() == 2 })
	s.cancel()
	eventually(t, "stopping", s.current.Load().stopping.Load)
	io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	text, _ := io.ReadAll(probe)
	if status, body := statusAndBody(t, string(text)); status != 503 || body != "stopping\n" {
		t.Errorf("%d %q", status, body)
	}
	close(release)
}

func TestMonitorWithoutServer(t *testing.T) {
	if state := new(Server).Monitor(); state != nil {
		t.Errorf("%v", state)
	}
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		plain := *req.Request // of another server
		req.Request = plain.WithContext(t.Context())
		MonitorHandler(req, res)
		if res.State() == None {
			HealthHandler(req, res)
		}
	}))
	if _, body := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); body != "serving\n" {
		t.Errorf("%q", body)
	}
}
