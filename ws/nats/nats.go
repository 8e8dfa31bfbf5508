// Package nats joins the nodes of an application by NATS: processes on one machine or
// on many, each of which serves WebSockets of its own.
//
//	gateway := ws.Websocket(&chat{}, ws.Options{Broker: nats.New("nats://10.0.0.1:4222")})
//
// It is a module of its own, so that package aerys requires nothing. Core NATS is all
// it needs: messages are delivered at most once and not kept, so that an application
// that has to be sure reads what it missed from where it is kept when Options.OnLost of
// package ws says so.
package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"aerys/ws"

	"github.com/nats-io/nats.go"
)

// Options are the settings of a Broker. The zero value of each field stands for the
// default that its comment names.
type Options struct {
	// Prefix begins all subjects, which are Prefix.topic, in one token. Applications, and
	// endpoints of one application, that share a NATS server need one each. On the
	// server, allow a node to publish and to subscribe Prefix.> and nothing else.
	// Default "aerys".
	Prefix string
	// Wait has the start not fail where no server answers, and go on trying.
	Wait bool
	// Connect is added to the options of the connection: credentials, TLS, a name.
	Connect []nats.Option
}

// Broker is a ws.Broker on a NATS server or cluster. It is for one ws.Options.
type Broker struct {
	url     string
	options Options
	conn    *nats.Conn
	inbox   chan *nats.Msg // of all subscriptions
	closed  chan struct{}
	done    sync.WaitGroup

	mu     sync.RWMutex
	topics map[string]subscribed // by subject
}

// subscribed is a topic that is.
type subscribed struct {
	topic string
	to    *nats.Subscription
}

// New returns a Broker for the servers at url, several with commas between them. It
// connects when the endpoint starts.
func New(url string, options ...Options) *Broker {
	if len(options) > 1 {
		panic(fmt.Sprintf("nats: New: %d Options: pass one", len(options)))
	}
	b := &Broker{url: url}
	if len(options) == 1 {
		b.options = options[0]
	}
	if b.options.Prefix == "" {
		b.options.Prefix = "aerys"
	}
	return b
}

// inboxSize is how many messages may wait to be delivered. Should that not do, those
// that come are dropped, and Lost is called.
const inboxSize = 1 << 16

// flushTimeout bounds how long the server may take to answer.
const flushTimeout = 5 * time.Second

// Start implements ws.Broker. The error is that of the connection, with the url.
func (b *Broker) Start(to ws.Receiver) error {
	b.inbox, b.closed = make(chan *nats.Msg, inboxSize), make(chan struct{})
	b.topics = make(map[string]subscribed)
	back := func(conn *nats.Conn) {
		conn.FlushTimeout(flushTimeout) // the server has our subscriptions
		to.Lost()
	}
	conn, err := nats.Connect(b.url, append([]nats.Option{
		nats.NoEcho(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // what waited for a server is out of date
		nats.PingInterval(5 * time.Second),
		nats.RetryOnFailedConnect(b.options.Wait),
		nats.ConnectHandler(func(conn *nats.Conn) {
			if b.options.Wait {
				back(conn)
			}
		}),
		nats.ReconnectHandler(back),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				to.Lost()
			}
		}),
	}, b.options.Connect...)...)
	if err != nil {
		return fmt.Errorf("nats: connecting to %s: %w", b.url, err)
	}
	b.conn = conn
	b.done.Add(1)
	go b.receive(to)
	return nil
}

// mostAtOnce is how many messages are handed over together.
const mostAtOnce = 1024

// receive hands over what has come, until Close.
func (b *Broker) receive(to ws.Receiver) {
	defer b.done.Done()
	batch := make([]ws.Remote, 0, mostAtOnce)
	for {
		select {
		case <-b.closed:
			return
		case m := <-b.inbox:
			batch = b.add(batch[:0], m)
		}
		for more := true; more && len(batch) < mostAtOnce; {
			select {
			case m := <-b.inbox:
				batch = b.add(batch, m)
			default:
				more = false
			}
		}
		to.Receive(batch)
		clear(batch)
	}
}

// add adds a message, unless its topic is not subscribed any more.
func (b *Broker) add(batch []ws.Remote, m *nats.Msg) []ws.Remote {
	b.mu.RLock()
	s, ok := b.topics[m.Subject]
	b.mu.RUnlock()
	if !ok {
		return batch
	}
	return append(batch, ws.Remote{Topic: s.topic, Message: m.Data})
}

// Subscribe implements ws.Broker.
func (b *Broker) Subscribe(topics []string) error {
	b.mu.Lock()
	for _, topic := range topics {
		subject := b.subject(topic)
		if b.topics[subject].to != nil {
			continue // it was asked for before, and the answer did not come
		}
		to, err := b.conn.ChanSubscribe(subject, b.inbox)
		if err != nil {
			b.mu.Unlock()
			return err
		}
		b.topics[subject] = subscribed{topic, to}
	}
	b.mu.Unlock()
	return b.conn.FlushTimeout(flushTimeout)
}

// Unsubscribe implements ws.Broker.
func (b *Broker) Unsubscribe(topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, topic := range topics {
		subject := b.subject(topic)
		if s := b.topics[subject]; s.to != nil {
			s.to.Unsubscribe()
			delete(b.topics, subject)
		}
	}
}

// Publish implements ws.Broker.
func (b *Broker) Publish(topic string, message []byte) error {
	return b.conn.Publish(b.subject(topic), message)
}

// MaxMessage is how many bytes a message may have, as the server says: 1 MiB if it
// is not configured.
func (b *Broker) MaxMessage() int {
	if most := b.conn.MaxPayload(); most > 0 {
		return int(most)
	}
	return 1 << 20
}

// Connected reports whether a server is there.
func (b *Broker) Connected() bool { return b.conn.IsConnected() }

// Close implements ws.Broker.
func (b *Broker) Close() error {
	err := b.conn.FlushTimeout(flushTimeout)
	b.conn.Close()
	close(b.closed)
	b.done.Wait()
	return err
}

// longestToken is from what length on the hash of a topic stands for it.
const longestToken = 200

// subject is where a topic is published: one token, in which everything but letters,
// digits, "-" and "_" is escaped. It is never read back, but looked up.
func (b *Broker) subject(topic string) string {
	const digits = "0123456789ABCDEF"
	subject := make([]byte, 0, len(b.options.Prefix)+1+3*min(len(topic), longestToken))
	subject = append(append(subject, b.options.Prefix...), '.')
	if topic == "" {
		return string(append(subject, '='))
	}
	if len(topic) > longestToken {
		hash := sha256.Sum256([]byte(topic))
		return string(hex.AppendEncode(append(subject, "=h"...), hash[:]))
	}
	for i := range len(topic) {
		switch c := topic[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			subject = append(subject, c)
		default:
			subject = append(subject, '=', digits[c>>4], digits[c&15])
		}
	}
	return string(subject)
}
