package main

import (
	_ "embed" // for the page
	"encoding/json"
	"unicode/utf8"

	"aerys"
	"aerys/ws"
)

//go:embed page.html
var page string

// chat is one room, on all nodes.
type chat struct {
	endpoint *ws.Endpoint
	node     string
}

// event is what a page is told.
type event struct {
	Kind string // "hello", "line" or "people"
	Node string // of who speaks, or of the page itself
	Name string `json:",omitempty"`
	Text string `json:",omitempty"`
	*ws.Presence
}

const room = "room"

func (c *chat) OnStart(endpoint *ws.Endpoint) error { c.endpoint = endpoint; return nil }

func (c *chat) OnHandshake(req *aerys.Request, res *aerys.Response) string {
	name := req.Param("name")
	if n := utf8.RuneCountInString(name); n == 0 || n > 20 {
		res.SetStatus(400).End("A name has 1 to 20 letters.")
	}
	return name
}

func (c *chat) OnOpen(id ws.ClientID, name string) {
	c.endpoint.SetValue(id, name)
	c.endpoint.Subscribe(id, room) // without the broker, for this node
	c.tell(event{Kind: "hello", Node: c.node}, id)
	c.say(event{Kind: "line", Node: c.node, Text: name + " is here."})
}

func (c *chat) OnData(id ws.ClientID, m *ws.Message) {
	text, err := m.Text()
	switch name, _ := c.endpoint.Value(id).(string); {
	case err != nil:
	case text == "who?":
		people := c.endpoint.Presence(room)
		c.tell(event{Kind: "people", Node: c.node, Presence: &people}, id)
	default:
		c.say(event{Kind: "line", Node: c.node, Name: name, Text: text})
	}
}

func (c *chat) OnClose(id ws.ClientID, _ ws.Code, _ string) {
	name, _ := c.endpoint.Value(id).(string)
	c.say(event{Kind: "line", Node: c.node, Text: name + " has left."})
}

func (c *chat) OnStop() {}

// say tells everybody, on all nodes. If the broker is away, those of this node hear
// it; the page says when there are nodes that do not answer.
func (c *chat) say(e event) {
	text, _ := json.Marshal(e)
	c.endpoint.PublishText(room, text)
}

func (c *chat) tell(e event, id ws.ClientID) {
	text, _ := json.Marshal(e)
	c.endpoint.SendText(text, id)
}
