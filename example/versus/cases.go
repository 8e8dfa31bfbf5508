package main

import (
	"slices"
	"syscall"
	"time"
)

// testCase is a row of the table: what is done to a server, and how much.
type testCase struct {
	name     string
	run      func(*load) figures
	path     string
	conns    int
	size     int    // bytes of a message
	inFlight int    // messages at once on each connection, or to all
	only     string // the one server of ours that it is about, by the end of its name
}

var cases = []testCase{
	{"ping-pong of 16 B", (*load).echo, "/echo", 100, 16, 1, ""},
	{"ping-pong of 1 KiB", (*load).echo, "/echo", 100, 1 << 10, 1, ""},
	{"16 in flight of 16 B", (*load).echo, "/echo", 100, 16, 16, ""},
	{"16 in flight of 128 B", (*load).echo, "/echo", 100, 128, 16, ""},
	{"ping-pong of 64 KiB", (*load).echo, "/echo", 20, 64 << 10, 1, ""},
	{"ping-pong of 1 MiB", (*load).echo, "/echo", 10, 1 << 20, 1, ""},
	{"broadcast of 128 B, per delivery", (*load).broadcast, "/broadcast", 1000, 128, 16, ""},
	{"handshake and close", (*load).handshake, "/echo", 32, 16, 1, ""},
	{"broadcast of 4 KiB, a tenth never reads", (*load).stuck, "/broadcast", 100, 4 << 10, 16, ""},
	{"idle after an echo", (*load).idle, "/echo", 10_000, 16, 1, ""},
	{"idle after an echo", (*load).idle, "/echo", 19_000, 16, 1, ""},
	{"idle, portable engine", (*load).idle, "/echo", 10_000, 16, 1, portable},
	{"idle, portable engine", (*load).idle, "/echo", 19_000, 16, 1, portable},
	{"idle, TLS", (*load).idle, "/echo", 10_000, 16, 1, encrypted},
	{"idle, TLS", (*load).idle, "/echo", 19_000, 16, 1, encrypted},
}

// figures are what a case finds out, by what the table calls them.
type figures map[string]float64

const (
	cpuEach      = "CPU µs each"
	latency50    = "p50 latency, ms"
	latency99    = "p99 latency, ms"
	cpuAmong     = "CPU if one in a hundred sleeps 50 ms, %"
	latencyAmong = "p50 if one in a hundred sleeps 50 ms, %"
	rssEach      = "RSS bytes each"
	kept         = "rate kept by the others, %"
	stuckEnded   = "stuck ones closed"
	grown        = "RSS grown, MiB"
)

var figureNames = []string{cpuEach, cpuAmong, latency50, latencyAmong, latency99, rssEach, kept, stuckEnded, grown}

// done counts one thing that was due at a time.
func (l *load) done(due time.Duration) {
	l.count++
	l.latencies = append(l.latencies, l.now-due)
}

// measure goes on with what was begun, for a while unmeasured.
func (l *load) measure() figures {
	l.pollFor(l.duration / 5)
	l.count, l.latencies = 0, l.latencies[:0]
	before, began := l.cpu(), l.now
	l.pollUntil(func() bool { return l.now >= began+l.duration && len(l.latencies) >= 10 })
	used := l.cpu() - before
	l.rate = float64(l.count) / (l.now - began).Seconds()
	l.over = true
	slices.Sort(l.latencies)
	n := len(l.latencies)
	return figures{
		cpuEach:   used.Seconds() * 1e6 / float64(l.count),
		latency99: l.latencies[n*99/100].Seconds() * 1e3,
	}
}

// echo keeps some messages in flight on each connection.
func (l *load) echo() figures {
	due := make([]time.Duration, l.conns*l.inFlight) // when a message was sent
	l.onMessage = func(c *client) {
		at := &due[c.name*l.inFlight+(c.received-1)%l.inFlight]
		l.done(*at)
		if !l.over {
			*at = l.now
			c.owed++
		}
	}
	l.openAll(0, l.conns)
	for i := range due {
		due[i] = l.now
		l.clients[i/l.inFlight].owed++
	}
	for i := range l.clients {
		l.send(&l.clients[i])
	}
	f := l.measure()
	l.pollUntil(func() bool { // all has to come back
		return !slices.ContainsFunc(l.clients, func(c client) bool { return c.received != c.sent })
	})
	return f
}

// publisher has client 0 send messages that all receivers have to get. The next
// goes out when the slowest has all but the last few.
type publisher struct {
	*load
	receivers           int
	due                 []time.Duration // of the messages under way
	got                 []int           // how many receivers have them
	published, complete int
}

func (l *load) publisher(receivers int) *publisher {
	p := &publisher{l, receivers, make([]time.Duration, l.inFlight), make([]int, l.inFlight), 0, 0}
	for i := range l.clients {
		l.clients[i].sender = 0
	}
	l.onMessage = func(c *client) {
		i := (c.received - 1) % l.inFlight
		l.count++
		if p.got[i]++; p.got[i] == receivers {
			l.latencies = append(l.latencies, l.now-p.due[i]) // to the last
			p.got[i] = 0
			p.complete++
			p.fill()
		}
	}
	return p
}

func (p *publisher) fill() {
	c := &p.clients[0]
	for !p.over && p.published-p.complete < p.inFlight {
		p.due[p.published%p.inFlight] = p.now
		p.published++
		c.owed++
	}
	p.send(c)
}

// measure publishes for a while, and sees that all gets to all.
func (p *publisher) measure() figures {
	p.over = false
	p.fill()
	f := p.load.measure()
	p.pollUntil(func() bool { return p.complete == p.published })
	return f
}

func (l *load) broadcast() figures {
	l.openAll(0, l.conns)
	return l.publisher(l.conns).measure()
}

// stuck broadcasts without, and then with a tenth of receivers that never read.
func (l *load) stuck() figures {
	if l.blind {
		return nil // the floor has no queues
	}
	healthy := l.conns * 9 / 10
	l.openAll(0, healthy)
	p := l.publisher(healthy)
	p.measure()
	alone, before := l.rate, l.rss()
	l.onOpen = func(c *client) {
		c.sender, c.received = 0, p.published
		l.watch(syscall.EPOLL_CTL_DEL, c.fd, c.name, 0)
	}
	l.receiveBuffer = 4096
	l.openAll(healthy, l.conns)
	f := p.measure()
	delete(f, cpuEach)
	f[kept] = 100 * l.rate / alone
	f[grown] = (l.rss() - before) / (1 << 20)

	f[stuckEnded] = 0
	l.onMessage = func(*client) {}
	l.onEnd = func(*client) { f[stuckEnded]++ }
	for _, c := range l.clients[healthy:] { // read what there is, which has to be in order
		syscall.SetsockoptInt(c.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 1<<20)
		l.watch(syscall.EPOLL_CTL_ADD, c.fd, c.name, syscall.EPOLLIN)
	}
	l.pollFor(2 * time.Second)
	return f
}

// handshake connects, upgrades, and closes all the time.
func (l *load) handshake() figures {
	due := make([]time.Duration, l.conns)
	begin := func(id int) {
		l.tick()
		due[id] = l.now
		l.connect(id)
	}
	l.onOpen = func(c *client) {
		l.done(due[c.name])
		if l.blind { // the floor answers no close frame
			l.end(c, nil)
		} else {
			l.write(&c.socket, clientFrame(opClose, []byte{1000 >> 8, 1000 & 0xff}))
		}
	}
	l.onEnd = func(c *client) {
		if !l.over {
			begin(c.name)
		}
	}
	for id := range l.clients {
		begin(id)
	}
	f := l.measure()
	l.pollUntil(func() bool {
		return !slices.ContainsFunc(l.clients, func(c client) bool { return c.fd >= 0 })
	})
	return f
}
