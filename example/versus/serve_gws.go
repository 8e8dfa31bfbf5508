package main

import (
	"log"
	"net/http"
	"sync"

	"github.com/lxzan/gws"
)

type echoGws struct{ gws.BuiltinEventHandler }

func (echoGws) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

type broadcastGws struct {
	gws.BuiltinEventHandler
	conns sync.Map
}

func (b *broadcastGws) OnOpen(c *gws.Conn)           { b.conns.Store(c, nil) }
func (b *broadcastGws) OnClose(c *gws.Conn, _ error) { b.conns.Delete(c) }
func (b *broadcastGws) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	caster := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer caster.Close()
	for c := range b.conns.Range {
		caster.Broadcast(c.(*gws.Conn))
	}
}

func serveGws(addr string) {
	accept := func(events gws.Event) http.HandlerFunc {
		upgrader := gws.NewUpgrader(events, &gws.ServerOption{})
		return func(w http.ResponseWriter, r *http.Request) {
			if c, err := upgrader.Upgrade(w, r); err == nil {
				go c.ReadLoop() // as the README advises, to let go of the request
			}
		}
	}
	log.Fatal(http.Serve(listen(addr), mux(accept(echoGws{}), accept(&broadcastGws{}))))
}
