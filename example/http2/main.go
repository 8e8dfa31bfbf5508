// Command http2 serves a page, a file and WebSockets that all come over one connection:
// with package ws/xconnect a browser opens wss:// as a stream of the connection of HTTP/2
// that it has already (RFC 8441).
package main

import (
	"cmp"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"

	"aerys"
	"aerys/example/internal/localhost"
	"aerys/ws"
	_ "aerys/ws/xconnect"
)

const page = `<!DOCTYPE html>
<title>One connection</title>
<p>The page came from <b>%s</b>, the WebSocket from <b id="socket"></b>: it is the same port.</p>
<script>
const socket = new WebSocket(location.origin.replace("http", "ws") + "/ws", "echo");
socket.onmessage = e => document.getElementById("socket").textContent = e.data;
</script>
`

// echo tells each client where it is seen to come from, and then sends back what comes.
type echo struct{ *ws.Endpoint }

func (e *echo) OnStart(endpoint *ws.Endpoint) error {
	e.Endpoint = endpoint
	return nil
}

func (e *echo) OnHandshake(req *aerys.Request, res *aerys.Response) string {
	if req.Param("who") == "stranger" {
		res.SetStatus(403).End("strangers may not connect")
	}
	return req.RemoteAddr
}

func (e *echo) OnOpen(id ws.ClientID, from string) { e.Send(from, id) }

func (e *echo) OnData(id ws.ClientID, m *ws.Message) {
	body, err := m.Bytes()
	switch {
	case err != nil:
	case string(body) == "bye":
		e.Close(id, 4000, "as you wish")
	case m.Binary():
		e.SendBinary(body, id)
	default:
		e.SendText(body, id)
	}
}

func (e *echo) OnClose(ws.ClientID, ws.Code, string) {}

func (e *echo) OnStop() {}

// routes are what is served.
func routes() *aerys.Routes {
	options := ws.Options{Subprotocols: []string{"echo"}, Compression: true, MaxMessageSize: 4 << 20, MaxFrameSize: 4 << 20}
	return aerys.Router().
		Get("/ws", ws.Websocket(new(echo), options)).
		Get("/", func(req *aerys.Request, res *aerys.Response) { res.End(fmt.Sprintf(page, req.RemoteAddr)) }).
		Get("/from", func(req *aerys.Request, res *aerys.Response) { res.End(req.Proto + " " + req.RemoteAddr) })
}

func main() {
	addr := flag.String("addr", "localhost:8443", "where to listen")
	flag.Parse()
	name, service, err := net.SplitHostPort(*addr)
	if err != nil {
		log.Fatal(err)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		log.Fatal(err)
	}
	if err := aerys.Run(host(new(tls.Config)).Expose(cmp.Or(name, "*"), port)); err != nil {
		log.Fatal(err)
	}
}

// host serves them with a certificate that is made now.
func host(config *tls.Config) *aerys.Host {
	config.Certificates = []tls.Certificate{localhost.Certificate()}
	return new(aerys.Host).Encrypt("", "", config).Use(routes())
}
