// Versus runs the same work against aerys, against the WebSocket libraries
// gorilla, coder, gobwas, gws and nbio, each set up as its documentation advises
// for speed, and against a floor that knows no protocol; it checks every byte
// that comes back, and prints the table that the README of aerys shows:
//
//	go run .                                 # everything: about 35 minutes
//	go run . -quick                          # a glance, in two minutes
//	go run . -only broadcast -servers aerys,gws,rawepoll
//	go run . http                            # what do others notice of handlers that sleep?
//	go run . soak -duration 30m -conns 10000 # does aerys leak, or lose anything?
//
// Servers take turns: in each round each server, in a fresh process. The server
// runs on core 0 and the load on core 1, where there are two and taskset, with
// GOMAXPROCS=1, which is what makes rounds comparable. It needs Linux, and for
// 19,000 connections as many open files (ulimit -n). It all stays on the loopback.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) > 1 && os.Args[1] == "serve":
		serve(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "soak":
		soak(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "http":
		compare(httpCases, "aerys,nethttp", os.Args[2:])
	default:
		compare(cases, "aerys,gorilla,coder,gobwas,gws,nbio,"+floor, os.Args[1:])
	}
}

// comparison is one run of the program.
type comparison struct {
	rounds   int
	duration time.Duration
	names    []string // of the servers
	pinned   bool
	tests    []string                 // names of the cases
	values   map[cell]map[int]float64 // by round
	faults   []string
}

// cell is where a figure goes in the table.
type cell struct{ figure, test, server string }

func compare(cases []testCase, servers string, args []string) {
	c := comparison{values: map[cell]map[int]float64{}}
	flag.IntVar(&c.rounds, "rounds", 5, "rounds, of which the table shows medians; idle cases take three at most")
	flag.DurationVar(&c.duration, "duration", 2*time.Second, "time to measure in a round; idle connections rest six times as long")
	only := flag.String("only", "", "only cases with this in their names")
	names := flag.String("servers", servers, "servers to compare")
	quick := flag.Bool("quick", false, "one short round, and a tenth of the idle connections")
	flag.CommandLine.Parse(args)
	c.names = strings.Split(*names, ",")
	if *quick {
		c.rounds, c.duration = 1, 300*time.Millisecond
	}
	c.pin()
	for _, test := range cases {
		rounds := c.rounds
		if strings.HasPrefix(test.name, "idle") {
			rounds = min(rounds, 3)
			if *quick {
				test.conns /= 10
			}
		}
		test.name = fmt.Sprintf("%s, %d connections", test.name, test.conns)
		if !strings.Contains(test.name, *only) {
			continue
		}
		c.tests = append(c.tests, test.name)
		for round := range rounds {
			c.round(test, round)
		}
	}
	c.print()
	if len(c.faults) > 0 {
		os.Exit(1)
	}
}

// pin puts the load, this process, on core 1.
func (c *comparison) pin() {
	if runtime.NumCPU() > 1 {
		c.pinned = exec.Command("taskset", "-a", "-c", "-p", "1", fmt.Sprint(os.Getpid())).Run() == nil
	}
	if c.pinned {
		runtime.GOMAXPROCS(1)
	}
}

// round puts each server through a case that is about it.
func (c *comparison) round(test testCase, round int) {
	for _, name := range c.names {
		if test.only != "" && name != "aerys" {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: round %d: %s\n", test.name, round+1, name)
		found, err := c.once(test, name)
		if err != nil {
			c.faults = append(c.faults, fmt.Sprintf("%s, %s, round %d: %v", name, test.name, round+1, err))
		}
		for figure, value := range found {
			at := cell{figure, test.name, name}
			if c.values[at] == nil {
				c.values[at] = map[int]float64{}
			}
			c.values[at][round] = value
		}
	}
}

// once puts one server through one case.
func (c *comparison) once(test testCase, name string) (found figures, err error) {
	defer catch(&err)
	core := -1
	if c.pinned {
		core = 0
	}
	p := start(name+test.only, core)
	defer p.stop()
	l := newLoad(test, p, c.duration)
	defer l.close()
	return test.run(l), nil
}
