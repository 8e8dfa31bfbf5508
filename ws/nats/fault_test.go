package nats_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/nats"
)

// A server that is killed and started again, time after time, is one that the nodes
// are back on, are told of, and get nothing of twice.
func TestServerIsRestarted(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := natsServer(t, address)
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	c, d := dial(t, here.url, "news"), dial(t, there.url, "news")
	const restarts = 5
	sent := 0
	for range restarts {
		before := [2]int64{here.losses.Load(), there.losses.Load()}
		s.kill()
		eventually(t, "the error", func() bool {
			sent++
			return errors.Is(here.Publish("news", fmt.Sprint(sent)), ws.ErrBroker) || here.losses.Load() > before[0]
		})
		s = natsServer(t, address)
		eventually(t, "both are told", func() bool { return here.losses.Load() > before[0] && there.losses.Load() > before[1] })
		for last, arrived := 0, false; !arrived; {
			sent++
			here.Publish("news", fmt.Sprint(sent))
			select {
			case text := <-d.got:
				number, _ := strconv.Atoi(text)
				if number <= last {
					t.Fatalf("%d came behind %d", number, last)
				}
				last, arrived = number, number == sent
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	for n := range sent {
		c.expect(fmt.Sprint(n + 1)) // who is on the node of the publisher missed nothing
	}
}

// A connection that breaks a hundred times brings nothing twice.
func TestReconnects(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := natsServer(t, address)
	through := cuttable(t, address)
	here, there := run(t, nats.New(s.first)), run(t, nats.New("nats://"+through.address))
	d := dial(t, there.url, "news")
	var stop atomic.Bool
	sent := make(chan int)
	go func() {
		n := 0
		for ; !stop.Load(); n++ {
			here.Publish("news", fmt.Sprint(n))
			time.Sleep(100 * time.Microsecond)
		}
		sent <- n
	}()
	for range 100 {
		before := there.losses.Load()
		through.breakAll()
		eventually(t, "it is told", func() bool { return there.losses.Load() > before })
	}
	stop.Store(true)
	<-sent
	here.Publish("news", "end")
	last, got := -1, 0
	for text := range d.got {
		if text == "end" {
			break
		}
		n, _ := strconv.Atoi(text)
		if n <= last {
			t.Fatalf("%d came behind %d", n, last)
		}
		last, got = n, got+1
	}
	t.Logf("%d messages of %d came", got, last)
}

// A server that is stopped holds nobody up: handlers, clients and publishers of the
// node go on. Subscribe alone waits, and not forever.
func TestServerIsStopped(t *testing.T) {
	t.Parallel()
	s := natsServer(t, freeAddress(t))
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	c, d := dial(t, here.url, "news"), dial(t, there.url, "news", "late")
	meet(t, c, d, "news")
	for len(c.got) > 0 {
		<-c.got
	}
	s.stop()
	began := time.Now()
	for n := 0; time.Since(began) < 12*time.Second; n++ {
		c.publish("news", fmt.Sprint(n)) // by a handler
		for text := range c.got {
			if text == fmt.Sprint(n) {
				break
			}
		}
		if n == 0 {
			var id ws.ClientID
			for of := range here.Clients() {
				id = of
			}
			asked := time.Now()
			if err := here.Subscribe(id, "late"); !errors.Is(err, ws.ErrBroker) {
				t.Errorf("Subscribe: %v", err)
			}
			if took := time.Since(asked); took > 8*time.Second {
				t.Errorf("Subscribe took %v", took)
			}
		}
		time.Sleep(time.Millisecond)
	}
	s.resume()
	eventually(t, "the subscription that was late is told", func() bool { return here.losses.Load() > 0 })
	meet(t, d, c, "late")
}

// A node that was stopped hears that it lost something, and others did not wait.
func TestNodeIsStopped(t *testing.T) {
	t.Parallel()
	s := natsServer(t, freeAddress(t))
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	stopped := start(t, "node "+s.first)
	c, d, e := dial(t, here.url, "news"), dial(t, there.url, "news"), dial(t, stopped.first, "news")
	meet(t, c, e, "news")
	meet(t, c, d, "news")
	publish := func(n, times int) {
		text := strings.Repeat("x", 4000) + fmt.Sprint(n)
		for range times {
			here.Publish("news", text)
		}
		for got := range d.got {
			if got == text {
				times--
			}
			if times == 0 {
				break
			}
		}
	}
	rate := func(period time.Duration) float64 {
		n := 0
		for end := time.Now().Add(period); time.Now().Before(end); n++ {
			publish(n, 1)
		}
		return float64(n) / period.Seconds()
	}
	before := rate(5 * time.Second)
	stopped.stop()
	for n := range 10 { // more than there is room for on the way
		publish(n, 1000)
	}
	during := rate(14 * time.Second)
	resumed := time.Now()
	stopped.resume()
	defer time.AfterFunc(patience, stopped.kill).Stop()
	if !stopped.lines.Scan() || !strings.HasPrefix(stopped.lines.Text(), "lost") {
		t.Fatalf("it says %q", stopped.lines.Text())
	}
	told := time.Since(resumed)
	if told > 15*time.Second {
		t.Errorf("told after %v", told)
	}
	after := rate(5 * time.Second)
	t.Logf("told after %v; the others' rate: %.0f a second before, %.0f meanwhile, %.0f then", told.Round(time.Millisecond), before, during, after)
	if during < min(before, after)*8/10 { // more than before on a quiet machine, and an eighth if the server made them wait
		t.Error("the others were held up")
	}
	meet(t, d, e, "news")
}

// A node that is killed takes its own clients along, and nobody else.
func TestNodeIsKilled(t *testing.T) {
	t.Parallel()
	s := natsServer(t, freeAddress(t))
	here, there := run(t, nats.New(s.first)), run(t, nats.New(s.first))
	killed := start(t, "node "+s.first)
	c, d, e := dial(t, here.url, "news"), dial(t, there.url, "news"), dial(t, killed.first, "news")
	meet(t, d, e, "news")
	meet(t, c, d, "news")
	eventually(t, "all know each other", func() bool { return here.Presence("news").Count == 3 })
	killed.kill()
	for range e.got {
	}
	name := here.Presence("news").Silent
	if len(name) != 1 {
		t.Errorf("silent: %q", name)
	}
	for n := range 100 {
		here.Publish("news", fmt.Sprint(n))
		for text := range d.got {
			if text == fmt.Sprint(n) {
				break
			}
		}
	}
	if here.losses.Load()+there.losses.Load() > 0 || here.Len() != 1 || there.Len() != 1 {
		t.Errorf("%d and %d losses, %d and %d clients", here.losses.Load(), there.losses.Load(), here.Len(), there.Len())
	}
	eventually(t, "it is forgotten", func() bool { p := here.Presence("news"); return p.Count == 2 && len(p.Silent) == 0 })
}

// A link that is cut, one way or both, is noticed; the node goes on by itself, and
// when the link is back, with all others.
func TestLinkIsCut(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(*link, bool){
		"to the server":   func(k *link, cut bool) { k.up.Store(cut) },
		"from the server": func(k *link, cut bool) { k.down.Store(cut) },
		"both ways":       func(k *link, cut bool) { k.up.Store(cut); k.down.Store(cut) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := freeAddress(t)
			s := natsServer(t, address)
			through := cuttable(t, address)
			here, there := run(t, nats.New(s.first)), run(t, nats.New("nats://"+through.address))
			c, d := dial(t, here.url, "news"), dial(t, there.url, "news")
			meet(t, c, d, "news")
			for len(c.got) > 0 {
				<-c.got
			}
			cut(through, true)
			for n := range 1000 {
				there.Publish("news", fmt.Sprint(n))
				for text := range d.got {
					if text == fmt.Sprint(n) {
						break
					}
				}
			}
			eventually(t, "it is told", func() bool {
				there.Publish("news", "again")
				return there.losses.Load() > 0
			})
			cut(through, false)
			meet(t, c, d, "news")
		})
	}
}

// A hundred thousand topics are subscribed again.
func TestManyTopicsAreBack(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := natsServer(t, address)
	b := nats.New(s.first)
	r := &receiver{got: make(chan string, 1<<20), lost: make(chan struct{}, 100)}
	if err := b.Start(r); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	topics := make([]string, 100_000)
	for i := range topics {
		topics[i] = fmt.Sprint("topic ", i)
	}
	began := time.Now()
	if err := b.Subscribe(topics); err != nil {
		t.Fatal(err)
	}
	t.Logf("subscribed in %v", time.Since(began))
	s.kill()
	natsServer(t, address)
	began = time.Now()
	<-r.lost
	t.Logf("back after %v", time.Since(began))
	other := nats.New("nats://" + address)
	if err := other.Start(&receiver{}); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for i := 0; i < len(topics); i += 1000 {
		other.Publish(topics[i], []byte(topics[i]))
		select {
		case got := <-r.got:
			if got != topics[i] {
				t.Fatalf("got %q, want %q", got, topics[i])
			}
		case <-time.After(patience):
			t.Fatalf("%q does not come", topics[i])
		}
	}
}

// receiver keeps what a broker brings.
type receiver struct {
	got  chan string
	lost chan struct{}
}

func (r *receiver) Receive(batch []ws.Remote) {
	for _, m := range batch {
		r.got <- string(m.Message)
	}
}

func (r *receiver) Lost() {
	select {
	case r.lost <- struct{}{}:
	default:
	}
}

// A Publish without local members costs little, and no more while the server is
// stopped.
func TestPublishIsCheap(t *testing.T) {
	s := natsServer(t, freeAddress(t))
	n := run(t, nats.New(s.first))
	cost := func(times int) time.Duration {
		before := cpu()
		for range times {
			n.Publish("nobody's", "0123456789012345678901234567890123456789")
		}
		return (cpu() - before) / time.Duration(times)
	}
	cost(1000)
	running := cost(50_000)
	s.stop()
	stopped := cost(50_000)
	s.resume()
	t.Logf("processor time: %v a message, %v while the server is stopped", running, stopped)
	if stopped > 20*time.Microsecond {
		t.Error("that is too much")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.gateway.Stop(ctx)
}

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// Nobody but who has to waits while the server takes nothing: the queue fills, and the
// error says so; a Monitor goes on.
func TestServerTakesNothing(t *testing.T) {
	t.Parallel()
	s := natsServer(t, freeAddress(t))
	n := run(t, nats.New(s.first))
	s.stop()
	defer s.resume()
	text := strings.Repeat("x", 256<<10)
	longest := time.Duration(0)
	took := func(began time.Time) { longest = max(longest, time.Since(began)) }
	for refused, sent := false, 0; !refused; sent++ {
		began := time.Now()
		refused = errors.Is(n.Publish("nobody's", text), ws.ErrBroker)
		took(began)
		began = time.Now()
		n.gateway.Monitor()
		if took(began); sent > 1000 {
			t.Fatal("256 MiB wait for the server")
		}
	}
	if longest > 2*time.Second { // it would be ten or more
		t.Errorf("a call took %v", longest)
	}
}
