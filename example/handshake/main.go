// Handshake lets those in who know the password, and answers the others as a
// web server does. It listens on port 1337:
//
//	go run ./example/handshake
package main

import (
	_ "embed"
	"fmt"
	"log"
	"sync"

	"aerys"
	"aerys/ws"
)

//go:embed page.html
var page string

type myWs struct {
	endpoint *ws.Endpoint
	clients  sync.Map // ws.ClientID -> address
}

var _ ws.Handler[string] = (*myWs)(nil) // the compiler names a method that is missing

func (m *myWs) OnStart(endpoint *ws.Endpoint) error { m.endpoint = endpoint; return nil }

func (m *myWs) OnHandshake(req *aerys.Request, res *aerys.Response) string {
	if req.Param("password") != "reallyverysecure" {
		// any status but 101: no WebSocket connection, a normal HTTP reply instead
		res.SetStatus(403).End("Nope. Valid password required.")
	}
	return req.RemoteAddr // handed to OnOpen: there is no client id before the connection exists
}

func (m *myWs) OnOpen(id ws.ClientID, addr string) {
	m.clients.Store(id, addr)
	fmt.Printf("Successful handshake for user with client id %d from %s\n", id, addr)
}

func (m *myWs) OnData(id ws.ClientID, msg *ws.Message) {
	text, err := msg.Text()
	if err != nil {
		return // the client left in the middle of its message: OnClose comes next
	}
	addr, _ := m.clients.Load(id)
	fmt.Printf("User with client id %d from %s sent: %q\n", id, addr, text)
	m.endpoint.Send(fmt.Sprintf("Hello %s, you said %q.", addr, text), id)
}

func (m *myWs) OnClose(id ws.ClientID, code ws.Code, reason string) {
	m.clients.Delete(id)
	fmt.Printf("User with client id %d closed connection with code %d\n", id, code)
}

func (m *myWs) OnStop() {}

func main() {
	if err := aerys.Run(host().Expose("*", 1337)); err != nil {
		log.Fatal(err)
	}
}

func host() *aerys.Host {
	return new(aerys.Host).Use(aerys.Router().
		Get("/ws", ws.Websocket(&myWs{})).
		Get("/wire", wire).
		Get("/", func(req *aerys.Request, res *aerys.Response) { res.End(page) }))
}
