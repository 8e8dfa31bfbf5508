package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"

	"aerys/ws"
)

// server is a program to compare: it serves /echo, which sends each message
// back, and /broadcast, which sends it to every client of that path; or, for
// HTTP, /hello, and /sleep, which takes its time for the same.
type server struct {
	name  string
	serve func(addr string)
}

var servers = []server{
	{"aerys", aerysServer{}.serve},
	{"gorilla", serveGorilla},
	{"coder", serveCoder},
	{"gobwas", serveGobwas},
	{"gws", serveGws},
	{"nbio", serveNbio},
	{floor, serveRawepoll},
	{"aerys" + portable, aerysServer{engine: ws.EnginePortable}.serve},
	{"aerys" + encrypted, aerysServer{encrypted: true}.serve},
}

var httpServers = []server{
	{"aerys", aerysServer{}.serve},
	{"nethttp", serveNetHTTP},
}

// What follows the name of a server of ours that only some cases are about.
const portable, encrypted = "-portable", "-tls"

// filesDir is where the files are that aerys serves, if any.
var filesDir string

// serve is the subcommand that runs one server until its standard input ends,
// and with it whoever started it.
func serve(args []string) {
	flags := flag.NewFlagSet("serve NAME", flag.ExitOnError)
	addr := flags.String("addr", "127.0.0.1:0", "address to listen on, told on standard output")
	flags.StringVar(&filesDir, "files", "", "directory of files for aerys to serve")
	if len(args) == 0 {
		log.Fatal("serve: say which server")
	}
	flags.Parse(args[1:])
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for _, s := range append(servers, httpServers...) {
		if s.name == args[0] {
			s.serve(*addr)
		}
	}
	log.Fatalf("serve: there is no server %q", args[0])
}

// listen opens the listener and tells whoever started this process.
func listen(addr string) net.Listener {
	listener, err := net.Listen("tcp4", addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening", listener.Addr())
	return listener
}

// mux routes both paths for the libraries that go with net/http.
func mux(echo, broadcast http.HandlerFunc) *http.ServeMux {
	m := http.NewServeMux()
	m.HandleFunc("/echo", echo)
	m.HandleFunc("/broadcast", broadcast)
	return m
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// echoPooled holds each message in a reused buffer, as gorilla and coder advise.
func echoPooled[K any](next func() (K, io.Reader, error), write func(K, []byte) error) {
	for {
		kind, r, err := next()
		if err != nil {
			return
		}
		b := buffers.Get().(*bytes.Buffer)
		b.Reset()
		if _, err = b.ReadFrom(r); err == nil {
			err = write(kind, b.Bytes())
		}
		buffers.Put(b)
		if err != nil {
			return
		}
	}
}

// hub is how the chat examples of gorilla and coder broadcast: a queue and a
// writing goroutine for each client, who is dropped when the queue is full.
type hub[M any] struct {
	mu      sync.Mutex
	clients map[chan M]func()
}

func newHub[M any]() *hub[M] { return &hub[M]{clients: map[chan M]func(){}} }

// run serves one client: receive and send move its messages.
func (h *hub[M]) run(receive func() (M, error), send func(M) error, drop func()) {
	queue := make(chan M, 256) // as long as in gorilla's example
	go func() {
		for m := range queue {
			if send(m) != nil {
				drop()
			}
		}
	}()
	h.mu.Lock()
	h.clients[queue] = drop
	h.mu.Unlock()
	for m, err := receive(); err == nil; m, err = receive() {
		h.broadcast(m)
	}
	h.mu.Lock()
	delete(h.clients, queue)
	close(queue)
	h.mu.Unlock()
}

func (h *hub[M]) broadcast(m M) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for queue, drop := range h.clients {
		select {
		case queue <- m:
		default:
			go drop()
		}
	}
}
