// SPA serves a single-page application over TLS, an API beside it, and sends who
// comes without TLS there.
//
//	go run ./example/spa -addr localhost:8443 -plain localhost:8080
package main

import (
	"cmp"
	"crypto/tls"
	"embed"
	"flag"
	"io/fs"
	"log"
	"net"
	"time"

	"aerys"
	"aerys/example/internal/localhost"
	"aerys/static"
)

//go:embed dist
var dist embed.FS

func main() {
	addr := flag.String("addr", "localhost:8443", "where to listen for TLS")
	plain := flag.String("plain", "localhost:8080", "where to listen for those without")
	cert := flag.String("cert", "", "the file of the certificate; empty: one that is made now, for localhost")
	key := flag.String("key", "", "the file of its key")
	flag.Parse()
	safe, unsafe := hosts()
	expose(safe, *addr)
	expose(unsafe, *plain)
	if *cert != "" {
		safe.Encrypt(*cert, *key)
	} else {
		safe.Encrypt("", "", &tls.Config{Certificates: []tls.Certificate{localhost.Certificate()}})
	}
	if err := aerys.Run(safe, unsafe); err != nil {
		log.Fatal(err)
	}
}

// expose reads an address such as ":8443" or "localhost:8443".
func expose(host *aerys.Host, addr string) {
	name, service, err := net.SplitHostPort(addr)
	if err != nil {
		log.Fatal(err)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		log.Fatal(err)
	}
	host.Expose(cmp.Or(name, "*"), port)
}

// hosts are the one for TLS, and the one that leads there. The start page answers
// for every path, save below /api.
func hosts() (safe, plain *aerys.Host) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		log.Fatal(err)
	}
	api := aerys.Router().Get("/api/time", func(_ *aerys.Request, res *aerys.Response) {
		res.SetHeader("Cache-Control", "no-store").JSON(map[string]time.Time{"time": time.Now()})
	})
	page := static.FS(files, static.Options{Fallback: "index.html", FallbackExcept: []string{"/api"}})
	return new(aerys.Host).Use(secure, api, page), new(aerys.Host).RedirectToHTTPS()
}

// secure has browsers come over TLS for a year, and run no script but ours.
func secure(_ *aerys.Request, res *aerys.Response) {
	res.SetHeader("Strict-Transport-Security", "max-age=31536000").
		SetHeader("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
}
