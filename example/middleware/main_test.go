package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"aerys"
)

// serve runs a server of the actions, and returns its URL.
func serve(t *testing.T, actions ...aerys.Action) string {
	t.Helper()
	ready, stopped := make(chan net.Addr, 1), make(chan error, 1)
	server := &aerys.Server{
		Options: aerys.Options{Logger: slog.New(slog.DiscardHandler)},
		Hosts:   []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(actions...)},
		Ready:   func(addresses []net.Addr) { ready <- addresses[0] },
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() { stopped <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return "http://" + (<-ready).String()
}

// rows are requests, and what each middleware is to see of their answers.
var rows = []struct {
	method, path string
	size         int // of a body
	status       int
	body         string // some of it
}{
	{"GET", "/hello", 0, 200, "Hello, "},
	{"GET", "/standard", 0, 200, "Hello from net/http!"},
	{"POST", "/upload", 1000, 200, "1000"},
	{"GET", "/stream", 0, 200, "data: 0\n\ndata: 1\n\ndata: 2\n\n"},
	{"GET", "/nowhere", 0, 404, "There is nothing at this address."},
	{"POST", "/hello", 0, 405, "405 Method Not Allowed"},
	{"TRACE", "/hello", 0, 405, "405 Method Not Allowed"},
	{"POST", "/upload", 1001, 413, "MaxBodySize (1000)"},
	{"GET", "/panic", 0, 500, "Something went wrong on the server."},
	{"GET", "/fail", 0, 500, "Something went wrong on the server."},
	{"BREW", "/hello", 0, 501, "501 Not Implemented"},
	{"GET", "/slow", 0, 504, ""},
}

// ask does what a row says, and checks the answer. It is asked in an origin's name,
// by a client that takes gzip.
func ask(t *testing.T, url, method, path string, size, status int, body string) *http.Response {
	t.Helper()
	request, err := http.NewRequest(method, url+path, strings.NewReader(strings.Repeat("x", size)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Origin", "https://app.example")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != status || !strings.Contains(string(got), body) {
		t.Errorf("%s %s: %d %s, %v", method, path, response.StatusCode, got, err)
	}
	return response
}

// lines is a Writer for several goroutines that hands out what came.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	l.text.Reset()
	return text
}

// TestEachSeesEveryAnswer has each middleware alone around the routes, and all
// together: each sees the status that the client gets.
func TestEachSeesEveryAnswer(t *testing.T) {
	out, registry, spans := new(lines), prometheus.NewRegistry(), tracetest.NewInMemoryExporter()
	metrics := serve(t, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	counts := counting(registry)
	counted := make(map[string]int)
	watchers := map[string]struct {
		middleware aerys.Action
		saw        func(method, path string, status int) (what string, ok bool)
	}{
		"chi's Logger": {logging(out), func(method, path string, status int) (string, bool) {
			line := out.take()
			return line, strings.Contains(line, path+" HTTP/1.1\" from ") && strings.Contains(line, fmt.Sprintf(" - %d ", status))
		}},
		"gorilla's LoggingHandler": {func(next http.Handler) http.Handler { return handlers.LoggingHandler(out, next) },
			func(method, path string, status int) (string, bool) {
				line := out.take()
				return line, strings.Contains(line, fmt.Sprintf("\"%s %s HTTP/1.1\" %d ", method, path, status))
			}},
		"promhttp": {counts, func(method, _ string, status int) (string, bool) {
			if method == "BREW" {
				method = "unknown"
			}
			series := fmt.Sprintf("requests_total{code=\"%d\",method=\"%s\"}", status, strings.ToLower(method))
			counted[series]++
			text := page(t, metrics)
			return text, strings.Contains(text, fmt.Sprintf("%s %d\n", series, counted[series]))
		}},
		"otelhttp": {tracing(provider), func(_, _ string, status int) (string, bool) {
			defer spans.Reset()
			for _, attribute := range spans.GetSpans()[0].Attributes {
				if attribute.Key == "http.response.status_code" {
					return attribute.Value.Emit(), attribute.Value.AsInt64() == int64(status)
				}
			}
			return "no status", false
		}},
	}
	for name, watcher := range watchers {
		t.Run(name, func(t *testing.T) {
			for around, url := range map[string]string{
				"alone":   serve(t, watcher.middleware, routes(1)),
				"outside": serve(t, watcher.middleware, crossOrigin(), handlers.CompressHandler, middleware.Compress(5), routes(1)),
				"inside":  serve(t, middleware.RequestID, crossOrigin(), handlers.CompressHandler, watcher.middleware, routes(1)),
			} {
				for _, row := range rows {
					ask(t, url, row.method, row.path, row.size, row.status, row.body)
					if what, ok := watcher.saw(row.method, row.path, row.status); !ok {
						t.Errorf("%s, %s %s: saw %s", around, row.method, row.path, what)
					}
				}
			}
		})
	}
}

// page returns what is at a URL.
func page(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

// TestErrorsKeepTheirHeader: what rs/cors and gorilla's compression say of an answer
// is said of errors, too, and a preflight ends there.
func TestErrorsKeepTheirHeader(t *testing.T) {
	url := serve(t, crossOrigin(), handlers.CompressHandler, routes(1))
	for _, row := range rows {
		response := ask(t, url, row.method, row.path, row.size, row.status, row.body)
		allowed := row.method == "GET" || row.method == "POST"
		if allowed != (response.Header.Get("Access-Control-Allow-Origin") == "https://app.example") {
			t.Errorf("%s %s: %v", row.method, row.path, response.Header)
		}
		if row.body != "" && !response.Uncompressed {
			t.Errorf("%s %s: not compressed: %v", row.method, row.path, response.Header)
		}
	}
	request, _ := http.NewRequest("OPTIONS", url+"/upload", nil)
	request.Header.Set("Origin", "https://app.example")
	request.Header.Set("Access-Control-Request-Method", "POST")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 204 || response.Header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Error(response)
	}
}

// TestAllTogether has the middleware as main puts it, and a request id in what the
// handler says.
func TestAllTogether(t *testing.T) {
	out, registry, spans := new(lines), prometheus.NewRegistry(), tracetest.NewInMemoryExporter()
	url := serve(t, logging(out), crossOrigin(), counting(registry), tracing(trace.NewTracerProvider(trace.WithSyncer(spans))),
		handlers.CompressHandler, routes(1), promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	for _, row := range rows {
		if row.status == 404 { // the metrics are last
			continue
		}
		ask(t, url, row.method, row.path, row.size, row.status, row.body)
		if line := out.take(); !strings.Contains(line, fmt.Sprintf(" - %d ", row.status)) {
			t.Errorf("%s %s: logged %s", row.method, row.path, line)
		}
	}
	if text := page(t, url+"/metrics"); !strings.Contains(text, `requests_total{code="504",method="get"} 1`) || len(spans.GetSpans()) != len(rows) {
		t.Errorf("%d spans, %s", len(spans.GetSpans()), text)
	}
}
