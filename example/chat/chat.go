package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"aerys"
	"aerys/ws"
)

// chat is a WebSocket endpoint, a room a topic of it.
type chat struct {
	secret   []byte
	names    []string // of the rooms
	rooms    map[string]*room
	endpoint *ws.Endpoint
}

// room is what was said last, and who may say something now.
type room struct {
	sync.Mutex
	said []message
}

const remembered = 50 // messages

// client is one window of a visitor.
type client struct {
	name, topic string
	*room
	due time.Time // when it has been silent long enough for what it said
}

type message struct {
	ID         int64 // when it was said, in milliseconds
	Name, Text string
}

// event is what has changed for the page.
type event struct {
	People   []string
	Messages []message
	Notice   string
}

func (e event) String() string {
	text, _ := json.Marshal(e)
	return string(text)
}

var _ ws.Handler[*client] = (*chat)(nil)

func newChat(secret string, rooms ...string) *chat {
	c := &chat{secret: []byte(secret), names: rooms, rooms: make(map[string]*room)}
	for _, name := range rooms {
		c.rooms[name] = new(room)
	}
	return c
}

func (c *chat) OnStart(endpoint *ws.Endpoint) error { c.endpoint = endpoint; return nil }

func (c *chat) OnHandshake(req *aerys.Request, res *aerys.Response) *client {
	topic := req.PathValue("room")
	came := &client{name: c.visitor(req), topic: topic, room: c.rooms[topic]}
	if came.name == "" || came.room == nil {
		res.SetStatus(http.StatusForbidden).End("Say who you are, and enter a room that there is.")
	}
	return came
}

// OnOpen shows what was said, and who came. Nobody can say anything meanwhile,
// so that nothing is missing and nothing comes twice.
func (c *chat) OnOpen(id ws.ClientID, came *client) {
	came.Lock()
	defer came.Unlock()
	c.endpoint.SetValue(id, came)
	c.endpoint.Subscribe(id, came.topic)
	c.endpoint.TrySend(event{Messages: came.said}.String(), id)
	c.endpoint.Publish(came.topic, event{People: c.people(came.topic)}.String())
}

func (c *chat) OnData(id ws.ClientID, msg *ws.Message) {
	text, err := msg.Text()
	from, ok := c.endpoint.Value(id).(*client)
	if err != nil || !ok {
		return // it has left meanwhile
	}
	if !from.paced(time.Now()) {
		c.endpoint.TrySend(event{Notice: "Not so fast: that was not sent."}.String(), id)
		return
	}
	from.Lock()
	defer from.Unlock()
	c.endpoint.Publish(from.topic, event{Messages: []message{from.say(from.name, text)}}.String())
}

func (c *chat) OnClose(id ws.ClientID, _ ws.Code, _ string) {
	if left, ok := c.endpoint.Value(id).(*client); ok {
		left.Lock()
		defer left.Unlock()
		c.endpoint.Publish(left.topic, event{People: c.people(left.topic)}.String())
	}
}

func (c *chat) OnStop() {} // the page comes back by itself

// people are the names of those in a room.
func (c *chat) people(topic string) (names []string) {
	for id := range c.endpoint.Members(topic) {
		if here, ok := c.endpoint.Value(id).(*client); ok {
			names = append(names, here.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// say remembers what is said. IDs grow, also over a restart.
func (r *room) say(name, text string) message {
	said := message{time.Now().UnixMilli(), name, text}
	if n := len(r.said); n > 0 {
		said.ID = max(said.ID, r.said[n-1].ID+1)
	}
	r.said = append(r.said[max(0, len(r.said)+1-remembered):], said)
	return said
}

// paced lets five messages through at once, and one a second from then on. What
// a client says is handled one by one, so nothing need be locked.
func (c *client) paced(now time.Time) bool {
	if c.due.Before(now) {
		c.due = now
	}
	if c.due.Sub(now) > 4*time.Second {
		return false
	}
	c.due = c.due.Add(time.Second)
	return true
}
