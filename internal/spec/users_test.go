//go:build unix

package spec

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aerys"
	"aerys/internal/listen"
)

// ids returns the real, effective, saved and file system's ids of the user and
// the group, and the groups, that all threads of this process have, as Linux tells.
func ids() string {
	threads, _ := filepath.Glob("/proc/self/task/*/status")
	found := make(map[string]bool)
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			continue // it has just ended
		}
		var of []string
		for line := range strings.SplitSeq(string(status), "\n") {
			if name, values, _ := strings.Cut(line, ":"); name == "Uid" || name == "Gid" || name == "Groups" {
				fields := strings.Fields(values)
				if name == "Groups" {
					fields = slices.Compact(fields)
				}
				of = append(of, strings.Join(fields, " "))
			}
		}
		found[strings.Join(of, ", ")] = true
	}
	if len(found) == 1 {
		for one := range found {
			return one
		}
	}
	return fmt.Sprint(found)
}

const (
	nobody   = "65534 65534 65534 65534, 65534 65534 65534 65534, 65534"
	nobodyID = 65534
	daemonID = 1
)

// asRoot skips a test that needs root, and makes a directory with a copy of
// this program, which nobody can read, too.
func asRoot(t *testing.T) (dir, program string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs Linux's /proc, and root")
	}
	dir, err := os.MkdirTemp("", "aerys")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	content, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "program")
	if err := os.WriteFile(program, content, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, program
}

// programAs is TestProgram from a file, started by a user, for half a minute.
func programAs(t *testing.T, uid uint32, program string, environment ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, "-test.run=^TestProgram$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// privilegedPort returns a port that only root can listen on, and that is free:
// one at random, as other runs of this test look for theirs at the same time.
func privilegedPort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		port := 600 + rand.IntN(424)
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("there is none")
	return 0
}

// TestDial is no test but a client that tests start as another user.
func TestDial(t *testing.T) {
	if path := os.Getenv("TEST_DIAL"); path != "" {
		body, err := fetch(through(path), 0, "/pid")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("answered by", body)
	}
}

func TestUser(t *testing.T) {
	if os.Getuid() != 0 {
		err := (&aerys.Server{Options: aerys.Options{User: "root"}, Hosts: []*aerys.Host{local("x")}}).Serve(context.Background())
		if err == nil || !strings.Contains(err.Error(), "aerys: Options.User: cannot become root") {
			t.Errorf("Serve returned %v", err)
		}
		return
	}
	if err := listen.ChangeUser("root", nil); err != nil {
		t.Error(err)
	}
	port := freePort(t)
	startProgram(t, nil, []string{fmt.Sprint("TEST_PROGRAM_ADDRESS=", port), "TEST_PROGRAM_USER=nobody"})
	account, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := fetch(http.DefaultClient, port, "/uid"); body != account.Uid {
		t.Errorf("user %q, want %s (%v)", body, account.Uid, err)
	}
}

// TestUserAndHandOver starts a server as root with Options.User, on a port that
// only root can listen on and a Unix socket, and replaces it twice by processes
// that are that user's from the beginning.
func TestUserAndHandOver(t *testing.T) {
	dir, program := asRoot(t)
	os.Mkdir(filepath.Join(dir, "run"), 0o755)
	os.Chown(filepath.Join(dir, "run"), nobodyID, nobodyID)
	for name, socket := range map[string]string{"a directory of its own": filepath.Join(dir, "run", "s"), "a directory of root's": filepath.Join(dir, "s")} {
		t.Run(name, func(t *testing.T) {
			old := syscall.Umask(0o077)
			port := privilegedPort(t)
			cmd := programAs(t, 0, program, fmt.Sprint("TEST_PROGRAM_ADDRESS=", port, " ", socket), "TEST_PROGRAM_USER=nobody")
			startedProgram(t, cmd)
			syscall.Umask(old)
			info, err := os.Lstat(socket)
			if err != nil {
				t.Fatal(err)
			}
			if owner := info.Sys().(*syscall.Stat_t); owner.Uid != nobodyID || owner.Gid != nobodyID || info.Mode().Perm() != 0o700 {
				t.Errorf("the socket is %d's and %d's, %v", owner.Uid, owner.Gid, info.Mode())
			}
			pid := cmd.Process.Pid
			for range 2 {
				if got, err := fetch(through(socket), 0, "/ids"); got != nobody {
					t.Errorf("ids %q, want %q (%v)", got, nobody, err)
				}
				dialer := exec.Command(program, "-test.run=^TestDial$")
				dialer.Env, dialer.Dir = append(os.Environ(), "TEST_DIAL="+socket), "/"
				dialer.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
				if output, err := dialer.CombinedOutput(); !strings.Contains(string(output), fmt.Sprint("answered by ", pid)) {
					t.Errorf("a client of the same user: %v: %s", err, output)
				}
				syscall.Kill(pid, syscall.SIGUSR2)
				pid = successor(t, port, pid)
			}
			syscall.Kill(pid, syscall.SIGTERM)
			eventually(t, "the end of the last process", func() bool { return !accepts(port) })
			// What stays, stays for the next start.
			cmd = programAs(t, 0, program, fmt.Sprint("TEST_PROGRAM_ADDRESS=", port, " ", socket), "TEST_PROGRAM_USER=nobody")
			startedProgram(t, cmd)
			cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(socket); (err == nil) != (name == "a directory of root's") {
				t.Errorf("the socket's file afterwards: %v", err)
			}
		})
	}
}

// successor waits until another process than the one known answers on a port.
func successor(t *testing.T, port, known int) (pid int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, "another process serves", func() bool {
		text, err := fetch(client, port, "/pid")
		pid, _ = strconv.Atoi(text)
		return err == nil && pid != known
	})
	return pid
}

// TestSetUserIDPrograms starts a server by programs that run as another user
// than who starts them.
func TestSetUserIDPrograms(t *testing.T) {
	_, program := asRoot(t)
	for _, test := range []struct {
		name         string
		owner        int
		mode         os.FileMode
		starter      uint32
		user         string
		want         string // the ids
		wantRejected string
	}{
		{"of root, by User", 0, os.ModeSetuid | 0o755, nobodyID, "nobody", nobody, ""},
		{"of root, by another", 0, os.ModeSetuid | 0o755, daemonID, "nobody", nobody, ""},
		{"of root, by root", 0, os.ModeSetuid | 0o755, 0, "nobody", nobody, ""},
		{"of root, without User", 0, os.ModeSetuid | 0o755, nobodyID, "", "65534 0 0 0, 65534 65534 65534 65534, ", ""},
		{"of root's group, by User", 0, os.ModeSetgid | 0o755, nobodyID, "nobody", "65534 65534 65534 65534, 65534 65534 65534 65534, ", ""},
		{"of another, by User", daemonID, os.ModeSetuid | 0o755, nobodyID, "nobody", "", "cannot become nobody, start as root or as that user"},
		{"of User, by another", daemonID, os.ModeSetuid | 0o755, nobodyID, "daemon", "", "cannot become daemon, start as root or as that user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.Chown(program, test.owner, test.owner); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(program, test.mode); err != nil {
				t.Fatal(err)
			}
			port := freePort(t)
			cmd := programAs(t, test.starter, program, fmt.Sprint("TEST_PROGRAM_ADDRESS=", port), "TEST_PROGRAM_USER="+test.user)
			if test.wantRejected != "" {
				output, err := cmd.CombinedOutput()
				if err == nil || !strings.Contains(string(output), test.wantRejected) {
					t.Errorf("%v: %s, want %q", err, output, test.wantRejected)
				}
				return
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			startedProgram(t, cmd)
			if got, err := fetch(http.DefaultClient, port, "/ids"); got != test.want {
				t.Errorf("ids %q, want %q (%v)", got, test.want, err)
			}
			if test.starter != 0 {
				testNoHandOver(t, cmd, stderr, port)
			}
		})
	}
}

// testNoHandOver asks a program to start itself anew, which it must not: who
// started it has chosen its name and environment.
func testNoHandOver(t *testing.T, cmd *exec.Cmd, stderr io.Reader, port int) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGUSR2)
	line := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "hand-over") {
				line <- lines.Text()
				return
			}
		}
	}()
	select {
	case text := <-line:
		if !strings.Contains(text, "hand-over failed, serving on") || !strings.Contains(text, "set-user-id") {
			t.Errorf("logged %q", text)
		}
	case <-time.After(10 * time.Second):
		t.Error("logged nothing")
	}
	if pid, err := fetch(http.DefaultClient, port, "/pid"); pid != strconv.Itoa(cmd.Process.Pid) {
		t.Errorf("answered by %q, want %d (%v)", pid, cmd.Process.Pid, err)
	}
}
