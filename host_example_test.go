package aerys_test

import (
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
