package main

import (
	"log"
	"net/http"
	"sync"

	"github.com/gorilla/websocket"
)

// serveGorilla shares a pool of write buffers, as advised for many
// connections, and frames a broadcast once.
func serveGorilla(addr string) {
	type prepared = *websocket.PreparedMessage
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024, WriteBufferPool: new(sync.Pool)}
	accept := func(handle func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrader.Upgrade(w, r, nil); err == nil {
				defer c.Close()
				handle(c)
			}
		}
	}
	echo := func(c *websocket.Conn) { echoPooled(c.NextReader, c.WriteMessage) }
	h := newHub[prepared]()
	broadcast := func(c *websocket.Conn) {
		receive := func() (prepared, error) {
			kind, data, err := c.ReadMessage()
			if err != nil {
				return nil, err
			}
			return websocket.NewPreparedMessage(kind, data)
		}
		h.run(receive, c.WritePreparedMessage, func() { c.Close() })
	}
	log.Fatal(http.Serve(listen(addr), mux(accept(echo), accept(broadcast))))
}
