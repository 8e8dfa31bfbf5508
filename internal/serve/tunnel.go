package serve

import (
	"bytes"
	"encoding/binary"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Whether clients may open WebSockets over HTTP/2, by an extended CONNECT (RFC 8441),
// is for net/http to announce. It does so if GODEBUG was set when it was initialised.

var wanted atomic.Bool

// WantTunnels tells that net/http should announce that it takes extended CONNECTs.
func WantTunnels() { wanted.Store(true) }

// Tunnels reports whether that is wanted, and whether it does.
func Tunnels() (wanted, announced bool) {
	return tunnelsWanted(), tunnelsWanted() && announcesTunnels()
}

func tunnelsWanted() bool {
	return wanted.Load() || strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1")
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

// announcesTunnels asks a server of net/http for its settings.
var announcesTunnels = sync.OnceValue(func() bool {
	ours, theirs := net.Pipe()
	defer ours.Close()
	server := &http.Server{Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetUnencryptedHTTP2(true)
	defer server.Close()
	q := &queue{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	q.conns <- theirs
	go server.Serve(q)
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(ours, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	return hasConnectSetting(ours)
})

// hasConnectSetting reads a frame of SETTINGS (RFC 9113 §6.5), and reports whether
// SETTINGS_ENABLE_CONNECT_PROTOCOL is in it (RFC 8441 §3).
func hasConnectSetting(r io.Reader) bool {
	header := make([]byte, 9)
	if _, err := io.ReadFull(r, header); err != nil {
		return false
	}
	settings := make([]byte, binary.BigEndian.Uint32(header)>>8)
	if _, err := io.ReadFull(r, settings); err != nil {
		return false
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if bytes.Equal(settings[:6], []byte{0, 8, 0, 0, 0, 1}) {
			return true
		}
	}
	return false
}
