// Command static serves a directory, or the small site that ships with it.
//
//	go run ./example/static -addr localhost:8080 -root ~/Downloads
package main

import (
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"
	"strconv"

	"aerys"
	"aerys/static"
)

//go:embed site
var site embed.FS

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	root := flag.String("root", "", "the directory to serve; empty: the site that ships with this program")
	flag.Parse()

	host, port, err := net.SplitHostPort(*addr)
	if err != nil {
		log.Fatal("-addr: ", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		log.Fatal("-addr: the port is a number: ", err)
	}
	if host == "" {
		host = "*"
	}
	server := aerys.Server{
		Hosts: []*aerys.Host{new(aerys.Host).Expose(host, number).Use(files(*root), notFound)},
		Ready: func([]net.Addr) { fmt.Println("listening") },
	}
	if err := server.Run(); err != nil {
		log.Fatal(err)
	}
}

// files serves root, and shows its directories.
func files(root string) *static.Files {
	options := static.Options{Listing: true}
	if root != "" {
		return static.Root(root, options)
	}
	inside, err := fs.Sub(site, "site")
	if err != nil {
		log.Fatal(err)
	}
	return static.FS(inside, options)
}

// notFound answers what falls through.
func notFound(req *aerys.Request, res *aerys.Response) {
	res.SetStatus(404).End("<!DOCTYPE html>\n<title>Not here</title>\n<h1>Not here</h1>\n<p><a href=/>Back to the start</a>\n")
}
