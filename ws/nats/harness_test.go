package nats_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/nats"

	"github.com/nats-io/nats-server/v2/server"
)

// The test program is also the other processes of its tests: a NATS server, and a
// node, which can be stopped and killed.
func TestMain(m *testing.M) {
	switch role, argument, _ := strings.Cut(os.Getenv("ROLE"), " "); role {
	case "server":
		runServer(argument)
	case "node":
		runNode(argument)
	default:
		os.Exit(m.Run())
	}
}

// patience is how long a test waits for what has to come.
const patience = time.Minute

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// process is another process of a test. It prints a line once it is there.
type process struct {
	*exec.Cmd
	first string
	lines *bufio.Scanner
}

func start(t testing.TB, role string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), "ROLE="+role)
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if p.lines = bufio.NewScanner(out); !p.lines.Scan() {
		t.Fatalf("%s does not start", role)
	}
	p.first = p.lines.Text()
	return p
}

func (p *process) kill() {
	p.Process.Kill()
	p.Wait()
}

// stop stops the process until it is resumed, and waits until none of its threads runs.
func (p *process) stop() {
	p.Process.Signal(syscall.SIGSTOP)
	syscall.Wait4(p.Process.Pid, nil, syscall.WUNTRACED, nil)
}

func (p *process) resume() { p.Process.Signal(syscall.SIGCONT) }

// freeAddress returns an address that nobody listens on.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// natsServer starts a NATS server at an address.
func natsServer(t *testing.T, address string) *process { return start(t, "server "+address) }

func runServer(address string) {
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	s, err := server.NewServer(&server.Options{Host: at.IP.String(), Port: at.Port, NoSigs: true, NoFastProducerStall: true})
	if err != nil {
		panic(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		panic("it is not ready")
	}
	fmt.Println("nats://" + address)
	select {}
}

// node is a node of an application in which clients choose their topics, and say what
// is published: a topic, a line feed and a text.
type node struct {
	*ws.Endpoint
	gateway *ws.Gateway
	losses  atomic.Int64
	stops   func()
	url     string
}

func (n *node) OnStart(e *ws.Endpoint) error { return nil }

func (n *node) OnHandshake(req *aerys.Request, _ *aerys.Response) []string {
	return req.Params("topic")
}

func (n *node) OnOpen(id ws.ClientID, topics []string) {
	for _, topic := range topics {
		if err := n.Subscribe(id, topic); err != nil {
			n.Send("error: "+err.Error(), id)
		}
	}
	n.Send("welcome", id)
}

func (n *node) OnData(id ws.ClientID, m *ws.Message) {
	text, _ := m.Text()
	var topics, messages int
	if topic, message, ok := strings.Cut(text, "\n"); ok {
		n.Publish(topic, message)
	} else if found, _ := fmt.Sscanf(text, "flood %d %d", &topics, &messages); found == 2 {
		n.flood(topics, messages)
	} else if found, _ := fmt.Sscanf(text, "subscribe %d", &topics); found == 1 {
		n.subscribe(id, topics)
	}
}

// flood publishes so many messages to each topic, in turn.
func (n *node) flood(topics, messages int) {
	text := strings.Repeat("x", loadSize)
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint("topic ", i)
	}
	for range messages {
		for _, name := range names {
			n.Publish(name, text)
		}
	}
}

// subscribe subscribes a client to so many topics, and tells it when that is done.
func (n *node) subscribe(id ws.ClientID, topics int) {
	var group sync.WaitGroup
	for worker := range 100 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := worker; i < topics; i += 100 {
				n.Subscribe(id, fmt.Sprint("many ", i))
			}
		}()
	}
	group.Wait()
	debug.FreeOSMemory()
	n.Send("done", id)
}

func (n *node) OnClose(ws.ClientID, ws.Code, string) {}

func (n *node) OnStop() {
	if n.stops != nil {
		n.stops()
	}
}

func newNode(broker ws.Broker) *node {
	n := new(node)
	n.gateway = ws.Websocket(n, ws.Options{Broker: broker, MaxFramesPerSecond: -1, MaxBytesPerMinute: -1,
		MaxQueuedBytes: 64 << 20, MaxQueuedMessages: 1 << 20,
		OnLost: func() { n.losses.Add(1) }, Logger: slog.New(slog.DiscardHandler)})
	n.Endpoint = n.gateway.Endpoint()
	return n
}

// run starts a node in this process.
func run(t *testing.T, broker ws.Broker) *node {
	t.Helper()
	n := newNode(broker)
	if err := n.gateway.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(n.gateway)
	n.url = s.URL
	t.Cleanup(func() {
		n.stop()
		s.Close()
	})
	return n
}

func (n *node) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	n.gateway.Stop(ctx)
}

// three runs three nodes on one server.
func three(t *testing.T, url string) (nodes [3]*node) {
	for i := range nodes {
		nodes[i] = run(t, nats.New(url))
	}
	return nodes
}

// runNode runs a node that is a process. It prints where it is, and each loss.
func runNode(broker string) {
	n := newNode(nats.New(broker))
	if err := n.gateway.Start(context.Background()); err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println("http://" + l.Addr().String())
	go func() {
		for told := int64(0); ; time.Sleep(time.Millisecond) {
			if losses := n.losses.Load(); losses > told {
				told = losses
				fmt.Println("lost", time.Now().UnixMilli())
			}
		}
	}()
	http.Serve(l, n.gateway)
}

// client is a client of a node, in some topics.
type client struct {
	*ws.Conn
	t   *testing.T
	got chan string // closed when the connection is over
}

func dial(t *testing.T, at string, topics ...string) *client {
	t.Helper()
	conn, _, err := ws.Dial(context.Background(), at+"/?"+url.Values{"topic": topics}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{conn, t, make(chan string, 1<<20)}
	go func() {
		defer close(c.got)
		for {
			data, _, err := conn.Read(context.Background())
			if err != nil {
				return
			}
			c.got <- string(data)
		}
	}()
	t.Cleanup(func() { conn.Close(ws.CodeNormal, "") })
	c.expect("welcome")
	return c
}

func (c *client) expect(want string) {
	c.t.Helper()
	select {
	case got, ok := <-c.got:
		if got != want || !ok {
			c.t.Fatalf("got %q (%v), want %q", got, ok, want)
		}
	case <-time.After(patience):
		c.t.Fatalf("%q does not come", want)
	}
}

// publish has the node of the client publish something.
func (c *client) publish(topic, text string) {
	c.Write(context.Background(), topic+"\n"+text)
}

// meet waits until what one client's node publishes reaches another client.
func meet(t *testing.T, from, to *client, topic string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		from.publish(topic, "met")
		select {
		case got := <-to.got:
			if got == "met" {
				for len(to.got) > 0 {
					<-to.got
				}
				return
			}
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("they do not meet")
}

// link is a TCP proxy which can be cut, either way.
type link struct {
	address string
	up      atomic.Bool // nothing goes to the server
	down    atomic.Bool // nothing comes from it

	mu    sync.Mutex
	conns []net.Conn
}

// breakAll ends all connections.
func (k *link) breakAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.conns {
		conn.Close()
	}
	k.conns = nil
}

func cuttable(t *testing.T, to string) *link {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	k := &link{address: l.Addr().String()}
	go func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			k.mu.Lock()
			k.conns = append(k.conns, a, b)
			k.mu.Unlock()
			go k.carry(b, a, &k.up)
			go k.carry(a, b, &k.down)
		}
	}()
	return k
}

// carry holds back what comes while the way is cut: TCP would send it again.
func (k *link) carry(to, from net.Conn, cut *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		for cut.Load() {
			time.Sleep(time.Millisecond)
		}
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil && err != io.EOF {
			return
		}
	}
}
