// Cluster is a chat on three nodes, each a process of its own, that NATS joins:
//
//	cd example/cluster && go run .
//
// It prints three URLs to open in three tabs, and how to kill a node: its tabs are
// back on another one within a second. With -broker the nodes use a NATS server that
// runs already; else one runs in the process that starts them.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/nats"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	addr := flag.String("addr", "localhost:1337", "where the first node listens; the others at the ports behind it")
	broker := flag.String("broker", "", "the URL of a NATS server, or nothing for one of our own")
	node := flag.Int("node", 0, "be this node alone, from 1; for which -broker is needed")
	flag.Parse()
	addresses, err := behind(*addr, 3)
	switch {
	case err != nil:
	case *node > 0:
		err = serve(addresses, *node, *broker)
	default:
		err = startAll(addresses, *addr, *broker)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// behind returns n addresses, with ports in a row.
func behind(addr string, n int) (addresses []string, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("-addr: %w", err)
	}
	port, err := net.LookupPort("tcp", service)
	for i := range n {
		addresses = append(addresses, net.JoinHostPort(host, strconv.Itoa(port+i)))
	}
	return addresses, err
}

// serve is one node.
func serve(addresses []string, number int, broker string) error {
	host, service, _ := net.SplitHostPort(addresses[number-1])
	port, _ := strconv.Atoi(service)
	name := fmt.Sprint("node ", number)
	chat := ws.Websocket(&chat{node: name}, ws.Options{
		TextOnly: true,
		Broker:   nats.New(broker, nats.Options{Wait: true}),
		NodeName: name,
		Origins:  origins(addresses), // a page of one node goes on with another
	})
	router := aerys.Router().
		Get("/", func(_ *aerys.Request, res *aerys.Response) {
			res.SetHeader("Cache-Control", "no-cache").End(strings.Replace(page, "NODES", strings.Join(addresses, " "), 1))
		}).
		Get("/chat", chat).
		Get("/healthz", aerys.HealthHandler).
		Get("/monitor", aerys.MonitorHandler)
	return aerys.Run(new(aerys.Host).Expose(host, port).Use(router))
}

func origins(addresses []string) (origins []string) {
	for _, address := range addresses {
		origins = append(origins, "http://"+address)
	}
	return origins
}

// startAll starts a broker, unless there is one, and the nodes, until a signal comes.
func startAll(addresses []string, addr, broker string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if broker == "" {
		s, err := startNATS()
		if err != nil {
			return err
		}
		defer s.Shutdown()
		broker = s.ClientURL()
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for i, address := range addresses {
		node := exec.CommandContext(ctx, self, "-addr", addr, "-broker", broker, "-node", strconv.Itoa(i+1))
		node.Cancel = func() error { return node.Process.Signal(syscall.SIGTERM) }
		node.Stderr = os.Stderr
		if err := node.Start(); err != nil {
			stop() // the others, which are waited for
			return err
		}
		defer node.Wait()
		fmt.Printf("http://%s is node %d; to kill it: kill -9 %d\n", address, i+1, node.Process.Pid)
	}
	<-ctx.Done()
	return nil
}

func startNATS() (*server.Server, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoFastProducerStall: true})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("the NATS server does not start")
	}
	return s, nil
}
