// Autocert gets its certificates by itself, from Let's Encrypt or whoever else
// speaks ACME (RFC 8555), and sends who comes without TLS there.
//
//	go run . -name www.example.com -cache /var/cache/autocert
package main

import (
	"cmp"
	"flag"
	"log"
	"net"

	"aerys"

	"golang.org/x/crypto/acme/autocert"
)

func hello(_ *aerys.Request, res *aerys.Response) { res.End("Hello, over TLS!\n") }

func main() {
	addr := flag.String("addr", ":443", "where to listen for TLS")
	plain := flag.String("plain", ":80", "where to listen for those without")
	name := flag.String("name", "localhost", "the name that certificates are for")
	cache := flag.String("cache", "certificates", "the directory that they are kept in")
	flag.Parse()
	safe, redirecting := hosts(*name, *cache)
	expose(safe, *addr)
	expose(redirecting, *plain)
	if err := aerys.Run(safe, redirecting); err != nil {
		log.Fatal(err)
	}
}

// expose reads an address such as ":443" or "localhost:8443".
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

// hosts are the one for TLS, and the one that leads there. Whoever signs a
// certificate asks either of them before: the first in the handshake (RFC 8737),
// the second for a file (RFC 8555 §8.3).
func hosts(name, cache string) (safe, plain *aerys.Host) {
	manager := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		HostPolicy: autocert.HostWhitelist(name),
		Cache:      autocert.DirCache(cache),
	}
	safe = new(aerys.Host).Encrypt("", "", manager.TLSConfig()).Use(hello)
	plain = new(aerys.Host).Use(manager.HTTPHandler).RedirectToHTTPS()
	return safe, plain
}
