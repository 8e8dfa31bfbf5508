package spec

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"aerys"
)

// TestOnlyStaleSocketsAreRemoved has a server started where something is
// already: only a socket where connecting is refused gives way.
func TestOnlyStaleSocketsAreRemoved(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(t *testing.T, path string)
		why  string // nothing if the server starts
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"a socket whose server is dead", func(t *testing.T, path string) { leave(t, path, syscall.SOCK_STREAM) }, ""},
		{"a server", func(t *testing.T, path string) { listenOn(t, path, syscall.SOCK_STREAM, 100) }, "a server listens there"},
		{"a server with a full backlog", func(t *testing.T, path string) {
			listenOn(t, path, syscall.SOCK_STREAM, 0)
			for connected := true; connected; {
				conn, err := net.Dial("unix", path)
				if connected = err == nil; connected {
					t.Cleanup(func() { conn.Close() })
				} else if !errors.Is(err, syscall.EAGAIN) {
					t.Fatal(err)
				}
			}
		}, "resource temporarily unavailable"},
		{"a datagram socket", func(t *testing.T, path string) { listenOn(t, path, syscall.SOCK_DGRAM, 0) }, "protocol wrong type for socket"},
		{"a socket of packets", func(t *testing.T, path string) { listenOn(t, path, syscall.SOCK_SEQPACKET, 1) }, "protocol wrong type for socket"},
		{"a datagram socket nobody reads", func(t *testing.T, path string) { leave(t, path, syscall.SOCK_DGRAM) }, ""},
		{"a file", func(t *testing.T, path string) { replaceFile(t, path, []byte("x")) }, "no socket"},
		{"a directory", func(_ *testing.T, path string) { os.Mkdir(path, 0o755) }, "no socket"},
		{"a link to nothing", func(_ *testing.T, path string) { os.Symlink("missing", path) }, "no socket"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			test.make(t, path)
			before, _ := os.Lstat(path)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			server := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose(path, 0)}, Ready: func([]net.Addr) { cancel() }}
			err := server.Serve(ctx)
			after, _ := os.Lstat(path)
			switch {
			case test.why == "" && (err != nil || after != nil):
				t.Errorf("Serve returned %v, and left %v", err, after)
			case test.why != "" && (err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.why)):
				t.Errorf("Serve returned %v, want %q", err, test.why)
			case test.why != "" && !os.SameFile(before, after):
				t.Error("it is gone")
			}
		})
	}
}

// listenOn makes a socket of a kind, which lives as long as the test.
func listenOn(t *testing.T, path string, kind, backlog int) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC, 0)
	if err == nil {
		err = syscall.Bind(fd, &syscall.SockaddrUnix{Name: path})
	}
	if err == nil && kind != syscall.SOCK_DGRAM {
		err = syscall.Listen(fd, backlog)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
}

// leave makes a socket of a kind whose owner is gone.
func leave(t *testing.T, path string, kind int) {
	t.Run("dies", func(t *testing.T) { listenOn(t, path, kind, 1) })
}

// A server that stops removes its socket, and not that of another which has
// come to its place.
func TestServersRemoveTheirOwnSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := run(t, aerys.Options{}, new(aerys.Host).Expose(path, 0).Use(says("first")))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := run(t, aerys.Options{}, new(aerys.Host).Expose(path, 0).Use(says("second")))
	first.stop()
	if _, body := statusAndBody(t, second.get(t, "/")); body != "second" {
		t.Errorf("answer %q", body)
	}
	second.stop()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second server left its socket: %v", err)
	}
}
