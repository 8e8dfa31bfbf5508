// Command static serves a directory, or the small site that ships with it.
//
//	go run ./example/static -addr localhost:8080 -root ~/Downloads
package main

import (
	"cmp"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net"

	"aerys"
	"aerys/static"
)

//go:embed site
var site embed.FS

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	root := flag.String("root", "", "the directory to serve; empty: the site that ships with this program")
	flag.Parse()

	name, port, err := where(*addr)
	if err != nil {
		log.Fatal("-addr: ", err)
	}
	server := aerys.Server{
		Hosts: []*aerys.Host{new(aerys.Host).Expose(name, port).Use(files(*root), notFound)},
		Ready: func([]net.Addr) { fmt.Println("listening") },
	}
	if err := server.Run(); err != nil {
		log.Fatal(err)
	}
}

// where reads an address such as ":8080" or "localhost:8080".
func where(addr string) (name string, port int, err error) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	port, err = net.LookupPort("tcp", service)
	return cmp.Or(name, "*"), port, err
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
