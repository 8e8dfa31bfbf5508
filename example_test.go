package aerys_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"time"

	"aerys"
)

func get(url string) string {
	response, err := http.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprint(response.StatusCode, " ", strings.TrimSpace(string(body)))
}

func hello(req *aerys.Request, res *aerys.Response) { res.End("Hello, world!") }

func Example() {
	host := new(aerys.Host).Expose("*", 1337).Use(aerys.Router().Get("/", hello))

	// A program would now call aerys.Run(host). A host is an http.Handler, too:
	server := httptest.NewServer(host)
	defer server.Close()
	fmt.Println(get(server.URL))
	// Output: 200 Hello, world!
}

// Two names on one address, the second encrypted at another as well.
func ExampleHost() {
	www := new(aerys.Host).Name("www.example.com").Expose("*", 80).Use(hello)
	api := new(aerys.Host).Name("api.example.com").Expose("*", 80).Use(aerys.Router().Get("/time", hello))
	safe := new(aerys.Host).Name("api.example.com").Expose("*", 443).
		Encrypt("/etc/aerys/api.crt", "/etc/aerys/api.key").Use(hello)

	log.Fatal(aerys.Run(www, api, safe))
}

// One listener for two names; requests for any other name are answered with 400.
func ExampleHost_Name() {
	www := new(aerys.Host).Name("www.example.com").Expose("*", 80).Use(hello)
	old := new(aerys.Host).Name("example.com").Expose("*", 80).
		Use(http.RedirectHandler("http://www.example.com/", http.StatusMovedPermanently))

	log.Fatal(aerys.Run(www, old))
}

// Clear text only leads to the encrypted host. The certificate is read again
// when its files change.
func ExampleHost_Encrypt() {
	safe := new(aerys.Host).Expose("*", 443).
		Encrypt("/etc/aerys/site.crt", "/etc/aerys/site.key", &tls.Config{MinVersion: tls.VersionTLS13}).
		Use(hello)
	plain := new(aerys.Host).Expose("*", 80).Use(func(req *aerys.Request, res *aerys.Response) {
		res.SetStatus(http.StatusPermanentRedirect).SetHeader("Location", "https://"+req.Host+req.URL.RequestURI()).End()
	})

	log.Fatal(aerys.Run(safe, plain))
}

// Middleware and handlers of net/http are actions as they are.
func ExampleHost_Use() {
	signed := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Signed", "by net/http")
			next.ServeHTTP(w, r)
		})
	}
	server := httptest.NewServer(new(aerys.Host).Use(
		signed,
		aerys.Router().Get("/", hello),
		http.StripPrefix("/files/", http.FileServer(http.Dir("/srv/files"))),
	))
	defer server.Close()
	response, _ := http.Get(server.URL)
	fmt.Println(response.Header.Get("Signed"))
	// Output: by net/http
}

// A server with options, that lives until the program is interrupted.
func ExampleServer() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	server := &aerys.Server{
		Options: aerys.Options{ConnectionsPerIP: 30, ShutdownTimeout: 10 * time.Second},
		Hosts:   []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(hello)},
		Ready: func(addresses []net.Addr) {
			fmt.Println(get("http://" + addresses[0].String()))
			stop() // as the interrupt would
		},
	}
	fmt.Println(server.Serve(ctx))
	// Output:
	// 200 Hello, world!
	// <nil>
}

// accessLog tells a log about every answer.
func accessLog(logger *slog.Logger) aerys.Middleware {
	return func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			began := time.Now()
			next.Serve(req, res)
			status := res.Status()
			if res.State() == aerys.None {
				status = http.StatusNotFound // unless an action follows that answers
			}
			logger.Info("request", "client", req.RemoteAddr, "method", req.Method, "path", req.URL.Path,
				"status", status, "took", time.Since(began))
		})
	}
}

// What comes first sees everything: here the log, with slog's care for what
// clients put into a path.
func Example_accessLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "took" || a.Key == "client" {
			return slog.Attr{} // not the same each time
		}
		return a
	}}))
	server := httptest.NewServer(new(aerys.Host).Use(accessLog(logger), aerys.Router().Get("/{name}", hello)))
	defer server.Close()
	get(server.URL + "/x%0aFAKE")
	// Output: level=INFO msg=request method=GET path="/x\nFAKE" status=200
}

// Header fields that most pages should have: an action that does not start the
// response lets the next one do so.
func Example_secureHeaders() {
	secure := func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("X-Content-Type-Options", "nosniff").
			SetHeader("X-Frame-Options", "DENY").
			SetHeader("Referrer-Policy", "same-origin").
			SetHeader("Content-Security-Policy", "default-src 'self'")
	}
	server := httptest.NewServer(new(aerys.Host).Use(secure, hello))
	defer server.Close()
	response, _ := http.Get(server.URL)
	fmt.Println(response.Header.Get("X-Frame-Options"))
	// Output: DENY
}

// Of what is expensive, no more than two at once: those who would have to wait
// are sent away.
func Example_limits() {
	limited := func(most int) aerys.Middleware {
		places := make(chan struct{}, most)
		return func(next aerys.Handler) aerys.Handler {
			return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
				select {
				case places <- struct{}{}:
					defer func() { <-places }()
					next.Serve(req, res)
				default:
					res.SetStatus(http.StatusServiceUnavailable).SetHeader("Retry-After", "1").End("Too much to do.")
				}
			})
		}
	}
	router := aerys.Router().Get("/report", limited(2), hello)
	server := httptest.NewServer(new(aerys.Host).Use(router))
	defer server.Close()
	fmt.Println(get(server.URL + "/report"))
	// Output: 200 Hello, world!
}

func ExampleTrustedProxies() {
	proxies := aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.0/8"))
	server := httptest.NewServer(new(aerys.Host).Use(proxies, func(req *aerys.Request, res *aerys.Response) {
		res.End(req.RemoteAddr)
	}))
	defer server.Close()
	request, _ := http.NewRequest("GET", server.URL, nil)
	request.Header.Set("X-Forwarded-For", "6.6.6.6, 192.0.2.7") // the first one is forged
	response, _ := http.DefaultClient.Do(request)
	client, _ := io.ReadAll(response.Body)
	fmt.Println(string(client))
	// Output: 192.0.2.7:0
}

func ExampleMonitorHandler() {
	inside := func(req *aerys.Request, res *aerys.Response) {
		if !req.Info().Client.Addr().IsLoopback() {
			res.SetStatus(http.StatusForbidden).End()
		}
	}
	router := aerys.Router().Get("/metrics", inside, aerys.MonitorHandler)

	log.Fatal(aerys.Run(new(aerys.Host).Use(router)))
}

// A load balancer asks for /healthz, and sends nothing more once it is 503.
func ExampleHealthHandler() {
	router := aerys.Router().Get("/healthz", aerys.HealthHandler)
	server := httptest.NewServer(new(aerys.Host).Use(router))
	defer server.Close()
	fmt.Println(get(server.URL + "/healthz"))
	// Output: 200 serving
}

// Each event of a stream of server-sent events is flushed; the stream ends when
// the client leaves.
func ExampleResponse_Flush() {
	clock := func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("Content-Type", "text/event-stream").SetHeader("Cache-Control", "no-store")
		for req.Context().Err() == nil {
			fmt.Fprintf(res, "data: %s\n\n", time.Now().Format(time.TimeOnly))
			if res.Flush() != nil {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-req.Context().Done():
			}
		}
	}
	new(aerys.Host).Use(aerys.Router().Get("/clock", clock))
}

// shout is middleware that rewrites bodies.
func shout(next aerys.Handler) aerys.Handler { return shouting{next} }

type shouting struct{ next aerys.Handler }

func (s shouting) Serve(req *aerys.Request, res *aerys.Response) {
	res.Filter(func(w io.Writer) io.WriteCloser { return capitals{w} })
	s.next.Serve(req, res)
}

type capitals struct{ io.Writer }

func (c capitals) Write(p []byte) (int, error) { return c.Writer.Write(bytes.ToUpper(p)) }

func (c capitals) Close() error { return nil }

func ExampleResponse_Filter() {
	host := new(aerys.Host).Use(shout, func(req *aerys.Request, res *aerys.Response) { res.End("hello") })

	answer := httptest.NewRecorder()
	host.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Body)
	// Output: HELLO
}

// The browser is told of the style sheet before it has seen the page.
func ExampleResponse_Push() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		res.Push("/style.css", nil).End("<link rel=stylesheet href=/style.css>")
	})

	answer := httptest.NewRecorder()
	host.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Header().Get("Link"))
	// Output: </style.css>; rel=preload
}

// A visitor is known by a cookie that scripts cannot read.
func ExampleResponse_SetCookie() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		if name := req.CookieValue("name"); name != "" {
			res.End("Welcome back, " + name + "!")
			return
		}
		res.SetCookie(&http.Cookie{Name: "name", Value: "Ann", HttpOnly: true, SameSite: http.SameSiteLaxMode}).End("Welcome!")
	})

	request := httptest.NewRequest("GET", "/", nil)
	first, second := httptest.NewRecorder(), httptest.NewRecorder()
	host.ServeHTTP(first, request)
	request.AddCookie(first.Result().Cookies()[0])
	host.ServeHTTP(second, request)
	fmt.Println(first.Body, second.Body)
	// Output: Welcome! Welcome back, Ann!
}

func ExampleRequest_ParseBody() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		form, err := req.ParseBody()
		if err != nil {
			return // 413 if it was too large
		}
		res.End(form.Get("greeting"), ", ", strings.Join(form.All("name"), " and "))
	})

	answer := httptest.NewRecorder()
	request := httptest.NewRequest("POST", "/", strings.NewReader("greeting=Hi&name=Ann&name=Bob"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	host.ServeHTTP(answer, request)
	fmt.Println(answer.Body)
	// Output: Hi, Ann and Bob
}

// An upload of up to a gigabyte, none of which is held in memory.
func ExampleRequest_Fields() {
	upload := func(req *aerys.Request, res *aerys.Response) {
		for field, err := range req.Fields(1 << 30) {
			if err != nil {
				res.SetStatus(http.StatusBadRequest).End(err.Error())
				return
			}
			size, err := io.Copy(io.Discard, field.Limit(100<<20))
			if err != nil {
				return // 413 if it was more than 100 MiB
			}
			fmt.Fprintln(res, field.Name, field.Filename, size)
		}
	}
	new(aerys.Host).Use(aerys.Router().Post("/upload", upload))
}

// An API under a prefix of its own, guarded by what it uses, is merged into the
// router of the site. What no route knows falls through to the host's next
// action.
func ExampleRouter() {
	guard := func(req *aerys.Request, res *aerys.Response) {
		if req.Header.Get("Authorization") == "" {
			res.SetStatus(http.StatusUnauthorized).End("Who are you?")
		}
	}
	api := aerys.Router().
		Use(guard).
		Get(`/users/{id:\d+}`, func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprintf(res, "This is user %s.", req.PathValue("id"))
		}).
		Prefix("/api")
	site := aerys.Router().
		Use(api).
		Get("/about/?", func(_ *aerys.Request, res *aerys.Response) { res.End("About us.") })
	host := new(aerys.Host).Use(site, http.NotFoundHandler())

	for _, target := range []string{"/about", "/about/", "/api/users/7", "/api/users/me"} {
		w := httptest.NewRecorder()
		host.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Printf("%s: %d %s%s\n", target, w.Code, w.Header().Get("Location"), w.Body)
	}
	// Output:
	// /about: 200 About us.
	// /about/: 302 /about
	// /api/users/7: 401 Who are you?
	// /api/users/me: 404 404 page not found
}

// Middleware wraps the actions that follow it.
func ExampleMiddleware() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	logged := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			next.Serve(req, res)
			logger.Info("request", "path", req.URL.Path, "status", res.Status())
		})
	}
	host := new(aerys.Host).Use(logged, func(_ *aerys.Request, res *aerys.Response) {
		res.SetStatus(http.StatusTeapot).End("I am a teapot.")
	})
	host.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/coffee", nil))
	// Output:
	// level=INFO msg=request path=/coffee status=418
}
