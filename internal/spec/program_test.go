//go:build unix

package spec

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aerys"
)

// TestProgram is no test but the program that the tests below start: a server
// as the environment wants it.
func TestProgram(t *testing.T) {
	address := os.Getenv("TEST_PROGRAM_ADDRESS")
	if address == "" {
		return
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if files, err := strconv.ParseUint(os.Getenv("TEST_PROGRAM_FILES"), 10, 32); err == nil {
		limit := few(files)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
	server := program(address)
	run := func() error { return aerys.Run(server.Hosts...) }
	if server.Options.User = os.Getenv("TEST_PROGRAM_USER"); server.Options.User != "" {
		run = server.Run
	}
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// program is a server on 127.0.0.1:port, or on that and a Unix socket.
func program(address string) *aerys.Server {
	port, socket, _ := strings.Cut(address, " ")
	number, _ := strconv.Atoi(port)
	host := new(aerys.Host).Expose("127.0.0.1", number)
	if socket != "" {
		host.Expose(socket, 0)
	}
	if delay, err := time.ParseDuration(os.Getenv("TEST_PROGRAM_DELAY")); err == nil {
		host.Use(slow(delay))
	}
	return &aerys.Server{Hosts: []*aerys.Host{host.Use(aerys.Router().
		Get("/film", sendFilm).
		Get("/ids", func(_ *aerys.Request, res *aerys.Response) { res.End(ids()) }).
		Get("/pid", func(_ *aerys.Request, res *aerys.Response) { res.End(strconv.Itoa(os.Getpid())) }).
		Get("/uid", func(_ *aerys.Request, res *aerys.Response) { res.End(strconv.Itoa(os.Getuid())) }).
		Get("/events", stream).
		Get("/hang", func(_ *aerys.Request, res *aerys.Response) { res.Flush(); time.Sleep(time.Minute) }))}}
}

// slow is an action that takes its time to start.
type slow time.Duration

func (s slow) Start(context.Context) error         { time.Sleep(time.Duration(s)); return nil }
func (slow) Serve(*aerys.Request, *aerys.Response) {}

// startProgram starts TestProgram by a command line whose last part is the
// program, and waits until it says where it listens.
func startProgram(t *testing.T, files []*os.File, environment []string, command ...string) (*exec.Cmd, string) {
	t.Helper()
	command = append(command, os.Args[0], "-test.run=^TestProgram$")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.ExtraFiles = files
	return cmd, startedProgram(t, cmd)
}

// startedProgram starts a command and returns the first line that it prints.
func startedProgram(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// accepts reports whether somebody listens on a port.
func accepts(port int) bool {
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// fetch gets a path of a server.
func fetch(client *http.Client, port int, path string) (string, error) {
	response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestRunStopsOnSignals(t *testing.T) {
	port := freePort(t)
	environment := []string{fmt.Sprint("TEST_PROGRAM_ADDRESS=", port)}
	for _, test := range []struct {
		name    string
		path    string // of a request under way
		hanging bool   // its end a second signal does not wait for
		want    string
	}{{"gracefully", "", false, "<nil>"}, {"gracefully, with a stream", "/events", false, "<nil>"}, {"at once", "/hang", true, "exit status 1"}} {
		t.Run(test.name, func(t *testing.T) {
			cmd, line := startProgram(t, nil, environment)
			if want := fmt.Sprintf("Listening on http://localhost:%d/\n", port); line != want {
				t.Errorf("printed %q, want %q", line, want)
			}
			if test.path != "" {
				response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, test.path))
				if err != nil {
					t.Fatal(err)
				}
				defer response.Body.Close()
			}
			cmd.Process.Signal(syscall.SIGTERM)
			if test.hanging {
				eventually(t, "stopped accepting", func() bool { return !accepts(port) })
				cmd.Process.Signal(syscall.SIGTERM)
			}
			began := time.Now()
			if err := cmd.Wait(); fmt.Sprint(err) != test.want {
				t.Errorf("ended with %v, want %v", err, test.want)
			}
			if spent := time.Since(began); spent > 2*time.Second {
				t.Errorf("took %v to end", spent)
			}
		})
	}
}

// load asks for /pid until it is told to stop, with and without keep-alive,
// and counts the answers by process.
type load struct {
	stop    chan struct{}
	clients sync.WaitGroup

	mu      sync.Mutex
	answers map[string]int
	lost    []error
}

// other returns a process that answered and is none of those known.
func (l *load) other(known ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for pid, n := range l.answers {
		if n > 20 && pid != "" && !strings.Contains(fmt.Sprint(known), pid) {
			return pid
		}
	}
	return ""
}

func startLoad(port int) *load {
	l := &load{stop: make(chan struct{}), answers: make(map[string]int)}
	for i := range 6 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		l.clients.Add(1)
		go func() {
			defer l.clients.Done()
			defer client.CloseIdleConnections()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				body, err := fetch(client, port, "/pid")
				l.mu.Lock()
				if l.answers[body]++; err != nil {
					l.lost = append(l.lost, err)
				}
				l.mu.Unlock()
			}
		}()
	}
	return l
}

// TestHandOverUnderLoad replaces this process's server by a new process's, and
// that by a third, without losing a request.
func TestHandOverUnderLoad(t *testing.T) {
	port, socket := freePort(t), filepath.Join(t.TempDir(), "s")
	t.Setenv("TEST_PROGRAM_ADDRESS", fmt.Sprint(port, " ", socket))
	arguments := os.Args
	os.Args = []string{arguments[0], "-test.run=^TestProgram$"}
	defer func() { os.Args = arguments }()

	server, ready, result := program(os.Getenv("TEST_PROGRAM_ADDRESS")), make(chan struct{}), make(chan error, 1)
	server.Ready = func([]net.Addr) { close(ready) }
	go func() { result <- server.Run() }()
	<-ready
	l := startLoad(port)
	first := strconv.Itoa(os.Getpid())
	eventually(t, "load on the first process", func() bool { return l.other() == first })

	t.Setenv("TEST_PROGRAM_DELAY", "1s") // a new process may take its time
	syscall.Kill(os.Getpid(), syscall.SIGUSR2)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	var second, third string
	eventually(t, "the second process serves", func() bool { second = l.other(first); return second != "" })
	id, _ := strconv.Atoi(second)
	// It is in this process's group, as if it had been started by the same shell.
	if group, err := syscall.Getpgid(id); group != syscall.Getpgrp() {
		t.Errorf("process %d is of group %d, want %d (%v)", id, group, syscall.Getpgrp(), err)
	}
	syscall.Kill(id, syscall.SIGUSR2)
	eventually(t, "the third process serves", func() bool { third = l.other(first, second); return third != "" })
	eventually(t, "the second process is gone", func() bool { return syscall.Kill(id, 0) == syscall.ESRCH })
	if conn, err := net.Dial("unix", socket); err != nil {
		t.Error("the Unix socket was not handed over: ", err)
	} else {
		conn.Close()
	}
	close(l.stop)
	l.clients.Wait()
	id, _ = strconv.Atoi(third)
	syscall.Kill(id, syscall.SIGTERM)
	eventually(t, "the third process is gone", func() bool { return !accepts(port) })
	if len(l.lost) > 0 {
		t.Errorf("%d requests were lost, the first with %v", len(l.lost), l.lost[0])
	}
	t.Log(l.answers)
}

// serviceManager is where a service manager hears of its services.
func serviceManager(t *testing.T) (address string, hears func(want string)) {
	address = filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return address, func(want string) {
		t.Helper()
		l.SetReadDeadline(time.Now().Add(patience))
		state := make([]byte, 100)
		n, err := l.Read(state)
		if got := string(state[:n]); err != nil || got != want {
			t.Fatalf("the service manager heard %q, want %q (%v)", got, want, err)
		}
	}
}

// TestServiceManager has a program tell what becomes of it (sd_notify(3)), and
// survive the end of its terminal.
func TestServiceManager(t *testing.T) {
	manager, hears := serviceManager(t)
	port, log := freePort(t), new(buffer)
	cmd := exec.Command(os.Args[0], "-test.run=^TestProgram$")
	cmd.Env = append(os.Environ(), fmt.Sprint("TEST_PROGRAM_ADDRESS=", port), "NOTIFY_SOCKET="+manager)
	cmd.Stderr = log
	startedProgram(t, cmd)
	hears("READY=1")
	cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "the log tells of SIGHUP", func() bool { return strings.Contains(log.String(), "SIGHUP received") })
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if pid, err := fetch(client, port, "/pid"); pid != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("process %s answers after SIGHUP (%v)", pid, err)
	}
	cmd.Process.Signal(syscall.SIGUSR2)
	var successor string
	eventually(t, "a new process serves", func() bool {
		successor, _ = fetch(client, port, "/pid")
		return successor != "" && successor != strconv.Itoa(cmd.Process.Pid)
	})
	hears("MAINPID=" + successor)
	if _, err := cmd.Process.Wait(); err != nil {
		t.Error(err)
	}
	pid, _ := strconv.Atoi(successor)
	syscall.Kill(pid, syscall.SIGTERM)
	hears("STOPPING=1")
	eventually(t, "the new process is gone", func() bool { return !accepts(port) })
	for _, line := range []string{"serving\" addresses=", "a new process has taken over\" pid=" + successor, "stopping\" cause=\"handed over to a new process\"",
		"stopping\" cause=\"terminated signal received\" requests=0", "stopped\" lost=0"} {
		eventually(t, "the log has "+line, func() bool { return strings.Contains(log.String(), line) })
	}
}

// TestSocketActivation starts the program as systemd does.
func TestSocketActivation(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	port := l.Addr().(*net.TCPAddr).Port
	early := dial(t, l.Addr()) // waits in the backlog
	io.WriteString(early, "GET /pid HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	cmd, _ := startProgram(t, []*os.File{file}, []string{fmt.Sprint("TEST_PROGRAM_ADDRESS=", port)},
		"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`)
	text, _ := io.ReadAll(early)
	if _, body := statusAndBody(t, string(text)); body != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("answer %q of process %d", body, cmd.Process.Pid)
	}
}

// A server that is stopped while it hands over does not leave the new process.
func TestStopWhileHandingOver(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
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
