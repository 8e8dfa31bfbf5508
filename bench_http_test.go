package aerys_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

const helloWorld = "Hello, World!"

// serveStandard serves what /hello answers by net/http alone, under the same
// timeouts.
func serveStandard(t *testing.T) net.Addr {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: 6 * time.Second, IdleTimeout: 6 * time.Second, Handler: standardHello}
	go server.Serve(l)
	return l.Addr()
}

var htmlType = []string{"text/html; charset=utf-8"}

// standardHello answers as /hello does.
var standardHello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	w.Header()["Content-Type"] = htmlType
	io.WriteString(w, helloWorld)
})

// BenchmarkOverhead has net/http alone and a router in a Host answer the same
// request in turns, over kept connections, and reports what the latter costs
// the server more: processor time as a ratio, the median of all turns, and
// allocations. One operation is two turns of each.
func BenchmarkOverhead(b *testing.B) {
	b.Setenv("GOMAXPROCS", "1") // the server's
	s := startServer(b, ws.EngineAuto)
	standard, ours := keepAlive(b, s.standard), keepAlive(b, s.plain)
	turn := func(clients []*keptClient) (CPU, allocations float64) {
		before := s.usage(b)
		ask(b, clients)
		after := s.usage(b)
		return (after.CPU - before.CPU) / requestsPerTurn, (after.Allocations - before.Allocations) / requestsPerTurn
	}
	turn(standard)
	turn(ours)
	var theirs, all, ratios, more []float64
	for b.Loop() {
		CPU, allocations := turn(standard)
		ourCPU, ourAllocations := turn(ours)
		ourCPU2, _ := turn(ours)
		CPU2, _ := turn(standard)
		theirs, all = append(theirs, (CPU+CPU2)/2), append(all, (ourCPU+ourCPU2)/2)
		ratios = append(ratios, (ourCPU+ourCPU2)/(CPU+CPU2))
		more = append(more, ourAllocations-allocations)
	}
	b.ReportMetric(median(theirs), "net/http-µs-cpu/request")
	b.ReportMetric(median(all), "aerys-µs-cpu/request")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(more), "allocs-of-ours/request")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRoute reports what a Host adds to a plain handler on the way through
// a router, two middlewares and one parameter, without a socket. One operation
// is a thousand requests to each.
func BenchmarkRoute(b *testing.B) {
	passing := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) { next.Serve(req, res) })
	}
	host := new(aerys.Host).Use(passing, passing, aerys.Router().Get("/users/{id}", func(req *aerys.Request, res *aerys.Response) {
		res.End(req.PathValue("id"))
	}))
	request := httptest.NewRequest("GET", "/users/12345", nil)
	turn := func(handler http.Handler) float64 {
		writer := discarding{http.Header{}}
		began := time.Now()
		for range 1000 {
			handler.ServeHTTP(writer, request)
			clear(writer.header)
		}
		return float64(time.Since(began).Nanoseconds()) / 1000
	}
	var more []float64
	b.ReportAllocs()
	for b.Loop() {
		standard := turn(standardHello)
		more = append(more, turn(host)-standard)
	}
	b.ReportMetric(median(more), "ns-of-ours/request")
	b.ReportMetric(0, "ns/op")
}

// discarding is a writer of nothing.
type discarding struct{ header http.Header }

func (d discarding) Header() http.Header                 { return d.header }
func (discarding) WriteHeader(int)                       {}
func (discarding) Write(p []byte) (int, error)           { return len(p), nil }
func (discarding) WriteString(s string) (n int, _ error) { return len(s), nil }

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

const requestsPerTurn = 4_000

// keptClient is a kept connection.
type keptClient struct {
	net.Conn
	answer []byte // as long as every answer
}

var askHello = []byte("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")

// keepAlive opens connections to a server that answers /hello.
func keepAlive(b *testing.B, address string) (clients []*keptClient) {
	for range 8 {
		conn, err := net.Dial("tcp", address)
		must(b, err)
		b.Cleanup(func() { conn.Close() })
		_, err = conn.Write(askHello)
		must(b, err)
		answer := make([]byte, 1024)
		n, err := conn.Read(answer)
		must(b, err)
		if !bytes.HasSuffix(answer[:n], []byte(helloWorld)) {
			b.Fatalf("answered %q", answer[:n])
		}
		clients = append(clients, &keptClient{conn, answer[:n]})
	}
	return clients
}

// ask makes the requests of a turn, one at a time on each connection.
func ask(b *testing.B, clients []*keptClient) {
	var group sync.WaitGroup
	for _, client := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for range requestsPerTurn / len(clients) {
				client.Write(askHello)
				if _, err := io.ReadFull(client, client.answer); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
}
