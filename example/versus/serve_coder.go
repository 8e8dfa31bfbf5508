package main

import (
	"context"
	"io"
	"log"
	"net/http"

	"github.com/coder/websocket"
)

// serveCoder broadcasts as its chat example does.
func serveCoder(addr string) {
	type kind = websocket.MessageType
	type message struct {
		kind kind
		data []byte
	}
	ctx := context.Background()
	accept := func(handle func(*websocket.Conn)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := websocket.Accept(w, r, nil); err == nil {
				defer c.CloseNow()
				c.SetReadLimit(-1)
				handle(c)
			}
		}
	}
	echo := func(c *websocket.Conn) {
		next := func() (kind, io.Reader, error) { return c.Reader(ctx) }
		echoPooled(next, func(k kind, data []byte) error { return c.Write(ctx, k, data) })
	}
	h := newHub[message]()
	broadcast := func(c *websocket.Conn) {
		receive := func() (message, error) {
			kind, data, err := c.Read(ctx)
			return message{kind, data}, err
		}
		h.run(receive, func(m message) error { return c.Write(ctx, m.kind, m.data) }, func() { c.CloseNow() })
	}
	log.Fatal(http.Serve(listen(addr), mux(accept(echo), accept(broadcast))))
}
