package serve

import (
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
)

// Whether clients may open WebSockets over HTTP/2, by an extended CONNECT (RFC 8441),
// is for net/http to announce. It does so if GODEBUG was set when it was initialised.

// asked is what WantTunnels was given.
var asked atomic.Pointer[func() bool]

// WantTunnels tells that net/http was asked to announce that it takes extended
// CONNECTs, and how to find out whether it does.
func WantTunnels(announced func() bool) { asked.Store(&announced) }

// Tunnels reports whether that is wanted, and whether net/http does. Where the
// environment has it, it is taken for granted.
func Tunnels() (wanted, announced bool) {
	if ask := asked.Load(); ask != nil {
		return true, (*ask)()
	}
	set := strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1")
	return set, set
}

// WarnOfTunnels tells that browsers' WebSockets will fail, if net/http announces to
// them what no action serves, and that they will not come over HTTP/2, if it should
// and does not.
func WarnOfTunnels(log *slog.Logger, served bool) {
	switch wanted, announced := Tunnels(); {
	case announced && !served:
		log.Warn("aerys: browsers are told to open wss:// over HTTP/2 by an extended CONNECT (RFC 8441), and there is no gateway " +
			"of package ws: all others answer 501, and WebSockets fail; do not import ws/xconnect, and take http2xconnect=1 out of GODEBUG")
	case wanted && !announced && served:
		log.Warn("aerys: WebSockets are not served over HTTP/2: net/http was initialised before ws/xconnect could ask it to, " +
			"for import paths are taken in order; set GODEBUG=http2xconnect=1 in the environment of the program")
	}
}

// Streams is how many requests there may be at once on a connection of HTTP/2 by
// default. With a hundred, of which WebSockets take some, requests of a browser would
// wait in vain.
func Streams() int {
	if _, announced := Tunnels(); announced {
		return 1000
	}
	return 100
}
