// Middleware puts middleware that others have written for net/http around a host:
// chi's request ids, log and timeout, rs/cors, gorilla's compression, Prometheus'
// counters and OpenTelemetry's traces. They are used as they are, and see the
// status of every answer, also of those that the server makes: try /nowhere, /slow,
// /panic, and a POST to /hello.
//
//	cd example/middleware && go run . -addr localhost:1337
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/gorilla/handlers"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"aerys"
)

func main() {
	addr := flag.String("addr", "localhost:1337", "where to listen")
	flag.Parse()
	where, err := net.ResolveTCPAddr("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	host := new(aerys.Host).Expose(where.IP.String(), where.Port).
		Use(logging(os.Stderr), crossOrigin(), counting(registry), tracing(noop.NewTracerProvider()), handlers.CompressHandler).
		Use(routes(time.Second).Get("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})))
	if err := aerys.Run(host); err != nil {
		log.Fatal(err)
	}
}

// logging is chi's log, with its request ids.
func logging(to io.Writer) func(http.Handler) http.Handler {
	logger := middleware.RequestLogger(&middleware.DefaultLogFormatter{Logger: log.New(to, "", log.LstdFlags), NoColor: true})
	return func(next http.Handler) http.Handler { return middleware.RequestID(logger(next)) }
}

// crossOrigin lets pages of one other origin read the answers, errors included.
func crossOrigin() func(http.Handler) http.Handler {
	return cors.New(cors.Options{AllowedOrigins: []string{"https://app.example"}, AllowedMethods: []string{"GET", "POST"}}).Handler
}

// counting counts requests for Prometheus, by method and status.
func counting(registry prometheus.Registerer) func(http.Handler) http.Handler {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests_total", Help: "Requests answered."}, []string{"code", "method"})
	registry.MustRegister(requests)
	return func(next http.Handler) http.Handler { return promhttp.InstrumentHandlerCounter(requests, next) }
}

// tracing has a span of OpenTelemetry for each request.
func tracing(provider trace.TracerProvider) func(http.Handler) http.Handler {
	return otelhttp.NewMiddleware("example", otelhttp.WithTracerProvider(provider))
}

// routes answers in all ways there are. /slow takes longer than it may.
func routes(most time.Duration) *aerys.Routes {
	return aerys.Router().
		Get("/hello", func(req *aerys.Request, res *aerys.Response) {
			res.SetHeader("Content-Type", "text/plain").End("Hello, " + middleware.GetReqID(req.Context()) + "!\n")
		}).
		Get("/standard", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "Hello from net/http!") }).
		Post("/upload", func(req *aerys.Request, res *aerys.Response) {
			if n, err := io.Copy(io.Discard, req.Body(1000)); err == nil {
				res.JSON(n)
			}
		}).
		Get("/slow", middleware.Timeout(most), func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).
		Get("/stream", func(_ *aerys.Request, res *aerys.Response) {
			res.SetHeader("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(res, "data: %d\n\n", i)
				res.Flush()
			}
		}).
		Get("/fail", func(_ *aerys.Request, res *aerys.Response) { res.Fail(errors.New("no disk")) }).
		Get("/panic", func(*aerys.Request, *aerys.Response) { panic("on purpose") })
}
