//go:build linux

package aerys

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
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
	port := freePort(t)
	t.Setenv("TEST_PROGRAM_ADDRESS", strconv.Itoa(port))
	s := runServer(t, Options{}, program(strconv.Itoa(port)).Hosts...)
	sv := s.current.Load()
	signals := make(chan os.Signal, 1)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	failures := 0
	expect := func(name string, patience time.Duration, log string, program ...string) {
		t.Helper()
		os.Args, sv.patience = program, patience
		signals <- syscall.SIGUSR2
		failures++
		eventually(t, name+" ends", func() bool { return strings.Count(s.log.String(), "hand-over failed, serving on") == failures })
		lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, log) {
			t.Errorf("%s: logged %s, want %q", name, last, log)
		}
		if pid, err := fetch(http.DefaultClient, port, "/pid"); pid != strconv.Itoa(os.Getpid()) {
			t.Errorf("%s: answered by %q (%v)", name, pid, err)
		}
	}
	ended := make(chan struct{})
	go func() { sv.handOverOn(ctx, signals, cancel); close(ended) }()
	expect("one that hangs", soon, "does not serve after 300ms and is killed (signal: killed)", "sleep", "1000")
	expect("one that hangs in a child", soon, "does not serve after 300ms", "sh", "-c", "sleep 1000; true")
	expect("one that ignores signals", soon, "does not serve after 300ms", "sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1000; done")
	expect("one whose child has the pipe", soon, "does not serve after 300ms", "sh", "-c", "sleep 1000 & exit 0")
	expect("one that stops itself", soon, "does not serve after 300ms", "sh", "-c", "kill -STOP $$")
	expect("one that closes the pipe", late, "closed the descriptor", "sh", "-c", "exec 4>&-; sleep 1000")
	expect("one that ends", late, "ended before it served", "sh", "-c", "exit 3")
	expect("one that is no program", late, "no such file", "/missing/program")

	// Who takes its time is no such program. It is in this process's group, as
	// if it had been started by the same shell.
	t.Setenv("TEST_PROGRAM_DELAY", "1s")
	os.Args, sv.patience = []string{arguments[0], "-test.run=^TestProgram$"}, late
	signals <- syscall.SIGUSR2
	<-ended
	if context.Cause(ctx) != errHandedOver {
		t.Fatalf("not handed over: %v: %s", context.Cause(ctx), s.log)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	text, err := fetch(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, port, "/pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(text)
	if group, err := syscall.Getpgid(pid); group != syscall.Getpgrp() || pid == os.Getpid() {
		t.Errorf("process %d is of group %d, want %d (%v)", pid, group, syscall.Getpgrp(), err)
	}
	syscall.Kill(pid, syscall.SIGTERM)
	eventually(t, "the end of the new process", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err != nil {
		t.Errorf("somebody has the socket still: %v", err)
	} else {
		l.Close()
	}
}

// A server that is stopped while it hands over does not leave the new process.
func TestStopWhileHandingOver(t *testing.T) {
	arguments := os.Args
	defer func() { os.Args = arguments }()
	port := freePort(t)
	server, ready, result := program(strconv.Itoa(port)), make(chan struct{}), make(chan error, 1)
	server.Ready = func([]net.Addr) { close(ready) }
	go func() { result <- server.Run() }()
	<-ready
	pidFile := t.TempDir() + "/pid"
	os.Args = []string{"sh", "-c", "echo $$ > " + pidFile + ".new; mv " + pidFile + ".new " + pidFile + "; exec sleep 1000"}
	handing := make(chan os.Signal, 1) // Run may not listen yet, and the signal would end this process
	signal.Notify(handing, syscall.SIGUSR2)
	defer signal.Stop(handing)
	syscall.Kill(os.Getpid(), syscall.SIGUSR2)
	var pid int
	eventually(t, "the new process", func() bool {
		text, err := os.ReadFile(pidFile)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return err == nil
	})
	syscall.Kill(os.Getpid(), syscall.SIGTERM)
	select {
	case err := <-result:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not return")
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d lives on (%v)", pid, err)
	}
}
