package main

import (
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lesismal/nbio/logging"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

// serveNbio runs on nbio's own pollers.
func serveNbio(addr string) {
	logging.SetLevel(logging.LevelError)
	echo, broadcast := websocket.NewUpgrader(), websocket.NewUpgrader()
	echo.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, data []byte) { c.WriteMessage(kind, data) })

	var conns sync.Map
	broadcast.OnOpen(func(c *websocket.Conn) { conns.Store(c, nil) })
	broadcast.OnClose(func(c *websocket.Conn, _ error) { conns.Delete(c) })
	broadcast.OnMessage(func(_ *websocket.Conn, kind websocket.MessageType, data []byte) {
		for c := range conns.Range {
			c.(*websocket.Conn).WriteMessage(kind, data)
		}
	})

	accept := func(upgrader *websocket.Upgrader) http.HandlerFunc {
		upgrader.KeepaliveTime = 0
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrader.Upgrade(w, r, nil); err == nil {
				c.SetReadDeadline(time.Time{})
			}
		}
	}
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network:                 "tcp",
		Addrs:                   []string{addr},
		Listen:                  func(_, addr string) (net.Listener, error) { return listen(addr), nil },
		Handler:                 mux(accept(echo), accept(broadcast)),
		ReleaseWebsocketPayload: true,
	})
	if err := engine.Start(); err != nil {
		log.Fatal(err)
	}
	select {}
}
