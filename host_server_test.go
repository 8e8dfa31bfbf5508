package aerys

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// A socket that no host is exposed on is closed.
func TestUnusedSocket(t *testing.T) {
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sv, _ := newService(Options{Logger: slog.New(slog.DiscardHandler)}.withDefaults(), []*Host{new(Host).Expose("127.0.0.1", 0)})
	defer sv.serving.Close()
	if err := sv.bind([]net.Listener{unused}); err != nil {
		t.Error(err)
	}
	if _, err := unused.Accept(); err == nil {
		t.Error("an unused socket is open")
	}
}

// get returns the status and the body of an answer.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// For DrainDelay everything is as it was, save that readiness tells of the end.
func TestDrainDelay(t *testing.T) {
	addresses, paused, over, stopped := make(chan string, 1), make(chan time.Duration), make(chan bool), make(chan error, 1)
	server := &Server{Options: Options{DrainDelay: time.Hour, Logger: slog.New(slog.DiscardHandler)}}
	server.Hosts = []*Host{new(Host).Expose("127.0.0.1", 0).Use(Router().Get("/healthz", HealthHandler).
		Get("/", func(req *Request, res *Response) {
			select {
			case <-req.Stopping():
				res.End("ends")
			default:
				res.End("served")
			}
		}))}
	server.Ready = func(bound []net.Addr) {
		server.current.Load().pause = func(delay time.Duration) { paused <- delay; <-over }
		addresses <- "http://" + bound[0].String()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { stopped <- server.Serve(ctx) }()
	url := <-addresses
	if status, body := get(t, url+"/healthz"); status != 200 || body != "serving\n" {
		t.Errorf("before: %d %q", status, body)
	}
	cancel()
	if delay := <-paused; delay != time.Hour {
		t.Errorf("a delay of %v", delay)
	}
	http.DefaultClient.CloseIdleConnections() // the port is open for new ones
	if status, body := get(t, url+"/healthz"); status != 503 || body != "stopping\n" || !server.Monitor().(ServerState).Stopping {
		t.Errorf("meanwhile: %d %q", status, body)
	}
	if status, body := get(t, url); status != 200 || body != "served" {
		t.Errorf("meanwhile: %d %q", status, body)
	}
	close(over)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if _, err := http.Get(url); err == nil {
		t.Error("the port is open after the stop")
	}
}
