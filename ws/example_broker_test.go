package ws_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"

	"aerys"
	"aerys/ws"
)

// cableEnd is a Broker for nodes that are in one program: for tests.
type cableEnd struct {
	*joined
	receiver ws.Receiver
	topics   []string
}

// joined are all that reach each other.
type joined struct {
	sync.Mutex
	all []*cableEnd
}

var _ ws.Broker = (*cableEnd)(nil)

func (c *cableEnd) Start(receiver ws.Receiver) error {
	c.Lock()
	defer c.Unlock()
	c.receiver, c.all = receiver, append(c.all, c)
	return nil
}

func (c *cableEnd) Subscribe(topics []string) error {
	c.Lock()
	defer c.Unlock()
	c.topics = append(c.topics, topics...)
	return nil
}

func (c *cableEnd) Unsubscribe(topics []string) {
	c.Lock()
	defer c.Unlock()
	c.topics = slices.DeleteFunc(c.topics, func(topic string) bool { return slices.Contains(topics, topic) })
}

func (c *cableEnd) Publish(topic string, message []byte) error {
	c.Lock()
	defer c.Unlock()
	for _, other := range c.all {
		if other != c && slices.Contains(other.topics, topic) {
			other.receiver.Receive([]ws.Remote{{Topic: topic, Message: message}})
		}
	}
	return nil
}

func (c *cableEnd) Close() error {
	c.Lock()
	defer c.Unlock()
	c.all = slices.DeleteFunc(c.all, func(end *cableEnd) bool { return end == c })
	return nil
}

// news is for those who want to hear them.
type news struct{ room }

func (n *news) OnHandshake(*aerys.Request, *aerys.Response) (nobody string) { return "" }

func (n *news) OnOpen(id ws.ClientID, _ string) {
	if err := n.endpoint.Subscribe(id, "news"); errors.Is(err, ws.ErrBroker) {
		fmt.Println("the news of this node are all that there are, until OnLost is called")
	}
	n.endpoint.Send("welcome", id)
}

func (n *news) OnStop() {}

// What is published on one node reaches the clients of all.
func ExampleBroker() {
	between, ctx := new(joined), context.Background()
	var endpoints []*ws.Endpoint
	var readers []*ws.Conn
	for range 2 {
		gateway := ws.Websocket(&news{}, ws.Options{Broker: &cableEnd{joined: between}})
		server := httptest.NewServer(gateway)
		defer server.Close()
		defer gateway.Stop(ctx)
		reader, _, err := ws.Dial(ctx, server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		reader.Read(ctx) // the welcome
		endpoints, readers = append(endpoints, gateway.Endpoint()), append(readers, reader)
	}
	endpoints[0].Publish("news", "It works.")
	for _, reader := range readers {
		text, _, _ := reader.Read(ctx)
		fmt.Printf("%s\n", text)
	}
	var presence ws.Presence = endpoints[1].Presence("news")
	fmt.Println(presence.Count, "readers")
	endpoints[1].CloseTopic("news", ws.CodeNormal, "no more news")
	for _, reader := range readers {
		_, _, err := reader.Read(ctx)
		fmt.Println(err)
	}
	// Output:
	// It works.
	// It works.
	// 2 readers
	// ws: closed with 1000 normal closure, reason "no more news"
	// ws: closed with 1000 normal closure, reason "no more news"
}

// Without a broker there is nothing to tell of one.
func ExampleBrokerState() {
	gateway := ws.Websocket(&news{}, ws.Options{Broker: &cableEnd{joined: new(joined)}})
	gateway.Start(context.Background())
	defer gateway.Stop(context.Background())
	var broker *ws.BrokerState = gateway.Monitor().(ws.State).Broker
	fmt.Println(broker.Nodes, "other nodes,", broker.Lost, "messages lost")
	// Output: 0 other nodes, 0 messages lost
}
