// API keeps files for who knows its token: REST whose errors are RFC 9457's,
// uploads that go to disk as they come, and events that tell how far they are.
//
//	go run ./example/api -addr localhost:1337 -token secret
//	curl -H "Authorization: Bearer secret" -F file=@README.md localhost:1337/files
package main

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"

	"aerys"
)

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	token := flag.String("token", "secret", "what clients have to send")
	dir := flag.String("dir", os.TempDir(), "where files are kept")
	flag.Parse()
	name, service, err := net.SplitHostPort(*addr)
	port, wrong := net.LookupPort("tcp", service)
	if err = errors.Join(err, wrong); err == nil {
		err = aerys.Run(newAPI(*dir, *token).host().Expose(cmp.Or(name, "*"), port))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// host has a group of routes that are for who has the token; anybody may ask how
// the server is. Every error, ours and the server's, is what RFC 9457 has.
func (a *api) host() *aerys.Host {
	files := aerys.Router().
		Use(a.guard).
		Get("/files", a.list).
		Post("/files", a.upload).
		Get("/files/events", a.events).
		Get("/files/{id}", a.download).
		Patch("/files/{id}", a.rename).
		Delete("/files/{id}", a.remove)
	return new(aerys.Host).
		Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) {
			res.SetHeader("Content-Type", "application/problem+json").JSON(map[string]any{"status": e.Status, "title": e.Text()})
		}).
		Use(aerys.AccessLog(nil), files, aerys.Router().Get("/healthz", aerys.HealthHandler))
}

// guard lets nobody pass without the token: an error's status is an answer.
func (a *api) guard(req *aerys.Request, res *aerys.Response) {
	if subtle.ConstantTimeCompare([]byte(req.Header.Get("Authorization")), []byte("Bearer "+a.token)) == 0 {
		res.SetStatus(http.StatusUnauthorized).SetHeader("WWW-Authenticate", "Bearer")
	}
}
