package serve

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"aerys/internal/listen"
)

// A program that started anew would not find a listener that it has made itself.
func TestGivenListenersAreNotHandedOver(t *testing.T) {
	given, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	s := New(new(Limits), slog.New(slog.DiscardHandler))
	s.Listener(listen.AddressOf(given), nil, false, nil)
	if _, err := s.handOver(context.Background()); err == nil || !strings.Contains(err.Error(), "Host.Listen") {
		t.Error(err)
	}
}
