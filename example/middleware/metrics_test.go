package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"testing/fstest"

	"aerys"
	"aerys/static"
	"aerys/ws"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// silence is a WebSocket endpoint that says nothing.
type silence struct{}

func (*silence) OnStart(*ws.Endpoint) error { return nil }

func (*silence) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (*silence) OnOpen(ws.ClientID, struct{}) {}

func (*silence) OnData(ws.ClientID, *ws.Message) {}

func (*silence) OnClose(ws.ClientID, ws.Code, string) {}

func (*silence) OnStop() {}

// watched runs a server with something of everything at a Unix socket until the
// test ends, and returns a client of it.
func watched(t *testing.T, socket string) *http.Client {
	router := aerys.Router().Get("/metrics", aerys.MonitorHandler).Get("/ws", ws.Websocket(&silence{}))
	server := &aerys.Server{
		Options: aerys.Options{Logger: slog.New(slog.DiscardHandler)},
		Hosts:   []*aerys.Host{new(aerys.Host).Expose(socket, 0).Use(router, static.FS(fstest.MapFS{}))},
	}
	ready, stopped := make(chan error, 1), make(chan error, 1)
	server.Ready = func([]net.Addr) { ready <- nil }
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		err := server.Serve(ctx)
		ready <- err
		stopped <- err
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

// What MonitorHandler tells Prometheus is well-formed and called as it should be,
// whatever is in the names: the path of a Unix socket may have anything in it.
func TestMetricsAreWellFormed(t *testing.T) {
	client := watched(t, filepath.Join(t.TempDir(), "a\"\\\n\t\x01\xff"))
	for _, path := range []string{"/missing", "/ws"} { // the latter is refused
		answer, err := client.Get("http://a" + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	conn, _, err := ws.Dial(t.Context(), "http://a/ws", ws.DialOptions{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close(ws.CodeNormal, "")
	scrape, _ := http.NewRequest("GET", "http://a/metrics", nil)
	scrape.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
	answer, err := client.Do(scrape)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	problems, err := promlint.New(answer.Body).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}
