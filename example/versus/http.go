package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// httpCases are those of the subcommand http: what others notice of handlers that
// take long.
var httpCases = []testCase{
	{name: "hello, 5000 a second", run: (*load).hello, conns: 100, size: len(helloText)},
}

const (
	helloText = "Hello, World!"
	sleepTime = 50 * time.Millisecond
	askEvery  = 20 * time.Millisecond // each of the clients
)

// serveNetHTTP is net/http's server with the same pages as aerys.
func serveNetHTTP(addr string) {
	m := http.NewServeMux()
	answer := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(helloText))
	}
	m.HandleFunc("GET /hello", answer)
	m.HandleFunc("GET /sleep", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(sleepTime)
		answer(w, r)
	})
	log.Fatal(http.Serve(listen(addr), m))
}

// hello asks without and with handlers that sleep, in turns.
func (l *load) hello() figures {
	first, second, third, last := l.ask(0), l.ask(100), l.ask(100), l.ask(0)
	f := figures{}
	for figure, among := range map[string]string{cpuEach: cpuAmong, latency50: latencyAmong} {
		f[figure] = (first[figure] + last[figure]) / 2
		f[among] = 100 * (second[figure] + third[figure]) / 2 / f[figure]
	}
	return f
}

// asker is a client that asks at fixed times, whatever the answers take.
type asker struct {
	net.Conn
	buffer    [512]byte
	latencies []time.Duration
}

// ask has clients ask for a page, one in so many of them for one that takes long,
// and looks at the others.
func (l *load) ask(sleepEvery int) figures {
	askers := make([]asker, l.conns)
	for i := range askers {
		conn, err := net.Dial("tcp", l.addr)
		must(err)
		defer conn.Close()
		askers[i].Conn = conn
	}
	began := time.Now()
	measured, end := began.Add(l.duration/5), began.Add(l.duration*6/5)
	var running sync.WaitGroup
	faults := make(chan error, l.conns)
	for i := range askers {
		running.Go(func() {
			due := began.Add(askEvery * time.Duration(i) / time.Duration(l.conns))
			faults <- askers[i].run(due, measured, end, i, sleepEvery)
		})
	}
	time.Sleep(time.Until(measured))
	before := l.cpu()
	running.Wait()
	used := l.cpu() - before
	var latencies []time.Duration
	for i := range askers {
		must(<-faults)
		latencies = append(latencies, askers[i].latencies...)
	}
	slices.Sort(latencies)
	n := len(latencies)
	return figures{
		cpuEach:   used.Seconds() * 1e6 / float64(n),
		latency50: latencies[n/2].Seconds() * 1e3,
	}
}

// run asks from a time on, and measures from a later one.
func (a *asker) run(due, measured, end time.Time, number, sleepEvery int) error {
	for ; due.Before(end); due = due.Add(askEvery) {
		time.Sleep(time.Until(due))
		number++
		if sleepEvery > 0 && number%sleepEvery == 0 {
			if err := a.get("/sleep"); err != nil {
				return err
			}
			for due.Add(askEvery).Before(time.Now()) { // it has missed a few
				due = due.Add(askEvery)
			}
			continue
		}
		if err := a.get("/hello"); err != nil {
			return err
		}
		if due.After(measured) {
			a.latencies = append(a.latencies, time.Since(due))
		}
	}
	return nil
}

// get asks for a page, whose answer has to come in one piece.
func (a *asker) get(path string) error {
	if _, err := fmt.Fprintf(a, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		return err
	}
	a.SetReadDeadline(time.Now().Add(stall))
	n, err := a.Read(a.buffer[:])
	if err != nil {
		return err
	}
	answer := string(a.buffer[:n])
	if want := "HTTP/1.1 200 OK\r\n"; len(answer) < len(want) || answer[:len(want)] != want || answer[n-len(helloText):] != helloText {
		return fmt.Errorf("%s: %q", path, answer)
	}
	return nil
}
