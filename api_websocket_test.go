package aerys_test

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

// websocketChecks are about package ws.
var websocketChecks = map[string]func(*testing.T){
	"`websocket($app, $options)`": func(t *testing.T) {
		a := new(app)
		gateway := ws.Websocket(a, ws.Options{Subprotocols: []string{"chat"}})
		server := httptest.NewServer(new(aerys.Host).Use(aerys.Router().Get("/ws", gateway)))
		defer server.Close()
		conn, response, err := ws.Dial(timeout(t), server.URL+"/ws", ws.DialOptions{Subprotocols: []string{"chat"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ws.CodeNormal, "")
		is(t, response.Header.Get("Sec-Websocket-Protocol"), "chat")
	},
	"`onStart`, `onHandshake`, `onOpen`, `onData`, `onClose`, `onStop`": func(t *testing.T) {
		a := &app{events: make(chan string, 10)}
		var handler ws.Handler[string] = a // OnStart, OnHandshake, OnOpen, OnData, OnClose and OnStop
		gateway := ws.Websocket(handler)
		is(t, gateway.Start(context.Background()), "<nil>")
		server := httptest.NewServer(new(aerys.Host).Use(gateway))
		defer server.Close()
		conn := dialed(t, server.URL+"/?name=Ann")
		conn.Write(timeout(t), "hello")
		is(t, conn.Close(ws.CodeNormal, "bye"), "<nil>")
		for _, want := range []string{"start", "handshake", "open Ann", "data", "close 1000 bye"} {
			is(t, <-a.events, want)
		}
		is(t, gateway.Stop(context.Background()), "<nil>")
		is(t, <-a.events, "stop")
	},
	"`yield $msg`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, msg *ws.Message) {
			switch begin := make([]byte, 4); {
			case msg.Binary():
				data, err := msg.Bytes()
				a.endpoint.Send(fmt.Sprint("Bytes ", data, err), id)
			default:
				n, err := io.ReadFull(msg, begin) // which calls msg.Read
				rest, _ := msg.Text()
				a.endpoint.Send(fmt.Sprint(string(begin[:n]), "|", rest, err), id)
			}
		})
		conn.Write(timeout(t), "some text")
		is(t, next(t, conn), "some| text<nil>")
		conn.WriteBinary(timeout(t), []byte{1, 2})
		is(t, next(t, conn), "Bytes [1 2] <nil>")
	},
	"`send()`, `sendBinary()`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			a.endpoint.Send("text", id)
			a.endpoint.SendBinary([]byte("binary"), id)
			w, err := a.endpoint.Writer(id, false)
			fmt.Fprint(w, "in ", "parts ", err)
			w.Close()
		})
		conn.Write(timeout(t), "go")
		for _, want := range []string{"text", "binary", "in parts <nil>"} {
			is(t, next(t, conn), want)
		}
	},
	"`broadcast()`, `multicast()`, …": func(t *testing.T) {
		ann, url := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			a.endpoint.Subscribe(id, "news")
			a.endpoint.Broadcast("to all")
			a.endpoint.Broadcast("to the others", id)
			a.endpoint.Multicast("to one", id)
			a.endpoint.Publish("news", "to subscribers")
			a.endpoint.SetValue(id, "Ann")
			is(t, a.endpoint.Value(id), "Ann")
			is(t, slices.Collect(a.endpoint.Members("news")), fmt.Sprint([]ws.ClientID{id}))
			is(t, a.endpoint.Count("news"), "1")
			a.endpoint.TrySend("at once", id)
		})
		bob := dialed(t, url)
		ann.Write(timeout(t), "go")
		for _, want := range []string{"to all", "to one", "to subscribers", "at once"} {
			is(t, next(t, ann), want)
		}
		for _, want := range []string{"to all", "to the others"} {
			is(t, next(t, bob), want)
		}
	},
	"`close()`, `getInfo()`, `getClients()`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			info, known := a.endpoint.Info(id)
			is(t, fmt.Sprint(known, info.Connected.IsZero()), "true false")
			is(t, slices.Collect(a.endpoint.Clients()), fmt.Sprint([]ws.ClientID{id}))
			is(t, a.endpoint.Len(), "1")
			a.endpoint.Close(id, ws.CodeNormal, "enough")
		})
		conn.Write(timeout(t), "go")
		_, _, err := conn.Read(timeout(t))
		is(t, strings.Contains(fmt.Sprint(err), "enough"), "true")
	},
}

// app is a WebSocket application.
type app struct {
	endpoint *ws.Endpoint
	events   chan string // nil when nobody listens
	data     func(*app, ws.ClientID, *ws.Message)
}

func (a *app) OnStart(endpoint *ws.Endpoint) error { a.endpoint = endpoint; return a.happened("start") }

func (a *app) OnHandshake(req *aerys.Request, _ *aerys.Response) string {
	a.happened("handshake")
	return req.Param("name")
}

func (a *app) OnOpen(_ ws.ClientID, name string) { a.happened("open " + name) }

func (a *app) OnData(id ws.ClientID, msg *ws.Message) {
	a.happened("data")
	if a.data != nil {
		a.data(a, id, msg)
	}
}

func (a *app) OnClose(_ ws.ClientID, code ws.Code, reason string) {
	a.happened(fmt.Sprintf("close %d %s", code, reason))
}

func (a *app) OnStop() { a.happened("stop") }

func (a *app) happened(event string) error {
	if a.events != nil {
		a.events <- event
	}
	return nil
}

// a serves an application until the test ends, with one client.
func a(t *testing.T, data func(*app, ws.ClientID, *ws.Message)) (client *ws.Conn, url string) {
	gateway := ws.Websocket(&app{data: data})
	server := httptest.NewServer(new(aerys.Host).Use(gateway))
	t.Cleanup(func() {
		gateway.Stop(context.Background())
		server.Close()
	})
	return dialed(t, server.URL), server.URL
}

func dialed(t *testing.T, url string) *ws.Conn {
	t.Helper()
	conn, _, err := ws.Dial(timeout(t), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ws.CodeNormal, "") })
	return conn
}

// next returns the next message of a client.
func next(t *testing.T, conn *ws.Conn) string {
	t.Helper()
	text, _, err := conn.Read(timeout(t))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}
