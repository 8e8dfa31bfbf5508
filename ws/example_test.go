package ws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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

// library is for who sends more than texts to one client.
type library struct{ room }

func (l *library) OnOpen(ws.ClientID, string) {}

func (l *library) OnData(id ws.ClientID, msg *ws.Message) {
	switch text, _ := msg.Text(); {
	case msg.Binary():
		l.endpoint.TrySendBinary([]byte(text), id)
	case text == "join":
		l.endpoint.Subscribe(id, "readers")
		l.endpoint.TrySendText([]byte(strings.Join(l.endpoint.Topics(id), ", ")), id)
	case text == "leave":
		l.endpoint.Unsubscribe(id, "readers")
		l.endpoint.Send(fmt.Sprint(l.endpoint.Count("readers"), " readers of ", l.endpoint.Len()), id)
	case text == "book":
		var w *ws.Writer
		w, err := l.endpoint.Writer(id, false) // a message of unknown length
		if err == nil {
			fmt.Fprint(w, "Once ", "upon ", "a time")
			w.Close()
		}
	default:
		l.tellAll(id)
	}
}

// tellAll sends to those of a topic, and to those named.
func (l *library) tellAll(ids ...ws.ClientID) {
	l.endpoint.PublishText("readers", []byte("published"))
	l.endpoint.PublishBinary("readers", []byte("published"))
	l.endpoint.Multicast("to some", ids...)
	l.endpoint.MulticastText([]byte("to some"), ids...)
	l.endpoint.MulticastBinary([]byte("to some"), ids...)
}

func ExampleEndpoint() {
	gateway := ws.Websocket(&library{})
	server := httptest.NewServer(gateway)
	defer server.Close()

	ctx := context.Background()
	conn, _, err := ws.Dial(ctx, server.URL+"/?name=Ann")
	if err != nil {
		fmt.Println(err)
		return
	}
	conn.WriteBinary(ctx, []byte("as it came"))
	for _, text := range []string{"join", "tell", "book", "leave"} {
		conn.Write(ctx, text)
	}
	for range 9 {
		text, binary, _ := conn.Read(ctx)
		fmt.Printf("%s, binary: %t\n", text, binary)
	}
	conn.Close(ws.CodeNormal, "")
	// Output:
	// as it came, binary: true
	// readers, binary: false
	// published, binary: false
	// published, binary: true
	// to some, binary: false
	// to some, binary: false
	// to some, binary: true
	// Once upon a time, binary: false
	// 0 readers of 1, binary: false
}

// What an endpoint did so far, and what went over its connections.
func ExampleGateway_Monitor() {
	var gateway *ws.Gateway = ws.Websocket(&room{})
	server := httptest.NewServer(gateway)
	defer server.Close()

	ctx := context.Background()
	conn, _, _ := ws.Dial(ctx, server.URL+"/?name=Ann")
	conn.Read(ctx)
	conn.Close(ws.CodeNormal, "")
	gateway.Stop(ctx) // waits for OnClose
	var state ws.State = gateway.Monitor().(ws.State)
	var traffic ws.Traffic = state.Traffic
	fmt.Println(state.Accepted, state.Closed[ws.CodeNormal], traffic.MessagesSent)
	// Output: 1 1 1
}

// Why a message could not be sent, and what to do then.
func ExampleEndpoint_Send() {
	send := func(endpoint *ws.Endpoint, id ws.ClientID, text string) string {
		switch err := endpoint.Send(text, id); {
		case errors.Is(err, ws.ErrClosed):
			return "it has left: OnClose is called, or was"
		case errors.Is(err, ws.ErrSlowClient):
			return "it does not read, and is closed"
		case errors.Is(err, ws.ErrStreaming):
			return "a Writer of the same client was not closed"
		case errors.Is(err, ws.ErrInvalidText):
			return "that is no text: SendBinary"
		}
		return "it is written or queued"
	}
	gateway := ws.Websocket(&room{})
	fmt.Println(send(gateway.Endpoint(), 0, "Anybody?"))
	// Output: it has left: OnClose is called, or was
}

// keeper keeps a message, of which only what was read may be kept.
type keeper struct {
	room
	kept *ws.Message
}

// OnHandshake says something where only a header can be sent.
func (k *keeper) OnHandshake(_ *aerys.Request, res *aerys.Response) (name string) {
	_, err := res.WriteString("Welcome!")
	fmt.Println(errors.Is(err, aerys.ErrHandshakeBody))
	return ""
}

func (k *keeper) OnData(id ws.ClientID, msg *ws.Message) {
	if k.kept == nil {
		k.kept = msg
		return
	}
	_, err := k.kept.Text()
	k.endpoint.Send(fmt.Sprint(errors.Is(err, ws.ErrMessageOver)), id)
}

// A message is over when OnData returns.
func ExampleMessage() {
	server := httptest.NewServer(ws.Websocket(&rememberer{}))
	defer server.Close()
	ctx := context.Background()
	conn, _, _ := ws.Dial(ctx, server.URL)
	conn.Write(ctx, "one")
	conn.Write(ctx, "and another")
	text, _, _ := conn.Read(ctx)
	fmt.Printf("%s\n", text)
	conn.Close(ws.CodeNormal, "")
	// Output: true
}

// rememberer is a keeper that lets everybody in.
type rememberer struct{ keeper }

func (r *rememberer) OnHandshake(*aerys.Request, *aerys.Response) (name string) { return "" }

func (r *rememberer) OnOpen(ws.ClientID, string) {}

// A handshake that is accepted has no body; who is to be greeted is sent a
// message in OnOpen.
func ExampleHandler() {
	quiet := slog.New(slog.DiscardHandler) // the mistake is logged, too
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(quiet)
	server := httptest.NewServer(ws.Websocket(&keeper{}, ws.Options{Logger: quiet}))
	defer server.Close()
	_, reply, _ := ws.Dial(context.Background(), server.URL)
	fmt.Println(reply.Status)
	// Output:
	// true
	// 500 Internal Server Error
}

// A code says why a connection ended. Three are never sent: OnClose gets two of
// them for what did not come.
func ExampleCode() {
	for _, code := range []ws.Code{
		ws.CodeNormal, ws.CodeGoingAway, ws.CodeProtocolError, ws.CodeUnsupportedData, ws.CodeNoStatus, ws.CodeAbnormal,
		ws.CodeInvalidPayload, ws.CodePolicyViolation, ws.CodeTooBig, ws.CodeMandatoryExtension, ws.CodeInternalError,
		ws.CodeServiceRestart, ws.CodeTryAgainLater, ws.CodeBadGateway, ws.CodeTLSHandshake,
	} {
		fmt.Println(code, code.Sendable())
	}
	// Output:
	// 1000 normal closure true
	// 1001 going away true
	// 1002 protocol error true
	// 1003 unsupported data true
	// 1005 no status false
	// 1006 abnormal closure false
	// 1007 invalid payload true
	// 1008 policy violation true
	// 1009 message too big true
	// 1010 mandatory extension true
	// 1011 internal error true
	// 1012 service restart true
	// 1013 try again later true
	// 1014 bad gateway true
	// 1015 TLS handshake false
}
