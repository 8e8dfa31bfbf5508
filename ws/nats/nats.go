// Package nats joins the nodes of an application by NATS: processes on one machine or
// on many, each of which serves WebSockets of its own.
//
//	gateway := ws.Websocket(&chat{}, ws.Options{Broker: nats.New("nats://10.0.0.1:4222")})
//
// It is a module of its own, so that package aerys requires nothing. Core NATS is all
// it needs: messages are delivered at most once and not kept, so that an application
// that has to be sure reads what it missed from where it is kept when Options.OnLost of
// package ws says so. The servers should be configured with no_fast_producer_stall:
// true, or one node that hangs slows down all others for some seconds.
package nats

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
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
	// Letters, digits, "-" and "_", and dots between them. Default "aerys".
	Prefix string
	// Wait has the start not fail where no server answers, and go on trying.
	Wait bool
	// Connect is added to the options of the connection: credentials, TLS, a name.
	// Handlers among them are called after those of the Broker.
	Connect []nats.Option
}

// Broker is a ws.Broker on a NATS server or cluster. It is for one ws.Options.
type Broker struct {
	url     string
	options Options
	conn    atomic.Pointer[nats.Conn] // nil unless started
	most    atomic.Int64              // bytes of a message: to ask conn is to wait for a Publish that waits
	there   atomic.Bool               // a server is, likewise
	inbox   chan *nats.Msg            // of all subscriptions
	closed  chan struct{}
	done    sync.WaitGroup

	mu     sync.RWMutex          // not held while conn is asked for something
	topics map[string]subscribed // by subject
}

// subscribed is a topic that is.
type subscribed struct {
	topic string
	to    *nats.Subscription
}

var prefixes = regexp.MustCompile(`^[\w-]+(\.[\w-]+)*$`)

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
	if !prefixes.MatchString(b.options.Prefix) {
		panic(fmt.Sprintf("nats: New: Options.Prefix %q: use letters, digits, - and _, with dots between them", b.options.Prefix))
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
	if b.conn.Load() != nil {
		return errors.New("nats: a Broker is for one ws.Options: call New for each")
	}
	b.inbox, b.closed, b.topics = make(chan *nats.Msg, inboxSize), make(chan struct{}), make(map[string]subscribed)
	options := append([]nats.Option{
		nats.NoEcho(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // what waited for a server is out of date
		nats.PingInterval(5 * time.Second),
		nats.FlusherTimeout(10 * time.Second), // without that, a Publish that waits holds up the pings, too
		nats.RetryOnFailedConnect(b.options.Wait),
	}, b.options.Connect...)
	conn, err := nats.Connect(b.url, append(options, b.listen(to))...)
	if err != nil {
		return fmt.Errorf("nats: connecting to %s: %w", b.url, err)
	}
	if !b.options.Wait {
		b.connected(conn)
	}
	b.conn.Store(conn)
	b.done.Add(1)
	go b.receive(to, b.inbox, b.closed)
	return nil
}

// connected notes what there is to know of a connection.
func (b *Broker) connected(conn *nats.Conn) {
	b.most.Store(conn.MaxPayload())
	b.there.Store(true)
}

// listen has the Broker told what becomes of the connection, and then whoever else
// wants to be.
func (b *Broker) listen(to ws.Receiver) nats.Option {
	return func(o *nats.Options) error {
		reconnected, connected, disconnected, failed := o.ReconnectedCB, o.ConnectedCB, o.DisconnectedErrCB, o.AsyncErrorCB
		back := func(then nats.ConnHandler) nats.ConnHandler {
			return func(conn *nats.Conn) {
				b.connected(conn)
				conn.FlushTimeout(flushTimeout) // the server has our subscriptions
				to.Lost()
				if then != nil {
					then(conn)
				}
			}
		}
		if o.ReconnectedCB = back(reconnected); b.options.Wait {
			o.ConnectedCB = back(connected)
		}
		o.DisconnectedErrCB = func(conn *nats.Conn, err error) {
			if b.there.Store(false); disconnected != nil {
				disconnected(conn, err)
			}
		}
		o.AsyncErrorCB = func(conn *nats.Conn, s *nats.Subscription, err error) {
			slow := errors.Is(err, nats.ErrSlowConsumer)
			if slow {
				to.Lost()
			}
			if failed != nil {
				failed(conn, s, err)
			} else if !slow {
				slog.Error("nats: an error of the connection", "error", err) // such as what it may not subscribe
			}
		}
		return nil
	}
}

// mostAtOnce is how many messages are handed over together.
const mostAtOnce = 1024

// receive hands over what has come, until Close.
func (b *Broker) receive(to ws.Receiver, inbox chan *nats.Msg, closed chan struct{}) {
	defer b.done.Done()
	batch := make([]ws.Remote, 0, mostAtOnce)
	for {
		select {
		case <-closed:
			return
		case m := <-inbox:
			batch = b.add(batch[:0], m)
		}
		for more := true; more && len(batch) < mostAtOnce; {
			select {
			case m := <-inbox:
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
	s := b.find(m.Subject)
	if s.to == nil {
		return batch
	}
	return append(batch, ws.Remote{Topic: s.topic, Message: m.Data})
}

func (b *Broker) find(subject string) subscribed {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.topics[subject]
}

// Subscribe implements ws.Broker.
func (b *Broker) Subscribe(topics []string) error {
	conn := b.conn.Load()
	for _, topic := range topics {
		subject := b.subject(topic)
		if b.find(subject).to != nil {
			continue // it was asked for before, and the answer did not come
		}
		to, err := conn.ChanSubscribe(subject, b.inbox)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.topics[subject] = subscribed{topic, to}
		b.mu.Unlock()
	}
	return conn.FlushTimeout(flushTimeout)
}

// Unsubscribe implements ws.Broker.
func (b *Broker) Unsubscribe(topics []string) {
	for _, topic := range topics {
		subject := b.subject(topic)
		if s := b.find(subject); s.to != nil {
			b.mu.Lock()
			delete(b.topics, subject)
			b.mu.Unlock()
			s.to.Unsubscribe()
		}
	}
}

// Publish implements ws.Broker.
func (b *Broker) Publish(topic string, message []byte) error {
	return b.conn.Load().Publish(b.subject(topic), message)
}

// MaxMessage is how many bytes a message may have, as the server says: 1 MiB if it
// is not configured, or not there yet.
func (b *Broker) MaxMessage() int {
	if most := b.most.Load(); most > 0 {
		return int(most)
	}
	return 1 << 20
}

// Connected reports whether a server is there.
func (b *Broker) Connected() bool { return b.there.Load() }

// Close implements ws.Broker.
func (b *Broker) Close() (err error) {
	conn := b.conn.Swap(nil) // of which all methods return an error then
	if conn == nil {
		return nil
	}
	if b.there.Swap(false) {
		err = conn.FlushTimeout(flushTimeout)
	}
	conn.Close()
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
