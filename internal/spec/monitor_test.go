package spec

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
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

// TestMonitorAnswersInTheTypePreferred has in each row what a client accepts, and
// what it gets.
func TestMonitorAnswersInTheTypePreferred(t *testing.T) {
	s := run(t, aerys.Options{}, at(aerys.MonitorHandler))
	for accept, want := range map[string]string{
		"":                                  "application/json",
		"*/*":                               "application/json",
		"application/json, text/html;q=0.9": "application/json",
		"text/html;q=0.5, application/json;q=0.5":                                               "application/json",
		"application/json;q=0.1, text/*":                                                        "text/plain; version=0.0.4; charset=utf-8",
		"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8": "text/html; charset=utf-8",
		"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2": "text/plain; version=0.0.4; charset=utf-8",
		"text/event-stream": "text/event-stream",
	} {
		request, _ := http.NewRequest("HEAD", s.url(), nil) // of which events have an end
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(accept, err)
		}
		response.Body.Close()
		is(t, response.Header.Get("Content-Type"), want)
		is(t, response.Header.Get("Cache-Control"), "no-store")
		policy := response.Header.Get("Content-Security-Policy")
		if html := strings.HasPrefix(want, "text/html"); html != strings.HasPrefix(policy, "default-src 'none'") || html != (strings.Count(policy, "'sha256-") == 2) {
			t.Errorf("%s: the policy is %q", want, policy)
		}
	}
}

// telling is a Monitor.
type telling struct{ state any }

func (m telling) Monitor() any                        { return m.state }
func (telling) Serve(*aerys.Request, *aerys.Response) {}

// A Monitor that cannot be written down makes no answer that looks like one.
func TestMonitorOfWhatCannotBeTold(t *testing.T) {
	s := run(t, aerys.Options{}, at(aerys.MonitorHandler, telling{struct {
		Orders chan int `metric:"orders_total counter Orders so far."`
	}{}}))
	for _, accept := range []string{"application/json", "text/plain", "text/event-stream"} {
		text := converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept: "+accept+"\r\n\r\n")
		if status, _ := statusAndBody(t, text); status != 500 {
			t.Errorf("%s: %s", accept, text)
		}
	}
}

// The page has all in it, save what it asks of its own address.
func TestMonitorPageIsSelfContained(t *testing.T) {
	s := run(t, aerys.Options{}, at(aerys.MonitorHandler))
	_, html := statusAndBody(t, converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n"))
	for _, outside := range regexp.MustCompile(`(?i)(src|href|action)=\S*|url\(|import |https?://[^ ]*`).FindAllString(html, -1) {
		if outside != `href="data:,">` && !strings.HasPrefix(outside, "http://www.w3.org/") {
			t.Errorf("the page asks for %s", outside)
		}
	}
	if !strings.Contains(html, "<noscript>") || strings.Contains(html, "innerHTML") {
		t.Errorf("%s", html)
	}
}

// Events come until the server stops, which does not wait for whoever looks on.
func TestMonitorStream(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s, url, client := runOver(t, protocol, aerys.Options{ShutdownTimeout: time.Hour}, new(aerys.Host).Use(aerys.MonitorHandler))
			request, _ := http.NewRequest("GET", url, nil)
			request.Header.Set("Accept", "text/event-stream")
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			for range 2 {
				lines.Scan()
				event, isData := strings.CutPrefix(lines.Text(), "data: ")
				var state aerys.ServerState
				if err := json.Unmarshal([]byte(event), &state); !isData || err != nil || state.Hosts[0].Active != 1 || state.Process.Goroutines < 1 || state.Process.Heap < 1 || state.Process.Memory < 1 {
					t.Errorf("%q (%v)", lines.Text(), err)
				}
				lines.Scan()
				is(t, lines.Text(), "")
			}
			stopped := make(chan error, 1)
			go func() { stopped <- s.stop() }()
			for lines.Scan() {
			}
			is(t, lines.Err(), "<nil>")
			is(t, <-stopped, "<nil>")
		})
	}
}

// Nothing that is not there is told of.
func TestMonitorHasNoEmptyLists(t *testing.T) {
	s := run(t, aerys.Options{}, local("b").Name("b"), at(aerys.Router().Get("/a", says("a")).Get("/m", aerys.MonitorHandler),
		static.FS(fstest.MapFS{}), ws.Websocket(new(app))))
	_, body := statusAndBody(t, s.get(t, "/m"))
	if strings.Contains(body, "null") || strings.Contains(body, "[]") || !strings.Contains(body, `"messages_read":0`) || !strings.Contains(body, `"buffered_bytes":0`) {
		t.Error(body)
	}
}

// TestMonitorCountsRefusals has requests that reach no host, and their status.
func TestMonitorCountsRefusals(t *testing.T) {
	s := run(t, aerys.Options{}, local("a").Name("a"))
	for _, text := range []string{
		request("b", "/"), "GET / HTTP/1.1\r\n\r\n", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 40_000) + "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n",
	} {
		converse(t, s.addresses[0], text)
	}
	state := s.state()
	is(t, state.Refusals, "map[400:3 417:1 431:1]")
	is(t, state.Hosts[0].Requests, "map[1xx:0 2xx:0 3xx:0 4xx:0 5xx:0]")
}

// What is registered often is told of once, where it comes first.
func TestMonitorTellsOnce(t *testing.T) {
	shared, log := &part{name: "shared"}, new(events)
	shared.log = log
	s := run(t, aerys.Options{},
		local("x").Name("x").Use(aerys.Router().Use(shared).Get("/a", says("a")).Post("/b", shared, &part{name: "b", log: log})),
		at(shared, &part{name: "last", log: log}, aerys.Router().Mount("/c", shared)))
	hosts := s.state().Hosts
	is(t, hosts[0].Handlers, "[map[GET:map[/a:[shared]] POST:map[/b:[b]]]]")
	is(t, hosts[1].Handlers, "[last]")
}

// Every figure has one name, spelled alike, and is one of Prometheus's, too.
func TestEveryFigureHasItsNames(t *testing.T) {
	for _, of := range []any{aerys.ServerState{}, aerys.HostState{}, ws.State{}, static.Figures{}} {
		figures(t, reflect.TypeOf(of))
	}
}

var spelling = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*(,omitempty|,omitzero)?$`)

func figures(t *testing.T, of reflect.Type) {
	for i := range of.NumField() {
		field := of.Field(i)
		kind, metric := field.Type.Kind(), field.Tag.Get("metric")
		if kind == reflect.Pointer {
			figures(t, field.Type.Elem())
			continue
		}
		if name := field.Tag.Get("json"); !field.Anonymous && !spelling.MatchString(name) {
			t.Errorf("%v.%s is %q in JSON", of, field.Name, name)
		}
		switch {
		case kind == reflect.Struct && metric == "" && field.Type != reflect.TypeFor[time.Time]():
			figures(t, field.Type)
		case kind == reflect.Slice || field.Tag.Get("label") != "":
		case !strings.HasPrefix(metric, "aerys_") && !strings.HasPrefix(metric, "go_"):
			t.Errorf("%v.%s is %q for Prometheus", of, field.Name, metric)
		}
	}
}
