//go:build linux

package aerys

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHandOverThatFails has a server hand over to programs that do not serve:
// each is killed with all that it has started, so that nobody is left who has
// the sockets, and the next attempt may succeed.
func TestHandOverThatFails(t *testing.T) {
	arguments := os.Args
	defer func() { os.Args = arguments }()
	const soon, late = 300 * time.Millisecond, time.Minute
	log, ready, stopped := new(lockedBuffer), make(chan string, 1), make(chan error, 1)
	server := &Server{
		Options: Options{Logger: slog.New(slog.NewTextHandler(log, nil))},
		Hosts:   []*Host{new(Host).Expose("127.0.0.1", 0).Use(answer("served"))},
		Ready:   func(addresses []net.Addr) { ready <- addresses[0].String() },
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() { stopped <- server.Serve(ctx) }()
	address, sv := <-ready, server.current.Load()
	signals := make(chan os.Signal, 1)
	failures := 0
	expect := func(name string, patience time.Duration, want string, program ...string) {
		t.Helper()
		os.Args, sv.serving.Patience = program, patience
		signals <- syscall.SIGUSR2
		failures++
		for end := time.Now().Add(20 * time.Second); strings.Count(log.String(), "hand-over failed, serving on") < failures; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(name, "does not end")
			}
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, want) {
			t.Errorf("%s: logged %s, want %q", name, last, want)
		}
		if response, err := http.Get("http://" + address); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			response.Body.Close()
		}
	}
	ended := make(chan struct{})
	go func() { sv.serving.HandOverOn(ctx, signals, cancel); close(ended) }()
	expect("one that hangs", soon, "does not serve after 300ms and is killed (signal: killed)", "sleep", "1000")
	expect("one that hangs in a child", soon, "does not serve after 300ms", "sh", "-c", "sleep 1000; true")
	expect("one that ignores signals", soon, "does not serve after 300ms", "sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1000; done")
	expect("one whose child has the pipe", soon, "does not serve after 300ms", "sh", "-c", "sleep 1000 & exit 0")
	expect("one that stops itself", soon, "does not serve after 300ms", "sh", "-c", "kill -STOP $$")
	expect("one that closes the pipe", late, "closed the descriptor", "sh", "-c", "exec 4>&-; sleep 1000")
	expect("one that ends", late, "ended before it served", "sh", "-c", "exit 3")
	expect("one that is no program", late, "no such file", "/missing/program")
	cancel(nil)
	<-ended
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if l, err := net.Listen("tcp", address); err != nil {
		t.Errorf("somebody has the socket still: %v", err)
	} else {
		l.Close()
	}
}
