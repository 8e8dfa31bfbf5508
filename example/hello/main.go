// Hello greets whoever asks, in ten lines that tell where to listen.
//
//	go run ./example/hello -addr localhost:1337
package main

import (
	"cmp"
	"errors"
	"flag"
	"log"
	"net"

	"aerys"
)

func hello(_ *aerys.Request, res *aerys.Response) { res.End("Hello, world!\n") }

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	flag.Parse()
	name, service, err := net.SplitHostPort(*addr)
	port, wrong := net.LookupPort("tcp", service)
	if err = errors.Join(err, wrong); err == nil {
		err = aerys.Run(new(aerys.Host).Expose(cmp.Or(name, "*"), port).Use(aerys.Router().Get("/", hello)))
	}
	if err != nil {
		log.Fatal(err)
	}
}
