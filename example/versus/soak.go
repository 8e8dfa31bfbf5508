package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const publishers = 4

// soaking is a server among clients that come and go and misbehave.
type soaking struct {
	*process
	deadline time.Time
	joining  sync.RWMutex             // held by receivers while they join
	closing  atomic.Bool              // nobody joins any more
	last     [publishers]atomic.Int64 // numbers of the last messages, sent after that

	connections, aborts, deaf    atomic.Int64
	echoes, deliveries, restarts atomic.Int64 // of WebSocket
	answers, events, halves      atomic.Int64 // of HTTP
	lost, reordered, faults      atomic.Int64
}

// soak is the subcommand that looks for leaks, and for messages and answers that
// are lost.
func soak(args []string) {
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	duration := flags.Duration("duration", 30*time.Minute, "how long")
	conns := flags.Int("conns", 10_000, "clients at once")
	seed := flags.Uint64("seed", rand.Uint64(), "what clients do, and when")
	flags.Parse(args)
	fmt.Printf("soak -duration %v -conns %d -seed %d\n", *duration, *conns, *seed)
	dir := writeFiles()
	s := &soaking{process: start("aerys", -1, "-files", dir)}
	stop := s.stop
	s.stop = func() { stop(); os.RemoveAll(dir) }
	defer s.stop()

	s.run(*conns, *seed, min(*duration, 20*time.Second)) // gives tables their size
	before := s.settled(usage{Heap: 1 << 40})
	s.run(*conns, *seed, *duration)
	after := s.settled(before)

	fmt.Printf("%d connections, %d aborts, %d that read little or nothing\n", s.connections.Load(), s.aborts.Load(), s.deaf.Load())
	fmt.Printf("WebSocket: %d echoes, %d deliveries, %d restarted messages\n", s.echoes.Load(), s.deliveries.Load(), s.restarts.Load())
	fmt.Printf("HTTP: %d answers, %d events, %d halves of requests\n", s.answers.Load(), s.events.Load(), s.halves.Load())
	fmt.Printf("\n| | start | end |\n|---|---:|---:|\n")
	fmt.Printf("| goroutines | %d | %d |\n", before.Goroutines, after.Goroutines)
	fmt.Printf("| descriptors | %d | %d |\n", before.Descriptors, after.Descriptors)
	fmt.Printf("| heap bytes | %d | %d |\n", before.Heap, after.Heap)
	fmt.Printf("| lost | | %d |\n| reordered | | %d |\n| other faults | | %d |\n", s.lost.Load(), s.reordered.Load(), s.faults.Load())
	if s.lost.Load()+s.reordered.Load()+s.faults.Load() > 0 || after.exceeds(before) {
		fmt.Println("\n**Failed**")
		s.stop()
		os.Exit(1)
	}
}

// exceeds tells a leak from what garbage collection leaves.
func (u usage) exceeds(before usage) bool {
	return u.Goroutines > before.Goroutines || u.Descriptors > before.Descriptors || u.Heap > before.Heap*105/100
}

// settled asks the server for its usage until it is no more than before, or
// for a while in vain.
func (s *soaking) settled(before usage) (u usage) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		time.Sleep(time.Second)
		response, err := client.Get("http://" + s.addr + "/usage")
		must(err)
		must(json.NewDecoder(response.Body).Decode(&u))
		response.Body.Close()
		if !u.exceeds(before) {
			break
		}
	}
	return u
}

// run has clients live until the time is over and the last of them has left.
func (s *soaking) run(conns int, seed uint64, duration time.Duration) {
	s.deadline = time.Now().Add(duration)
	s.closing.Store(false)
	for i := range s.last {
		s.last[i].Store(-1)
	}
	var all sync.WaitGroup
	for id := range publishers + conns {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(id)))
			if id >= publishers { // those who wait for messages do not wait for long
				time.Sleep(time.Duration(r.Int64N(1 + int64(min(duration/10, 20*time.Second)))))
			}
			for again := true; again; again = s.living() {
				if err := s.live(id, r); err != nil && s.faults.Add(1) <= 20 {
					fmt.Fprintf(os.Stderr, "%s client %d: %v\n", time.Now().Format(time.TimeOnly), id, err)
				}
			}
		})
	}
	time.Sleep(duration)
	s.joining.Lock()
	s.closing.Store(true)
	s.joining.Unlock()
	all.Wait()
}

func (s *soaking) living() bool { return time.Now().Before(s.deadline) }

// live is one connection, or a few, of a client. Six of ten speak HTTP; the first
// few publish, one in a hundred never reads, one in twenty receives broadcasts,
// and the others echo.
func (s *soaking) live(id int, r *rand.Rand) error {
	switch {
	case id >= publishers && id%5%4 != 0:
		return s.speakHTTP(id, r)
	case id < publishers || id%20 == 5:
		return s.receive(id, r)
	case id%200 == 10:
		return s.sendOnly(id)
	case id%200 == 110:
		return s.ignore(id, r)
	}
	return s.echo(id, r)
}
