// Hello greets whoever asks, and is otherwise the least that a program needs.
//
//	go run ./example/hello -addr localhost:1337
package main

import (
	"cmp"
	"flag"
	"log"
	"net"

	"aerys"
)

func hello(_ *aerys.Request, res *aerys.Response) { res.End("Hello, world!\n") }

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	flag.Parse()
	name, port, err := where(*addr)
	if err == nil {
		err = aerys.Run(new(aerys.Host).Expose(name, port).Use(aerys.Router().Get("/", hello)))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// where reads an address such as ":1337" or "localhost:1337".
func where(addr string) (name string, port int, err error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service)
	return cmp.Or(name, "*"), port, err
}
