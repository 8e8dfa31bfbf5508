package aerys

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

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

func (p *part) Serve(_ *Request, res *Response) {}
func (p *part) Start(ctx context.Context) error { p.log.add("start " + p.name); return p.start }
func (p *part) Stop(ctx context.Context) error  { p.log.add("stop " + p.name); return p.stop }
func (p *part) Monitor() any                    { return p.name }
func action(name string, log *events, err error) *part {
	return &part{name: name, log: log, start: err}
}

func TestStartAndStopInOrder(t *testing.T) {
	log := new(events)
	a, b, c := action("a", log, nil), action("b", log, nil), action("c", log, nil)
	s := runServer(t, Options{}, local("x").Name("x").Use(a, b, a), local("y").Name("y").Use(c, b))
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
	a, b, c := action("a", log, nil), action("b", log, boom), action("c", log, nil)
	s := &Server{Hosts: []*Host{new(Host).Expose("127.0.0.1", port).Expose("127.0.0.1", 0).Use(a, b, c)}}
	err := s.Serve(context.Background())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), "aerys: starting *aerys.part: boom") {
		t.Errorf("Serve returned %v", err)
	}
	if got := log.String(); got != "start a, start b, stop a" {
		t.Error(got)
	}
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal("the port is still taken: ", err)
	}
	l.Close()
}

func TestPortsAreReleasedWhenOneIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	log, port := new(events), freePort(t)
	s := &Server{Hosts: []*Host{new(Host).Expose("127.0.0.1", port).Expose("127.0.0.1", taken.Addr().(*net.TCPAddr).Port).Use(action("a", log, nil))}}
	if err := s.Serve(context.Background()); err == nil || log.String() != "" {
		t.Errorf("Serve returned %v after %v", err, log)
	}
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal("the free port is still taken: ", err)
	}
	l.Close()
}

func TestStopLetsRequestsFinish(t *testing.T) {
	log := new(events)
	entered, release := make(chan struct{}), make(chan struct{})
	last := &part{name: "a", log: log}
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(last, func(_ *Request, res *Response) {
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
	if _, err := net.Dial("tcp", s.addr()); err == nil {
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
	s := runServer(t, Options{ShutdownTimeout: 50 * time.Millisecond}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
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
}

func TestStopperErrorsAreReturned(t *testing.T) {
	boom := errors.New("boom")
	s := runServer(t, Options{}, local("a").Use(&part{log: new(events), stop: boom}))
	if err := s.stop(); !errors.Is(err, boom) {
		t.Errorf("Serve returned %v", err)
	}
}

func TestConnectionsAcceptedBeforeTheStopAreServed(t *testing.T) {
	s := runServer(t, Options{}, local("served"))
	conn := dial(t, s.addresses[0])
	eventually(t, "accepted", func() bool { return s.current.Load().connections.open.Load() == 1 })
	s.cancel()
	eventually(t, "stopping", s.current.Load().stopping.Load)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if text, _ := io.ReadAll(conn); !strings.HasSuffix(string(text), "served") {
		t.Errorf("%q", text)
	}
}

func TestPanics(t *testing.T) {
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		switch req.URL.Path {
		case "/":
			res.End("alive")
			return
		case "/held":
			res.WriteString("secret")
		case "/streaming":
			res.WriteString("begun")
			res.Flush()
		case "/ended":
			res.End("done")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
		panic("at the disco")
	}))
	for _, test := range []struct {
		path   string
		status int // 0: the connection is aborted
		logged int
	}{{"/x%0aFAKE", 500, 1}, {"/held", 500, 1}, {"/streaming", 200, 1}, {"/ended", 200, 1}, {"/abort", 0, 0}} {
		before := strings.Count(s.log.String(), "panic in an action")
		text := s.get(t, s.addresses[0], "a", test.path)
		if got := 0; text != "" {
			if fmt.Sscanf(text, "HTTP/1.1 %d", &got); got != test.status {
				t.Errorf("%s: status %d, want %d", test.path, got, test.status)
			}
		} else if test.status != 0 {
			t.Errorf("%s: no answer", test.path)
		}
		if strings.Contains(text, "disco") || strings.Contains(text, "secret") || strings.HasSuffix(text, "0\r\n\r\n") && test.status != 500 {
			t.Errorf("%s: answered %q", test.path, text)
		}
		if n := strings.Count(s.log.String(), "panic in an action") - before; n != test.logged {
			t.Errorf("%s: logged %d times, want %d", test.path, n, test.logged)
		}
	}
	if log := s.log.String(); strings.Contains(log, "\nFAKE") || !strings.Contains(log, `path="/x\nFAKE"`) || !strings.Contains(log, "host_server_test.go") {
		t.Errorf("log: %s", log)
	}
	if _, body := statusAndBody(t, s.get(t, s.addresses[0], "a", "/")); body != "alive" {
		t.Errorf("afterwards: %q", body)
	}
}

func TestPanicIsShownInDebugMode(t *testing.T) {
	s := runServer(t, Options{Debug: true}, new(Host).Expose("127.0.0.1", 0).Use(func(*Request, *Response) { panic("<here>") }))
	status, body := statusAndBody(t, s.get(t, s.addresses[0], "a", "/"))
	if status != 500 || !strings.Contains(body, "&lt;here&gt;") || !strings.Contains(body, "host_server_test.go") {
		t.Errorf("%d %s", status, body)
	}
}

func TestKeepAlive(t *testing.T) {
	s := runServer(t, Options{}, local("x"))
	conn := dial(t, s.addresses[0])
	reader := bufio.NewReader(conn)
	for range 3 {
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.Close {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
	}
	if a := s.Monitor().(ServerState).Connections.Accepted; a != 1 {
		t.Errorf("%d connections", a)
	}
}
