package aerys_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
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

	if err := aerys.Run(www, api, safe); err != nil {
		log.Fatal(err)
	}
}

// One listener for two names; requests for any other name are answered with 400.
func ExampleHost_Name() {
	www := new(aerys.Host).Name("www.example.com").Expose("*", 80).Use(hello)
	old := new(aerys.Host).Name("example.com").Expose("*", 80).
		Use(http.RedirectHandler("http://www.example.com/", http.StatusMovedPermanently))

	if err := aerys.Run(www, old); err != nil {
		log.Fatal(err)
	}
}

// Clear text only leads to the encrypted host. The certificate is read again
// when its files change.
func ExampleHost_Encrypt() {
	safe := new(aerys.Host).Expose("*", 443).
		Encrypt("/etc/aerys/site.crt", "/etc/aerys/site.key", &tls.Config{MinVersion: tls.VersionTLS13}).
		Use(hello)
	plain := new(aerys.Host).Expose("*", 80).RedirectToHTTPS()

	if err := aerys.Run(safe, plain); err != nil {
		log.Fatal(err)
	}
}

// A test, or a program that has its sockets from elsewhere, makes the listener.
func ExampleHost_Listen() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	server := &aerys.Server{
		Hosts: []*aerys.Host{new(aerys.Host).Listen(listener).Use(hello)},
		Ready: func([]net.Addr) {
			fmt.Println(get("http://" + listener.Addr().String()))
			stop()
		},
	}
	if err := server.Serve(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 200 Hello, world!
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

// What comes first sees everything: here the log, with slog's care for what
// clients put into a path.
func ExampleAccessLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "time" || a.Key == "duration" || a.Key == "client" {
			return slog.Attr{} // not the same each time
		}
		return a
	}}))
	server := httptest.NewServer(new(aerys.Host).Use(aerys.AccessLog(logger), aerys.Router().Get("/{name}", hello)))
	defer server.Close()
	get(server.URL + "/x%0aFAKE")
	// Output: level=INFO msg=request method=GET path="/x\nFAKE" status=200 bytes=13
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

	if err := aerys.Run(new(aerys.Host).Use(router)); err != nil {
		log.Fatal(err)
	}
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
// the client leaves, or the server stops, which would otherwise wait for it.
func ExampleRequest_Stopping() {
	clock := func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("Content-Type", "text/event-stream").SetHeader("Cache-Control", "no-store")
		for {
			fmt.Fprintf(res, "data: %s\n\n", time.Now().Format(time.TimeOnly))
			if res.Flush() != nil {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-req.Context().Done():
				return
			case <-req.Stopping():
				return
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

// save takes one file of a form.
func save(field *aerys.Field) (int64, error) { return io.Copy(io.Discard, field.Limit(100<<20)) }

// An upload of up to a gigabyte, none of which is held in memory.
func ExampleRequest_Fields() {
	upload := func(req *aerys.Request, res *aerys.Response) {
		for field, err := range req.Fields(1 << 30) {
			if err != nil {
				res.SetStatus(http.StatusBadRequest).End(err.Error())
				return
			}
			size, err := save(field)
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
		Put(`/users/{id:\d+}`, hello).
		Patch(`/users/{id:\d+}`, hello).
		Prefix("/api")
	var site *aerys.Routes = aerys.Router().
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

// A file server of net/http, and the API of somebody else, below prefixes: they
// find the path without it.
func ExampleRoutes_Mount() {
	users := http.NewServeMux()
	users.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "User %s, asked for at %s.", r.PathValue("id"), r.RequestURI)
	})
	host := new(aerys.Host).Use(aerys.Router().
		Mount("/files", http.FileServer(http.Dir("/srv/files"))).
		Mount("/api", users))

	w := httptest.NewRecorder()
	host.ServeHTTP(w, httptest.NewRequest("GET", "/api/users/7", nil))
	fmt.Println(w.Body)
	// Output: User 7, asked for at /api/users/7.
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

// pool is an action that is told of the server's start and stop, and asked for
// its state.
type pool struct{ open bool }

var _ interface {
	aerys.Starter
	aerys.Stopper
	aerys.Monitor
	aerys.Handler
} = (*pool)(nil)

func (p *pool) Start(context.Context) error { p.open = true; return nil }

func (p *pool) Stop(context.Context) error { p.open = false; return nil }

func (p *pool) Monitor() any { return map[string]bool{"open": p.open} }

func (p *pool) Serve(req *aerys.Request, res *aerys.Response) { req.SetLocal(poolKey{}, p) }

// poolKey is of a type of its own, so that nobody else has the same.
type poolKey struct{}

// What one action found is there for those that follow.
func ExampleAction() {
	actions := []aerys.Action{
		&pool{open: true},
		func(req *aerys.Request, res *aerys.Response) {
			if p, ok := req.Local(poolKey{}).(*pool); ok {
				fmt.Fprintln(res, "open:", p.open, "and", req.AllParams())
			}
		},
	}
	answer := httptest.NewRecorder()
	new(aerys.Host).Use(actions...).ServeHTTP(answer, httptest.NewRequest("GET", "/?a=1&a=2", nil))
	fmt.Print(answer.Body)
	// Output: open: true and map[a:[1 2]]
}

// orders are what a shop tells its operator, as JSON and as Prometheus has it.
type orders struct {
	Taken map[string]int `json:"taken" metric:"shop_orders_total{country} counter Orders taken."`
}

type shop struct{}

func (shop) Serve(*aerys.Request, *aerys.Response) {}

func (shop) Monitor() any { return orders{map[string]int{"at": 3, "ch": 1}} }

func ExampleMonitor() {
	router := aerys.Router().Get("/shop", shop{}).Get("/metrics", aerys.MonitorHandler)
	server := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(router)}}
	ctx, stop := context.WithCancel(context.Background())
	server.Ready = func(addresses []net.Addr) {
		defer stop()
		request, _ := http.NewRequest("GET", "http://"+addresses[0].String()+"/metrics", nil)
		request.Header.Set("Accept", "text/plain")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		defer response.Body.Close()
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if strings.HasPrefix(lines.Text(), "shop_") {
				fmt.Println(lines.Text())
			}
		}
	}
	server.Serve(ctx)
	// Output:
	// shop_orders_total{host="*",address="127.0.0.1:0",handler="0",route="GET /shop",country="at"} 3
	// shop_orders_total{host="*",address="127.0.0.1:0",handler="0",route="GET /shop",country="ch"} 1
}

// What a router tells of its actions, by method and pattern, is part of what the
// server tells.
func ExampleServer_Monitor() {
	ctx, stop := context.WithCancel(context.Background())
	database := &pool{}
	router := aerys.Router().Head("/", database, hello).Get("/", database, hello)
	server := &aerys.Server{Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(router)}}
	server.Ready = func(addresses []net.Addr) {
		defer stop()
		get("http://" + addresses[0].String())
		var state aerys.ServerState = server.Monitor().(aerys.ServerState)
		var host aerys.HostState = state.Hosts[0]
		var took aerys.Durations = host.Durations
		var slowest aerys.Bucket = took.Buckets[len(took.Buckets)-1]
		var process aerys.ProcessState = state.Process
		var connections aerys.ConnectionState = state.Connections
		fmt.Println(host.Requests["2xx"], "answered,", connections.Open, "connected")
		fmt.Println("no longer than", slowest.Seconds, "s:", slowest.Count == took.Count, process.Heap > 0)
		fmt.Println(router.Monitor())
	}
	server.Serve(ctx)
	// Output:
	// 1 answered, 1 connected
	// no longer than 10 s: true true
	// map[GET:map[/:[map[open:true]]] HEAD:map[/:[map[open:true]]]]
}

// The error about a body that is too large names the limit; what is no form is
// another error.
func ExampleLimitError() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		var form *aerys.ParsedBody
		form, err := req.ParseBody(10)
		var limit *aerys.LimitError
		switch {
		case errors.As(err, &limit):
			fmt.Println(limit.Option, limit.Limit, errors.Is(err, aerys.ErrBodyTooLarge))
		case errors.Is(err, aerys.ErrNotForm):
			fmt.Println("no form")
		default:
			fmt.Println(form.Names(), err)
		}
	})
	for _, body := range []string{"a=1&b=2", "a=1&b=2&c=3", "{}"} {
		request := httptest.NewRequest("POST", "/", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if body == "{}" {
			request.Header.Set("Content-Type", "application/json")
		}
		host.ServeHTTP(httptest.NewRecorder(), request)
	}
	// Output:
	// [a b] <nil>
	// MaxBodySize 10 true
	// no form
}

// Until something leaves, status and header may change.
func ExampleState() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		is := func(state aerys.State) bool { return res.State() == state }
		res.AddHeader("Vary", "Accept").AddHeader("Vary", "Cookie")
		fmt.Println("nothing was said:", is(aerys.None))
		res.WriteHeader(http.StatusAccepted)
		fmt.Println("something was:", is(aerys.Started), res.Status())
		res.Flush()
		fmt.Println("it is on its way:", is(aerys.Streaming))
		res.End()
		_, err := res.WriteString("more")
		fmt.Println("that was all:", is(aerys.Ended), errors.Is(err, aerys.ErrEnded))
	})
	host.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	// Output:
	// nothing was said: true
	// something was: true 202
	// it is on its way: true
	// that was all: true true
}

// An API: JSON comes in and goes out, errors too, whoever finds them.
func ExampleHost_Errors() {
	type order struct{ Item string }
	api := aerys.Router().Post("/orders", func(req *aerys.Request, res *aerys.Response) {
		var o order
		if req.JSON(&o) != nil {
			return // 400, 413 or 415, and what is wrong with it
		}
		if o.Item == "" {
			res.Fail(&aerys.Error{Status: 422, Err: errors.New("an order needs an Item"), Public: true})
			return
		}
		res.SetStatus(http.StatusCreated).JSON(o)
	})
	host := new(aerys.Host).Use(api).Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) {
		res.JSON(map[string]any{"status": e.Status, "error": e.Text()})
	})
	for _, body := range []string{`{"Item":"tea"}`, `{}`, `{"Item":7}`} {
		request := httptest.NewRequest("POST", "/orders", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		host.ServeHTTP(answer, request)
		fmt.Print(answer.Code, " ", answer.Body)
	}
	// Output:
	// 201 {"Item":"tea"}
	// 422 {"error":"an order needs an Item","status":422}
	// 400 {"error":"number does not fit Item, at line 1, column 9","status":400}
}

// Middleware that answers in the place of an empty page.
func ExampleResponse_Reset() {
	never := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			if next.Serve(req, res); res.Status() == 200 && res.Written() == 0 {
				res.Reset().SetStatus(http.StatusNoContent)
			}
		})
	}
	server := httptest.NewServer(new(aerys.Host).Use(never, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	defer server.Close()
	fmt.Println(get(server.URL))
	// Output: 204
}

// A header field that could forge another is refused, not cleaned.
func ExampleResponse_Err() {
	quiet := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("Location", "/\r\nSet-Cookie: a=b")
		fmt.Println(errors.Is(res.Err(), aerys.ErrInvalidHeader))
	})
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler)) // it is logged, too
	answer := httptest.NewRecorder()
	quiet.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Code)
	// Output:
	// true
	// 500
}

// Another protocol on the same port: the connection is the handler's from then on.
func ExampleResponse_Hijack() {
	server := httptest.NewServer(new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		conn, buffered, err := res.Hijack()
		if err != nil {
			return // over HTTP/2 there is none to be had
		}
		defer conn.Close()
		fmt.Fprint(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: greeting\r\n\r\nHello!\n")
		buffered.Flush()
	}))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: greeting\r\n\r\n")
	said, _ := io.ReadAll(conn)
	fmt.Printf("%s", said[bytes.LastIndex(said, []byte("\r\n"))+2:])
	// Output: Hello!
}

// On Linux the kernel sends a file, without a copy in memory.
func ExampleResponse_ReadFrom() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		file, err := os.Open("LICENSE")
		if err != nil {
			return // the next action may know better
		}
		defer file.Close()
		res.SetHeader("Content-Type", "text/plain").ReadFrom(file) // which io.Copy calls as well
	})
	answer := httptest.NewRecorder()
	host.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	line, _ := answer.Body.ReadString('\n')
	fmt.Print(line)
	// Output: MIT License
}
