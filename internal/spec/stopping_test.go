package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
)

// events is a list that several goroutines write.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, text)
}

func (e *events) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.list, ", ")
}

// part is an action that is started and stopped.
type part struct {
	name        string
	log         *events
	start, stop error
}

func (p *part) Serve(_ *aerys.Request, res *aerys.Response) {}
func (p *part) Start(ctx context.Context) error             { p.log.add("start " + p.name); return p.start }
func (p *part) Stop(ctx context.Context) error              { p.log.add("stop " + p.name); return p.stop }
func (p *part) Monitor() any                                { return p.name }

func TestStartAndStopInOrder(t *testing.T) {
	log := new(events)
	a, b, c := &part{name: "a", log: log}, &part{name: "b", log: log}, &part{name: "c", log: log}
	s := run(t, aerys.Options{}, local("x").Name("x").Use(a, b, a), local("y").Name("y").Use(c, b))
	if got := log.String(); got != "start a, start b, start c" {
		t.Error(got)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if got := log.String(); got != "start a, start b, start c, stop c, stop b, stop a" {
		t.Error(got)
	}
}

func TestFailedStartReleasesEverything(t *testing.T) {
	log := new(events)
	boom := errors.New("boom")
	port := freePort(t)
	a, b, c := &part{name: "a", log: log}, &part{name: "b", log: log, start: boom}, &part{name: "c", log: log}
	s := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", port).Expose("127.0.0.1", 0).Use(a, b, c)}}
	err := s.Serve(context.Background())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "aerys: starting *spec.part: boom") {
		t.Errorf("Serve returned %v", err)
	}
	if got := log.String(); got != "start a, start b, stop a" {
		t.Error(got)
	}
	isFree(t, port)
}

func TestPortsAreReleasedWhenOneIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	log, port := new(events), freePort(t)
	s := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", port).Expose("127.0.0.1", taken.Addr().(*net.TCPAddr).Port).Use(&part{name: "a", log: log})}}
	if err := s.Serve(context.Background()); err == nil || log.String() != "" {
		t.Errorf("Serve returned %v after %v", err, log)
	}
	isFree(t, port)
}

// isFree holds that a server has left its port.
func isFree(t *testing.T, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal("the port is still taken: ", err)
	}
	l.Close()
}

func TestStopLetsRequestsFinish(t *testing.T) {
	log := new(events)
	entered, release := make(chan struct{}), make(chan struct{})
	last := &part{name: "a", log: log}
	s := run(t, aerys.Options{}, at(last, func(_ *aerys.Request, res *aerys.Response) {
		close(entered)
		<-release
		log.add("answered")
		res.End("complete")
	}))
	idle := dial(t, s.addresses[0]) // never sends anything
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	began := time.Now()
	s.cancel()
	eventually(t, "Stoppers do not wait for requests", func() bool { return strings.Contains(log.String(), "stop a") })
	if _, err := net.Dial("tcp", s.addresses[0].String()); err == nil {
		t.Error("a connection was accepted while stopping")
	}
	close(release)
	text, _ := io.ReadAll(conn)
	if _, body := statusAndBody(t, string(text)); body != "complete" {
		t.Errorf("%q", text)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if spent := time.Since(began); spent > 2*time.Second {
		t.Errorf("a silent connection kept the server from stopping for %v", spent)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection was not closed")
	}
}

func TestStopIsForcedInTheEnd(t *testing.T) {
	entered := make(chan struct{})
	s := run(t, aerys.Options{ShutdownTimeout: 50 * time.Millisecond}, at(func(req *aerys.Request, res *aerys.Response) {
		close(entered)
		<-req.Context().Done() // until the connection is cut
	}))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	if err := s.stop(); err == nil || err.Error() != "aerys: 1 requests were cut off after ShutdownTimeout (50ms)" {
		t.Errorf("Serve returned %v", err)
	}
	if text, _ := io.ReadAll(conn); len(text) != 0 {
		t.Errorf("%q", text)
	}
	for _, line := range []string{`serving" addresses=`, `stopping" cause="context canceled" requests=1 connections=1`, `stopped" lost=1 took=`} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("no %s in %s", line, s.log)
		}
	}
}

func TestStopperErrorsAreReturned(t *testing.T) {
	boom := errors.New("boom")
	s := run(t, aerys.Options{}, local("a").Use(&part{log: new(events), stop: boom}))
	if err := s.stop(); !errors.Is(err, boom) {
		t.Errorf("Serve returned %v", err)
	}
}

func TestConnectionsAcceptedBeforeTheStopAreServed(t *testing.T) {
	s := run(t, aerys.Options{}, local("served"))
	conn := dial(t, s.addresses[0])
	eventually(t, "accepted", func() bool { return s.open() == 1 })
	s.cancel()
	eventually(t, "stopping", func() bool { return s.state().Stopping })
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, _ := io.ReadAll(conn); !strings.HasSuffix(string(text), "served") {
		t.Errorf("%q", text)
	}
}

func TestHealthTurnsWhileStopping(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := run(t, aerys.Options{}, at(aerys.Router().
		Get("/healthz", aerys.HealthHandler).
		Get("/slow", func(_ *aerys.Request, res *aerys.Response) {
			close(entered)
			<-release
			res.End()
		})))
	if text := s.get(t, "/healthz"); !strings.HasSuffix(text, "serving\n") {
		t.Errorf("%q", text)
	}
	probe, slow := dial(t, s.addresses[0]), dial(t, s.addresses[0])
	io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	eventually(t, "accepted", func() bool { return s.open() == 2 })
	s.cancel()
	eventually(t, "stopping", func() bool { return s.state().Stopping })
	io.WriteString(probe, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
	text, _ := io.ReadAll(probe)
	if status, body := statusAndBody(t, string(text)); status != 503 || body != "stopping\n" {
		t.Errorf("%d %q", status, body)
	}
	close(release)
}

// stream answers with events until its client or the server has enough.
func stream(req *aerys.Request, res *aerys.Response) {
	res.SetHeader("Content-Type", "text/event-stream").Flush()
	select {
	case <-req.Stopping():
		res.End("data: bye\n\n")
	case <-req.Context().Done():
	}
}

// What has no end of its own ends when the server stops, and delays nothing.
func TestStreamsEndWhenTheServerStops(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s, url, client := runOver(t, protocol, aerys.Options{ShutdownTimeout: time.Hour}, new(aerys.Host).Use(stream))
			response, err := client.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			stopped := make(chan error, 1)
			go func() { stopped <- s.stop() }()
			is(t, bodyOf(response), "data: bye\n\n")
			is(t, <-stopped, "<nil>")
		})
	}
}

// Without a Server that could stop, nothing does.
func TestStoppingWithoutServer(t *testing.T) {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) { res.End(fmt.Sprint(req.Stopping() == nil)) })
	is(t, answer(asked("GET", "/", ""), host).Body, "true")
}
