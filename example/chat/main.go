// Chat has rooms, knows its visitors again, and tells who is there and what was
// said last.
//
//	go run ./example/chat -addr localhost:1337
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"flag"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

//go:embed page
var page embed.FS

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	secret := flag.String("secret", rand.Text(), "what proves sessions: with a random one they end with the program")
	flag.Parse()
	name, service, err := net.SplitHostPort(*addr)
	port, wrong := net.LookupPort("tcp", service)
	if err = errors.Join(err, wrong); err == nil {
		err = aerys.Run(newChat(*secret, "lobby", "gophers", "kitchen").host().Expose(cmp.Or(name, "*"), port))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// host serves sessions, the WebSocket and the page. What a proxy tells counts if
// it is on this machine; scripts run if they are ours.
func (c *chat) host() *aerys.Host {
	files, _ := fs.Sub(page, "page")
	return new(aerys.Host).Use(
		aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.0/8")),
		func(_ *aerys.Request, res *aerys.Response) {
			res.SetHeader("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'")
		},
		aerys.Router().
			Get("/session", c.whoAmI).
			Post("/session", c.enter).
			Delete("/session", c.leave).
			Get("/rooms/{room}", ws.Websocket(c, ws.Options{TextOnly: true, MaxMessageSize: 2000})),
		static.FS(files, static.Options{ExpiresPeriod: -1}))
}

// signed is a name, and what only who knows the secret can put behind it: there
// are no sessions to keep.
func (c *chat) signed(name string) []byte {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(name))
	return mac.Sum([]byte(name))
}

// visitor is the name that a request's cookie proves, or "".
func (c *chat) visitor(req *aerys.Request) string {
	token, _ := base64.RawURLEncoding.DecodeString(req.CookieValue("session"))
	name := string(token[:max(0, len(token)-sha256.Size)])
	if !hmac.Equal(token, c.signed(name)) {
		return ""
	}
	return name
}

var encoded = base64.RawURLEncoding.EncodeToString

func (c *chat) cookie(req *aerys.Request, value []byte, age int) *http.Cookie {
	return &http.Cookie{Name: "session", Value: encoded(value), Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: req.Info().Encrypted || req.URL.Scheme == "https"}
}

func (c *chat) enter(req *aerys.Request, res *aerys.Response) {
	form, err := req.ParseBody(1000)
	if err != nil {
		res.SetStatus(http.StatusBadRequest)
		return
	}
	name := strings.TrimSpace(form.Get("name"))
	if n := utf8.RuneCountInString(name); n == 0 || n > 20 {
		res.SetStatus(http.StatusBadRequest).End("A name has 1 to 20 letters.")
		return
	}
	res.SetCookie(c.cookie(req, c.signed(name), 30*24*60*60)).SetStatus(http.StatusNoContent).End()
}

func (c *chat) leave(req *aerys.Request, res *aerys.Response) {
	res.SetCookie(c.cookie(req, nil, -1)).SetStatus(http.StatusNoContent).End()
}

func (c *chat) whoAmI(req *aerys.Request, res *aerys.Response) {
	res.SetHeader("Cache-Control", "no-store").JSON(map[string]any{"Name": c.visitor(req), "Rooms": c.names})
}
