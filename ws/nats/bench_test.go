package nats_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/ws/frame"
)

// Three nodes and a NATS server, a process each, and 3,000 clients in this one. What is
// reported is the processor time of the nodes.

// load is what the clients of a benchmark get.
type load struct {
	nodes [3]*process
	bytes atomic.Int64
	first [3]net.Conn // a client of each node, which publishes

	mu    sync.Mutex
	times [3][]time.Duration // that messages took to clients of each node, if they say when they left
}

const loadSize = 120

// newLoad has clients join, each of them one of some topics: those of a topic are on
// all nodes.
func newLoad(b *testing.B, clients, topics int) *load {
	s := start(b, "server "+freeAddress(b))
	l := new(load)
	for i := range l.nodes {
		l.nodes[i] = start(b, "node "+s.first)
	}
	for n := range clients {
		node := n % 3
		conn := l.join(b, node, fmt.Sprint("topic ", n/3%topics))
		if l.first[node] == nil {
			l.first[node] = conn
		}
	}
	return l
}

// join opens a connection whose bytes are counted.
func (l *load) join(b *testing.B, node int, topic string) net.Conn {
	conn, reader := shakeHands(b, l.nodes[node].first, topic)
	go func() {
		defer conn.Close()
		io.Copy(counter{l, node}, reader)
	}()
	return conn
}

// shakeHands returns a connection that has its welcome.
func shakeHands(b *testing.B, at, topic string) (net.Conn, *bufio.Reader) {
	address := strings.TrimPrefix(at, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET /?topic=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", url.QueryEscape(topic), address)
	reader := bufio.NewReader(conn)
	for line := ""; line != "\r\n"; {
		if line, err = reader.ReadString('\n'); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := reader.Discard(2 + len("welcome")); err != nil {
		b.Fatal(err)
	}
	return conn, reader
}

// counter is what clients of a node read into.
type counter struct {
	*load
	node int
}

func (c counter) Write(p []byte) (int, error) {
	now := time.Now().UnixNano()
	if len(p) == stamped {
		sent, _ := strconv.ParseInt(string(p[2:]), 10, 64)
		c.mu.Lock()
		c.times[c.node] = append(c.times[c.node], time.Duration(now-sent))
		c.mu.Unlock()
	}
	c.bytes.Add(int64(len(p))) // last, for who waits for them
	return len(p), nil
}

// stamped is the size of a frame with the time in nanoseconds, which comes alone.
const stamped = 2 + 19

// tell sends a text.
func tell(conn net.Conn, text string) {
	p := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Length: int64(len(text))})
	conn.Write(append(p, text...)) // the key is 0
}

// cpu is the processor time of the nodes so far.
func (l *load) cpu() (sum time.Duration) {
	for _, n := range l.nodes {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Process.Pid))
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, ticks := range fields[11:13] {
			n, _ := strconv.Atoi(ticks)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}

// deliver has the first node publish so many messages to each topic, and waits until
// all clients have them.
func (l *load) deliver(b *testing.B, clients, topics, messages int) {
	want := l.bytes.Load() + int64(clients*messages*(2+loadSize))
	tell(l.first[0], fmt.Sprintf("flood %d %d", topics, messages))
	l.await(b, want)
}

func (l *load) await(b *testing.B, bytes int64) {
	for end := time.Now().Add(patience); l.bytes.Load() < bytes; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%d bytes are missing", bytes-l.bytes.Load())
		}
	}
}

func BenchmarkThreeNodes(b *testing.B) {
	for _, run := range []struct{ clients, topics, messages int }{{3000, 1, 2000}, {3000, 500, 40}} {
		b.Run(fmt.Sprint("topics=", run.topics), func(b *testing.B) {
			l := newLoad(b, run.clients, run.topics)
			l.deliver(b, run.clients, run.topics, 1)
			before := l.cpu()
			for b.Loop() {
				l.deliver(b, run.clients, run.topics, run.messages)
			}
			deliveries := float64(run.clients * run.messages * b.N)
			b.ReportMetric(float64((l.cpu()-before).Nanoseconds())/1000/deliveries, "µs-cpu/delivery")
			b.ReportMetric(deliveries/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// BenchmarkLatency is the time from what is published to a client of the same node and
// to one of another, at 1,000 messages a second to 1,000 topics.
func BenchmarkLatency(b *testing.B) {
	l := newLoad(b, 3000, 1000)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	want := l.bytes.Load()
	for n := 0; b.Loop(); n++ {
		<-tick.C
		tell(l.first[0], fmt.Sprintf("topic %d\n%d", n%1000, time.Now().UnixNano()))
		want += 3 * stamped
	}
	l.await(b, want)
	l.mu.Lock()
	defer l.mu.Unlock()
	for node, what := range []string{"the-same-node", "another-node"} {
		times := l.times[node]
		slices.Sort(times)
		b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-p50-"+what)
		b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "µs-p99-"+what)
	}
}

// BenchmarkTopicMemory is what a topic with one client takes in the process of its
// node, the connection with the server included. It takes so long that once does.
func BenchmarkTopicMemory(b *testing.B) {
	const topics = 100_000
	l := newLoad(b, 3, 1)
	before := rss(l.nodes[0])
	tell(l.first[0], fmt.Sprintf("subscribe %d", topics))
	l.await(b, l.bytes.Load()+int64(len("\x81\x04done")))
	b.ReportMetric(float64(rss(l.nodes[0])-before)/topics, "B/topic")
}

func rss(p *process) int64 {
	statm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.Process.Pid))
	pages, _ := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
