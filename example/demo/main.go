// Demo shows a little of everything: routes of all kinds, a WebSocket endpoint,
// the files of the directory that it is started in, and a fallback. Its first
// page has a link to each.
//
//	cd example/demo && go run . -addr localhost:1337
package main

import (
	"cmp"
	_ "embed"
	"flag"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

//go:embed page.html
var page string

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	flag.Parse()
	name, port, err := where(*addr)
	if err == nil {
		err = aerys.Run(host().Expose(name, port))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// where reads an address such as ":1337" or "localhost:1337".
func where(addr string) (name string, port int, err error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service)
	return cmp.Or(name, "*"), port, err
}

// host tries the routes first, then files, then the fallback.
func host() *aerys.Host {
	router := aerys.Router().
		Get("/", func(_ *aerys.Request, res *aerys.Response) { res.End(page) }).
		Get("/router/{myarg}", routerArgument).
		Post("/", says("Hello, world (POST).")).
		Get("error1", nilPointer). // the leading slash is added
		Get("/error2", func(*aerys.Request, *aerys.Response) { panic("wooooooooo!") }).
		Get("/directory/?", says("Dual directory match")). // /directory/ is sent there
		Get("/long-poll", longPoll).
		Post("/body1", wholeBody).
		Post("/body2", streamedBody).
		Get("/favicon.ico", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(404).End() }).
		Route("ZANZIBAR", "/zanzibar", says("ZANZIBAR!")).
		Get("/ws", ws.Websocket(&chat{}))

	return new(aerys.Host).Use(router, static.Root("."), says(`Fallback \o/`))
}

func says(text string) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.End("<h1>" + html.EscapeString(text) + "</h1>\n") }
}

func routerArgument(req *aerys.Request, res *aerys.Response) {
	res.End("<h1>Route arguments</h1>\n<pre>myarg: " + html.EscapeString(req.PathValue("myarg")) + "</pre>\n")
}

// nilPointer makes a mistake: the client gets a 500, the log the stack.
func nilPointer(*aerys.Request, *aerys.Response) {
	var nobody *aerys.Host
	nobody.Name("nowhere")
}

// longPoll sends a line a second until the client leaves, or the server stops.
func longPoll(req *aerys.Request, res *aerys.Response) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		res.WriteString("hello!<br>\n")
		if res.Flush() != nil {
			return
		}
		select {
		case <-second.C:
		case <-req.Context().Done():
			return
		case <-req.Stopping():
			return
		}
	}
}

// wholeBody reads all of a body before it answers.
func wholeBody(req *aerys.Request, res *aerys.Response) {
	body, err := io.ReadAll(req.Body())
	if err != nil {
		return // it was too large, which is answered with 413, or the client is gone
	}
	fmt.Fprintf(res, "<h1>The whole body</h1>\n<pre>%s</pre>\n", html.EscapeString(string(body)))
}

// streamedBody sends a body of up to a gigabyte back while it arrives.
func streamedBody(req *aerys.Request, res *aerys.Response) {
	http.NewResponseController(res).EnableFullDuplex()
	res.SetHeader("Content-Type", "application/octet-stream")
	io.Copy(res, req.Body(1<<30))
}

// chat sends every message to all who are connected.
type chat struct{ endpoint *ws.Endpoint }

var _ ws.Handler[struct{}] = (*chat)(nil)

func (c *chat) OnStart(endpoint *ws.Endpoint) error { c.endpoint = endpoint; return nil }

func (c *chat) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (c *chat) OnOpen(ws.ClientID, struct{}) {}

func (c *chat) OnData(_ ws.ClientID, msg *ws.Message) {
	if text, err := msg.Text(); err == nil {
		c.endpoint.Broadcast(text)
	}
}

func (c *chat) OnClose(ws.ClientID, ws.Code, string) {}

func (c *chat) OnStop() {}
