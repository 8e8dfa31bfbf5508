package nats_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"aerys/ws/nats"

	connection "github.com/nats-io/nats.go"
)

// What cannot work panics where it is written.
func TestPrefix(t *testing.T) {
	for prefix, right := range map[string]bool{
		"": true, "a": true, "a.b-c_D.9": true,
		"a b": false, "a.": false, ".a": false, "a..b": false, "*": false, "a.>": false, "ü": false, "a\r\n": false,
	} {
		func() {
			defer func() {
				if text, _ := recover().(string); right != (text == "") || !right && !strings.Contains(text, "Options.Prefix") {
					t.Errorf("%q: %q", prefix, text)
				}
			}()
			nats.New("nats://127.0.0.1:1", nats.Options{Prefix: prefix})
		}()
	}
}

// A Broker is started once, and again when it was closed.
func TestStartedTwice(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	b := nats.New(s.first)
	for range 2 {
		n, other := newNode(b), newNode(b)
		if err := n.gateway.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := other.gateway.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "call New for each") {
			t.Errorf("a second endpoint: %v", err)
		}
		n.stop()
	}
}

// Whoever listens to the connection does not keep the Broker from hearing.
func TestHandlersOfTheApplication(t *testing.T) {
	address := freeAddress(t)
	s := natsServer(t, address)
	var lost, back atomic.Int32
	n := run(t, nats.New(s.first, nats.Options{Connect: []connection.Option{
		connection.DisconnectErrHandler(func(*connection.Conn, error) { lost.Add(1) }),
		connection.ReconnectHandler(func(*connection.Conn) { back.Add(1) }),
		connection.ErrorHandler(func(*connection.Conn, *connection.Subscription, error) {}),
	}}))
	s.kill()
	eventually(t, "the application hears of the end", func() bool { return lost.Load() > 0 })
	natsServer(t, address)
	eventually(t, "both hear of the return", func() bool { return back.Load() > 0 && n.losses.Load() > 0 })
}
