package ws

import "errors"

// Broker carries messages between the nodes of an application: processes that run
// the same endpoint, each for clients of its own. What is broadcast, published to
// a topic or closed by topic on one node reaches the clients of all. Package
// aerys/ws/nats has one for NATS.
//
// A Broker serves one endpoint. Its topics are strings of any bytes. It delivers a
// message at most once, those of one node and topic in order, and to a node nothing
// that it published itself. After it was cut off it goes on with the same
// subscriptions, and calls Receiver.Lost. Where its messages have a size limit, it
// has a method MaxMessage() int, which tells that in bytes once Start has
// returned. With a method Connected() bool it says whether it is there, for
// Gateway.Monitor.
//
// Messages are delivered as they come. An optional interface for brokers that keep
// them, such as SubscribeSince(topic string, position uint64) error, may follow.
type Broker interface {
	// Start connects. It is called before the server listens; an error stops the
	// start. A Broker that is to be waited for may return nil, and call
	// Receiver.Lost once it is there.
	Start(Receiver) error
	// Subscribe asks for what other nodes publish to some topics, any number of
	// them, and returns when nothing of it is missed any more. After an error it
	// is called again, for as long as there are clients.
	Subscribe(topics []string) error
	// Unsubscribe ends that.
	Unsubscribe(topics []string)
	// Publish sends a message, which it must not keep. It may block; one goroutine
	// calls it. Messages for which it fails are lost.
	Publish(topic string, message []byte) error
	// Close is called when the endpoint has stopped, after the last OnClose. What
	// was published before still leaves. Calls that still wait return, and those
	// that come late fail. Start may be called again.
	Close() error
}

// Receiver is the endpoint for its Broker, which may call it from any goroutine.
type Receiver interface {
	// Receive takes what has come: all that is at hand, in order. Nothing of it
	// is kept.
	Receive(batch []Remote)
	// Lost says that messages may be missing since the last Receive.
	Lost()
}

// Remote is a message of another node.
type Remote struct {
	Topic   string
	Message []byte // as it was given to Publish there
}

// ErrBroker says that other nodes do not get a message, or that a subscription is
// not yet known to them: Options.Broker is away, takes too long, or refuses a message of
// that size. Clients of this node get the message all the same, unless it is too
// large, and a subscription holds for what is published here; see Options.OnLost.
var ErrBroker = errors.New("ws: the broker does not take it")
