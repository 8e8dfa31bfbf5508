package aerys

import (
	"log/slog"
	"net"
	"testing"
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
