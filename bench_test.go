package aerys_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
	"aerys/ws/frame"
)

// The figures of the README. The server runs in a process of its own, so that
// its processor time and memory can be told from the load's; both are read from
// /proc and left out where there is none.

// benchEcho and benchBroadcast are the applications under load.
type benchEcho struct{ endpoint *ws.Endpoint }

func (e *benchEcho) OnStart(endpoint *ws.Endpoint) error { e.endpoint = endpoint; return nil }

func (e *benchEcho) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (e *benchEcho) OnOpen(ws.ClientID, struct{}) {}

func (e *benchEcho) OnData(id ws.ClientID, msg *ws.Message) {
	if data, err := msg.Bytes(); err == nil {
		e.endpoint.SendBinary(data, id)
	}
}

func (e *benchEcho) OnClose(ws.ClientID, ws.Code, string) {}

func (e *benchEcho) OnStop() {}

type benchBroadcast struct{ benchEcho }

func (e *benchBroadcast) OnData(_ ws.ClientID, msg *ws.Message) {
	if data, err := msg.Bytes(); err == nil {
		e.endpoint.BroadcastBinary(data)
	}
}

// benchChat tells everybody but who said it.
type benchChat struct{ benchEcho }

func (e *benchChat) OnData(id ws.ClientID, msg *ws.Message) {
	if data, err := msg.Bytes(); err == nil {
		e.endpoint.BroadcastBinary(data, id)
	}
}

var benchFiles = fstest.MapFS{
	"1KiB":   {Data: bytes.Repeat([]byte("x"), 1<<10), ModTime: time.Unix(1e9, 0)},
	"100KiB": {Data: bytes.Repeat([]byte("x"), 100<<10), ModTime: time.Unix(1e9, 0)},
}

// usage is what a server process has used so far: µs of all its threads, bytes,
// and allocations.
type usage struct{ CPU, RSS, Allocations float64 }

// TestBenchServer is no test: it is the process that the benchmarks start.
func TestBenchServer(t *testing.T) {
	engine, err := strconv.Atoi(os.Getenv("AERYS_BENCH_ENGINE"))
	if err != nil {
		return
	}
	options := ws.Options{
		Engine: ws.Engine(engine), MaxBytesPerMinute: -1, MaxFramesPerSecond: -1,
	}
	router := aerys.Router().
		Get("/hello", func(_ *aerys.Request, res *aerys.Response) { res.End(helloWorld) }).
		Get("/usage", func(_ *aerys.Request, res *aerys.Response) { json.NewEncoder(res).Encode(measure()) }).
		Get("/echo", ws.Websocket(&benchEcho{}, options)).
		Get("/broadcast", ws.Websocket(&benchBroadcast{}, options)).
		Get("/chat", ws.Websocket(&benchChat{}, options))
	host := new(aerys.Host).Use(router, static.FS(benchFiles)).Expose("127.0.0.1", 0)
	encrypted := httptest.NewTLSServer(host)
	standard := serveStandard(t)
	server := &aerys.Server{Options: aerys.Options{Logger: slog.New(slog.DiscardHandler)}, Hosts: []*aerys.Host{host}, Ready: func(addresses []net.Addr) {
		fmt.Println("BENCH", addresses[0], encrypted.Listener.Addr(), standard)
	}}
	server.Options.MaxRequestsPerConnection = -1
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin) // until the benchmark is over
		cancel()
	}()
	server.Serve(ctx)
}

// measure reads this process's usage.
func measure() (u usage) {
	threads, _ := filepath.Glob("/proc/self/task/*/schedstat")
	for _, thread := range threads {
		u.CPU += readField(thread, 0) / 1e3
	}
	u.RSS = readField("/proc/self/statm", 1) * float64(os.Getpagesize())
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	u.Allocations = float64(memory.Mallocs)
	return u
}

// readField reads a number out of a file.
func readField(file string, n int) (value float64) {
	text, _ := os.ReadFile(file)
	if fields := strings.Fields(string(text)); len(fields) > n {
		value, _ = strconv.ParseFloat(fields[n], 64)
	}
	return value
}

// benchServer is a server process, as seen from the benchmark: its addresses
// for aerys, aerys over TLS, and net/http alone.
type benchServer struct{ plain, encrypted, standard string }

func startServer(b *testing.B, engine ws.Engine) *benchServer {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestBenchServer$")
	cmd.Env = append(os.Environ(), fmt.Sprint("AERYS_BENCH_ENGINE=", int(engine)))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(b, err)
	stdout, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() { stdin.Close(); cmd.Wait() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 4 && f[0] == "BENCH" {
			return &benchServer{f[1], f[2], f[3]}
		}
	}
	b.Fatal("the server did not start")
	return nil
}

func (s *benchServer) usage(b *testing.B) (u usage) {
	res, err := http.Get("http://" + s.plain + "/usage")
	must(b, err)
	defer res.Body.Close()
	must(b, json.NewDecoder(res.Body).Decode(&u))
	return u
}

// reportCPU reports the server's µs of processor time for each of n events.
func (s *benchServer) reportCPU(b *testing.B, before usage, n int, unit string) {
	if after := s.usage(b); after.CPU > before.CPU {
		b.ReportMetric((after.CPU-before.CPU)/float64(n), "µs-cpu/"+unit)
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// dial connects and shakes hands.
func (s *benchServer) dial(b *testing.B, path string, encrypt bool) (net.Conn, *bufio.Reader) {
	b.Helper()
	var c net.Conn
	var err error
	if encrypt {
		c, err = tls.Dial("tcp", s.encrypted, &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", s.plain)
	}
	must(b, err)
	_, err = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	must(b, err)
	r := bufio.NewReaderSize(c, 64<<10)
	res, err := http.ReadResponse(r, nil)
	must(b, err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		b.Fatal(res.Status)
	}
	return c, r
}

// message is a client's binary frame, n times.
func message(size, n int) []byte {
	one := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: int64(size)})
	return bytes.Repeat(append(one, make([]byte, size)...), n)
}

// replySize is how many bytes the server's frame of that size takes.
func replySize(size int) int {
	return len(frame.AppendHeader(nil, frame.Header{Length: int64(size)})) + size
}

var benchEngines = []struct {
	name   string
	engine ws.Engine
}{{"auto", ws.EngineAuto}, {"portable", ws.EnginePortable}}

func BenchmarkEcho(b *testing.B) {
	for _, engine := range benchEngines {
		b.Run(engine.name, func(b *testing.B) {
			for _, size := range []int{16, 1 << 10, 64 << 10, 1 << 20} {
				for _, pipeline := range []int{1, 16} {
					if size*pipeline <= 1<<20 {
						b.Run(fmt.Sprintf("%dB/pipeline%d", size, pipeline), func(b *testing.B) {
							benchmarkEcho(b, startServer(b, engine.engine), size, pipeline)
						})
					}
				}
			}
		})
	}
}

func benchmarkEcho(b *testing.B, s *benchServer, size, pipeline int) {
	const conns = 8
	request, reply := message(size, pipeline), int64(replySize(size)*pipeline)
	rounds := max(1, b.N/(conns*pipeline))
	b.SetBytes(int64(size))
	before := s.usage(b)
	b.ResetTimer()
	var group sync.WaitGroup
	for range conns {
		c, r := s.dial(b, "/echo", false)
		defer c.Close()
		group.Add(1)
		go func() {
			defer group.Done()
			for range rounds {
				go c.Write(request)
				if _, err := io.CopyN(io.Discard, r, reply); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	group.Wait()
	b.StopTimer()
	s.reportCPU(b, before, rounds*conns*pipeline, "msg")
}

func BenchmarkBroadcast(b *testing.B) {
	const receivers, size = 1000, 128
	s := startServer(b, ws.EngineAuto)
	var readers []*bufio.Reader
	var publisher net.Conn
	for range receivers {
		c, r := s.dial(b, "/broadcast", false)
		defer c.Close()
		publisher, readers = c, append(readers, r)
	}
	request, reply := message(size, 1), int64(replySize(size))
	before := s.usage(b)
	for b.Loop() {
		publisher.Write(request)
		for _, r := range readers {
			if _, err := io.CopyN(io.Discard, r, reply); err != nil {
				b.Fatal(err)
			}
		}
	}
	s.reportCPU(b, before, b.N*receivers, "delivery")
}

// BenchmarkChat has every client say something at once, to all but itself.
func BenchmarkChat(b *testing.B) {
	const clients, size = 100, 128
	s := startServer(b, ws.EngineAuto)
	var conns []net.Conn
	var readers []*bufio.Reader
	for range clients {
		c, r := s.dial(b, "/chat", false)
		defer c.Close()
		conns, readers = append(conns, c), append(readers, r)
	}
	request, replies := message(size, 1), int64(replySize(size)*(clients-1))
	before := s.usage(b)
	for b.Loop() {
		for _, c := range conns {
			c.Write(request)
		}
		for _, r := range readers {
			_, err := io.CopyN(io.Discard, r, replies)
			must(b, err)
		}
	}
	s.reportCPU(b, before, b.N*clients*(clients-1), "delivery")
}

func BenchmarkHandshake(b *testing.B) {
	s := startServer(b, ws.EngineAuto)
	before := s.usage(b)
	for b.Loop() {
		c, _ := s.dial(b, "/echo", false)
		c.Close()
	}
	s.reportCPU(b, before, b.N, "handshake")
}

// BenchmarkIdle reports the memory of a connection that has echoed once.
func BenchmarkIdle(b *testing.B) {
	for _, kind := range []struct {
		name    string
		engine  ws.Engine
		encrypt bool
		conns   int
	}{{"auto", ws.EngineAuto, false, 4000}, {"portable", ws.EnginePortable, false, 4000}, {"tls", ws.EngineAuto, true, 1000}} {
		b.Run(kind.name, func(b *testing.B) {
			s := startServer(b, kind.engine)
			request, reply := message(16, 1), int64(replySize(16))
			open := func() {
				c, r := s.dial(b, "/echo", kind.encrypt)
				b.Cleanup(func() { c.Close() })
				c.Write(request)
				_, err := io.CopyN(io.Discard, r, reply)
				must(b, err)
			}
			open()
			before := s.usage(b)
			for range kind.conns {
				open()
			}
			for b.Loop() {
			}
			if after := s.usage(b); after.RSS > before.RSS {
				b.ReportMetric((after.RSS-before.RSS)/float64(kind.conns), "B/conn")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func BenchmarkHTTP(b *testing.B) {
	s := startServer(b, ws.EngineAuto)
	for _, path := range []string{"/hello", "/1KiB", "/100KiB"} {
		b.Run(path[1:], func(b *testing.B) {
			before := s.usage(b)
			for b.Loop() {
				res, err := http.Get("http://" + s.plain + path)
				must(b, err)
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Fatal(res.Status)
				}
			}
			s.reportCPU(b, before, b.N, "request")
		})
	}
}

func BenchmarkFrame(b *testing.B) {
	p := message(16, 1)
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h, n, err := frame.ParseHeader(p)
			if err != nil || n != 6 || frame.Check(h, frame.State{FromClient: true}) != nil {
				b.Fatal(n, err)
			}
		}
	})
	for _, size := range []int{16, 128, 1 << 10, 64 << 10} {
		payload := bytes.Repeat([]byte("a"), size)
		b.Run(fmt.Sprintf("mask/%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			for b.Loop() {
				frame.Mask(payload, [4]byte{1, 2, 3, 4}, 0)
			}
		})
		b.Run(fmt.Sprintf("utf8/%d", size), func(b *testing.B) {
			text := bytes.Repeat([]byte("a"), size)
			b.SetBytes(int64(size))
			for b.Loop() {
				var u frame.UTF8
				if !u.Valid(text) {
					b.Fatal("not valid")
				}
			}
		})
	}
}

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

func (d discarding) Header() http.Header { return d.header }

func (discarding) WriteHeader(int) {}

func (discarding) Write(p []byte) (int, error) { return len(p), nil }

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
