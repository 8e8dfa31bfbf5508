package ws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	"aerys"
	"aerys/ws"
)

// room is a WebSocket application: what one client says, the others hear. Its
// OnHandshake returns a string, so this is what its OnOpen gets.
type room struct {
	endpoint *ws.Endpoint
	names    sync.Map // of string, by ws.ClientID
}

var _ ws.Handler[string] = (*room)(nil) // the compiler names a method that is missing

func (r *room) OnStart(endpoint *ws.Endpoint) error { r.endpoint = endpoint; return nil }

func (r *room) OnHandshake(req *aerys.Request, res *aerys.Response) (name string) {
	if name = req.Param("name"); name == "" {
		res.SetStatus(403).End("Who are you?") // an ordinary reply: there will be no OnOpen
	}
	return name
}

func (r *room) OnOpen(id ws.ClientID, name string) {
	r.names.Store(id, name)
	r.endpoint.Send("Welcome, "+name+"!", id)
}

func (r *room) OnData(id ws.ClientID, msg *ws.Message) {
	text, err := msg.Text()
	if err != nil {
		return // the client is gone; OnClose will follow
	}
	name, _ := r.names.Load(id)
	r.endpoint.Broadcast(fmt.Sprintf("%s: %s", name, text), id) // to all but this one
}

func (r *room) OnClose(id ws.ClientID, _ ws.Code, _ string) { r.names.Delete(id) }

func (r *room) OnStop() { r.endpoint.Broadcast("Good night.") }

// An application at a path of a server. In a program of its own, the host would
// be passed to aerys.Run instead of httptest.
func Example() {
	router := aerys.Router().Get("/room", ws.Websocket(&room{}))
	server := httptest.NewServer(new(aerys.Host).Use(router))
	defer server.Close()

	ctx := context.Background()
	alice, _, err := ws.Dial(ctx, server.URL+"/room?name=Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	text, _, err := alice.Read(ctx)
	fmt.Printf("%s %v\n", text, err)
	fmt.Println(alice.Close(ws.CodeNormal, "bye"))
	// Output:
	// Welcome, Alice! <nil>
	// <nil>
}

// The room of the package's example: what Bob says, Alice hears.
func ExampleEndpoint_Broadcast() {
	server := httptest.NewServer(ws.Websocket(&room{})) // a Gateway is an http.Handler
	defer server.Close()

	ctx := context.Background()
	enter := func(name string) *ws.Conn {
		conn, _, err := ws.Dial(ctx, server.URL+"/?name="+name)
		if err != nil {
			panic(err)
		}
		text, _, _ := conn.Read(ctx)
		fmt.Printf("%s\n", text)
		return conn
	}
	alice, bob := enter("Alice"), enter("Bob")
	bob.Write(ctx, "Hello, room.")
	text, _, _ := alice.Read(ctx)
	fmt.Printf("%s\n", text)
	bob.Close(ws.CodeNormal, "")
	alice.Close(ws.CodeNormal, "")
	// Output:
	// Welcome, Alice!
	// Welcome, Bob!
	// Bob: Hello, room.
}

// lobby knows its guests by what it keeps for each of them.
type lobby struct{ room }

func (l *lobby) OnOpen(id ws.ClientID, name string) {
	l.endpoint.SetValue(id, name)
	l.endpoint.Subscribe(id, "guests")
}

func (l *lobby) OnData(id ws.ClientID, _ *ws.Message) {
	var names []string
	for guest := range l.endpoint.Members("guests") {
		if name, ok := l.endpoint.Value(guest).(string); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	l.endpoint.TrySend(strings.Join(names, " and "), id) // who does not read the last answer needs no other
}

// Who asks the lobby is told who is there.
func ExampleEndpoint_Members() {
	server := httptest.NewServer(ws.Websocket(&lobby{}))
	defer server.Close()

	ctx := context.Background()
	alice, _, _ := ws.Dial(ctx, server.URL+"/?name=Alice")
	bob, _, _ := ws.Dial(ctx, server.URL+"/?name=Bob")
	bob.Write(ctx, "Anybody?") // after which his OnOpen has returned
	bob.Read(ctx)
	alice.Write(ctx, "Who is there?")
	text, _, _ := alice.Read(ctx)
	fmt.Printf("%s\n", text)
	bob.Close(ws.CodeNormal, "")
	alice.Close(ws.CodeNormal, "")
	// Output:
	// Alice and Bob
}

// A bot that answers whatever it hears, until the server closes the connection.
func ExampleDial() {
	endpoint := &interview{questions: []string{"How are you?", "Sure?"}}
	server := httptest.NewServer(ws.Websocket(endpoint, ws.Options{Compression: true}))
	defer server.Close()

	ctx := context.Background()
	conn, _, err := ws.Dial(ctx, server.URL, ws.DialOptions{Compression: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		question, _, err := conn.Read(ctx)
		var closed *ws.CloseError
		if errors.As(err, &closed) {
			fmt.Println(closed.Code, closed.Reason)
			return
		}
		fmt.Printf("%s\n", question)
		conn.Write(ctx, "Fine.")
	}
	// Output:
	// How are you?
	// Sure?
	// 1000 normal closure no more questions
}

// interview asks one client its questions.
type interview struct {
	room
	questions []string
}

func (i *interview) OnHandshake(*aerys.Request, *aerys.Response) (nobody string) { return }

func (i *interview) OnOpen(id ws.ClientID, _ string) { i.ask(id) }

func (i *interview) OnData(id ws.ClientID, _ *ws.Message) { i.ask(id) }

func (i *interview) ask(id ws.ClientID) {
	if len(i.questions) == 0 {
		i.endpoint.Close(id, ws.CodeNormal, "no more questions")
		return
	}
	i.endpoint.Send(i.questions[0], id)
	i.questions = i.questions[1:]
}

// A server that refuses the handshake says why.
func ExampleDial_refused() {
	server := httptest.NewServer(ws.Websocket(&room{}))
	defer server.Close()

	_, res, err := ws.Dial(context.Background(), server.URL)
	if err != nil && res != nil {
		body, _ := io.ReadAll(res.Body)
		fmt.Printf("%s: %s\n", res.Status, body)
	}
	// Output: 403 Forbidden: Who are you?
}
