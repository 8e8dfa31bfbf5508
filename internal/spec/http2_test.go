package spec

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

// again runs a test in a process in which net/http takes an extended CONNECT (RFC
// 8441), and reports whether this is that one.
func again(t *testing.T) bool {
	t.Helper()
	if strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		return true
	}
	again := command(t, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), "GODEBUG="+extendedConnect)
	if output, err := again.CombinedOutput(); err != nil || !strings.Contains(string(output), "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v: %s", err, output)
	}
	return false
}

// TestExtendedConnect has each kind of action asked by an extended CONNECT, over TLS
// and in clear text: to a browser a 2xx would open a WebSocket, and there is none but
// of a gateway.
func TestExtendedConnect(t *testing.T) {
	if !again(t) {
		return
	}
	files := static.FS(fstest.MapFS{"file": {Data: []byte("secret")}})
	gateway := ws.Websocket(new(app))
	behind := http.NewServeMux()
	behind.Handle("/mux/ws", gateway)
	behind.HandleFunc("/mux/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "secret") })
	flushes := func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); io.WriteString(w, "secret") }
	guarded := func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(401) }
	routes := aerys.Router().Get("/route", hello).Get("/ws", gateway).Get("/{x:a.*}", hello).Get("/flushes", flushes).
		Route("CONNECT", "/connect", hello).Route("CONNECT", "/tunnel", hello).Get("/guarded", guarded, gateway).
		Mount("/mount", func(next http.Handler) http.Handler { return wrapped{next} }, gateway).
		Get("/reads", func(req *aerys.Request, res *aerys.Response) { io.Copy(res, req.Request.Body) }).
		Get("/dynamic", func(req *aerys.Request, res *aerys.Response) { gateway.Serve(req, res) }).
		Get("/slow", func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "") }, gateway)
	actions := []aerys.Action{routes, files, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/mux/") {
			behind.ServeHTTP(w, r)
		} else {
			io.WriteString(w, "secret")
		}
	}}
	want := map[string]string{"/ws": "200", "/guarded": "401", "/mux/ws": "200", "/mount": "200", "/dynamic": "200", "/slow": "500"}

	certFile, keyFile := writeCertificate(t, t.TempDir(), "localhost")
	options := aerys.Options{AllowedMethods: []string{"GET", "CONNECT"}, KeepMethodCase: true}
	s := run(t, options, at(actions...), new(aerys.Host).Expose("::1", 0).Encrypt(certFile, keyFile).Use(actions...))
	mux := http.NewServeMux()
	mux.Handle("/ws", gateway)
	mux.Handle("/file", files)
	mux.Handle("/missing", files)
	mux.Handle("/", new(aerys.Host).Use(actions...))
	plain := httptest.NewUnstartedServer(mux)
	plain.EnableHTTP2 = true
	plain.StartTLS()
	t.Cleanup(plain.Close)

	for name, address := range map[string]net.Addr{"in clear text": s.addresses[0], "over TLS": s.addresses[1], "under net/http": plain.Listener.Addr()} {
		for _, path := range []string{"/route", "/any", "/connect", "/tunnel", "/ws", "/file", "/missing", "/", "/flushes", "/reads",
			"/guarded", "/mux/ws", "/mux/else", "/mount", "/dynamic", "/slow"} {
			for _, protocol := range []string{"websocket", "connect-udp", "x"} {
				wanted := cmp.Or(want[path], "501")
				if protocol != "websocket" {
					wanted = "501"
				}
				if status := connect(t, address, name != "in clear text", path, protocol); status != wanted {
					t.Errorf("%s: %s, %s: %s, want %s", name, path, protocol, status, wanted)
				}
			}
		}
	}
}

// wrapped is a middleware of net/http that puts a writer of its own in front.
type wrapped struct{ http.Handler }

func (h wrapped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.Handler.ServeHTTP(struct{ unwrapping }{unwrapping{w}}, r)
}

type unwrapping struct{ http.ResponseWriter }

func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// extendedConnect in GODEBUG has net/http announce and take extended CONNECTs.
const extendedConnect = "http2xconnect=1"

// connect sends an extended CONNECT, without its end, and returns the status.
func connect(t *testing.T, address net.Addr, encrypted bool, path, protocol string) (status string) {
	t.Helper()
	conn := dial(t, address)
	if encrypted {
		conn = dialTLS(t, address, "h2")
	}
	defer conn.Close()
	io.WriteString(conn, begin(""))
	for announced := false; ; {
		kind, _, stream, payload, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == settingsFrame && bytes.Contains(payload, []byte{0, 8, 0, 0, 0, 1}) { // ENABLE_CONNECT_PROTOCOL
			announced = true
			io.WriteString(conn, frame(headersFrame, endHeaders, 1, connectRequest(encrypted, path, protocol)))
		}
		if kind == headersFrame && stream == 1 && announced {
			return statusIn(payload)
		}
	}
}

// connectRequest is the header of an extended CONNECT.
func connectRequest(encrypted bool, path, protocol string) string {
	scheme := "\x86"
	if encrypted {
		scheme = "\x87"
	}
	text := func(s string) string { return string(byte(len(s))) + s } // RFC 7541 §5.2, not Huffman-coded
	return "\x02" + text("CONNECT") + "\x00" + text(":protocol") + text(protocol) + scheme + "\x04" + text(path) + "\x01" + text("a") +
		"\x00" + text("sec-websocket-version") + text("13")
}

// statusIn returns the status that a block of fields begins with (RFC 7541
// §6.1, §6.2.1; §5.2 for Huffman codes).
func statusIn(block []byte) string {
	for beginning, status := range map[string]string{"\x88": "200", "\x8c": "400", "\x8d": "404", "\x8e": "500", "\x4e\x03405": "405",
		"\x4e\x82\x6c\x01": "501", "\x4e\x82\x68\x01": "401", "\x4e\x82\x6c\x19": "503"} {
		if strings.HasPrefix(string(block), beginning) {
			return status
		}
	}
	return fmt.Sprintf("%x", block)
}

// TestWarningOfExtendedConnect: who has it announced and serves none of it is told.
func TestWarningOfExtendedConnect(t *testing.T) {
	announced := again(t)
	for _, test := range []struct {
		name   string
		action aerys.Action
		warns  bool
	}{
		{"no gateway", hello, announced},
		{"a gateway", ws.Websocket(new(app)), false},
		{"a gateway in a router", aerys.Router().Get("/a", hello).Get("/ws", ws.Websocket(new(app))), false},
	} {
		if text := logOfStart(t, test.action); strings.Contains(text, "level=WARN") != test.warns || test.warns && !strings.Contains(text, "wss://") {
			t.Errorf("%s: logged %q", test.name, text)
		}
	}
}

// logOfStart is what a server logs that starts and stops.
func logOfStart(t *testing.T, action aerys.Action) string {
	t.Helper()
	log := new(strings.Builder)
	server := &aerys.Server{Options: aerys.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}, Hosts: []*aerys.Host{at(action)}}
	ctx, cancel := context.WithCancel(context.Background())
	server.Ready = func([]net.Addr) { cancel() }
	if err := server.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

// TestUploadsOverHTTP2: no limit of HTTP/1's is there for what is sent over HTTP/2.
func TestUploadsOverHTTP2(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	s := run(t, aerys.Options{ConnectionTimeout: timeout}, at(func(req *aerys.Request, res *aerys.Response) {
		n, err := io.Copy(io.Discard, req.Body())
		res.End(fmt.Sprint(req.Proto, " ", n, " ", err))
	}))
	body, writer := io.Pipe()
	go func() {
		for range 3 {
			time.Sleep(5 * timeout)
			io.WriteString(writer, "x")
		}
		writer.Close()
	}()
	response, err := client(t, "HTTP/2").Post(s.url(), "", body)
	if err != nil {
		t.Fatal(err)
	}
	is(t, bodyOf(response), "HTTP/2.0 3 <nil>")
}

func TestConcurrentStreamsAreBounded(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 10)
	s := run(t, aerys.Options{MaxConcurrentStreams: 2}, at(func(_ *aerys.Request, res *aerys.Response) {
		entered <- struct{}{}
		<-release
		res.End("ok")
	}))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, begin(""))
	for stream := uint32(1); stream <= 5; stream += 2 {
		io.WriteString(conn, frame(headersFrame, endStream|endHeaders, stream, getRoot))
	}
	<-entered
	<-entered
	for {
		kind, _, stream, payload, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == settingsFrame && len(payload) > 0 && !bytes.Contains(payload, []byte{0, 3, 0, 0, 0, 2}) {
			t.Errorf("SETTINGS without MAX_CONCURRENT_STREAMS 2: %x", payload)
		}
		if kind == resetFrame {
			if stream != 5 || payload[3] != 7 { // REFUSED_STREAM: RFC 9113 §5.1.2
				t.Errorf("stream %d reset with %d", stream, payload[3])
			}
			break
		}
	}
	if len(entered) != 0 {
		t.Error("the third stream was served")
	}
	close(release)
}

// CVE-2023-39325
func TestRapidResetIsBounded(t *testing.T) {
	var running, most atomic.Int64
	release := make(chan struct{})
	s := run(t, aerys.Options{MaxConcurrentStreams: 10}, at(func(req *aerys.Request, res *aerys.Response) {
		if req.ProtoMajor == 2 {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-release
		}
		res.End("ok")
	}))
	conn := dial(t, s.addresses[0])
	go func() {
		var flood strings.Builder
		flood.WriteString(begin(""))
		for stream := uint32(1); stream < 20000; stream += 2 {
			flood.WriteString(frame(headersFrame, endStream|endHeaders, stream, getRoot))
			flood.WriteString(frame(resetFrame, 0, stream, "\x00\x00\x00\x08"))
		}
		io.WriteString(conn, flood.String())
	}()
	for { // until the server has had enough
		kind, _, _, payload, err := readFrame(conn)
		if kind == goAwayFrame && payload[7] == 11 || err != nil { // ENHANCE_YOUR_CALM
			break
		}
	}
	if status, _ := statusAndBody(t, s.get(t, "/")); status != 200 {
		t.Errorf("others get %d", status)
	}
	close(release)
	if n := most.Load(); n > 10 {
		t.Errorf("%d handlers ran at once, want 10 at most", n)
	}
}

// CVE-2023-45288
func TestContinuationFloodIsBounded(t *testing.T) {
	s := run(t, aerys.Options{}, local("ok"))
	conn := dial(t, s.addresses[0])
	go io.Copy(io.Discard, conn)
	io.WriteString(conn, begin("")+frame(headersFrame, endStream, 1, getRoot))
	field := "\x00\x01a\x7f\x81\x7e" + strings.Repeat("x", 382) // a literal field, never indexed
	flood := frame(continuationFrame, 0, 1, strings.Repeat(field, 20))
	sent := 0
	for ; sent < 64<<20; sent += len(flood) {
		if _, err := io.WriteString(conn, flood); err != nil {
			break
		}
	}
	if sent >= 64<<20 {
		t.Error("the server took 64 MB of header")
	}
	if status, _ := statusAndBody(t, s.get(t, "/")); status != 200 {
		t.Errorf("others get %d", status)
	}
}

// streamClient is a client of HTTP/2 that has asked for something, takes none of
// the body until it opens the window, and answers pings.
type streamClient struct {
	net.Conn
	received int
	pings    int
	begun    bool // the header has come
	reset    bool // by the server
	ended    bool
}

// open lets the server send that much more.
func (c *streamClient) open(size uint32) {
	for _, stream := range []uint32{0, 1} {
		io.WriteString(c, frame(windowFrame, 0, stream, string(binary.BigEndian.AppendUint32(nil, size))))
	}
}

// read reads frames until enough is true, or the stream is over.
func (c *streamClient) read(t *testing.T, enough func() bool) {
	t.Helper()
	if err := c.next(enough); err != nil {
		t.Errorf("after %d bytes and %d pings: %v", c.received, c.pings, err)
	}
}

func (c *streamClient) next(enough func() bool) error {
	for !enough() && !c.reset && !c.ended {
		kind, flags, stream, payload, err := readFrame(c)
		switch {
		case err != nil:
			return err
		case kind == pingFrame && flags&ack == 0:
			c.pings++
			io.WriteString(c, frame(pingFrame, ack, 0, string(payload)))
		case kind == settingsFrame && flags&ack == 0:
			io.WriteString(c, frame(settingsFrame, ack, 0, ""))
		case kind == headersFrame && stream == 1:
			c.begun = true
		case kind == dataFrame && stream == 1:
			c.received += len(payload)
		case kind == resetFrame && stream == 1:
			c.reset = true
		}
		c.ended = c.ended || stream == 1 && kind <= headersFrame && flags&endStream != 0
	}
	return nil
}

// askForStream returns such a client, which has got the header. It tries again
// where a busy machine was late with a handshake or a request.
func askForStream(t *testing.T, address net.Addr, encrypted bool) *streamClient {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		c := &streamClient{Conn: dial(t, address)}
		if encrypted {
			c.Conn = dialTLS(t, address, "h2")
		}
		io.WriteString(c, begin(closedWindow)+frame(headersFrame, endStream|endHeaders, 1, getRoot))
		if c.next(func() bool { return c.begun }) == nil && c.begun {
			return c
		}
		c.Close()
	}
	t.Fatal("no answer begins")
	return nil
}

// TestClosedWindow has clients of HTTP/2 whose window is closed, and who answer
// pings: their streams end, whatever is being sent, and nobody waits for ever.
func TestClosedWindow(t *testing.T) {
	const timeout = 20 * time.Millisecond
	file, _ := randomFile(t, 100_000)
	for name, answer := range map[string]func(*aerys.Request, *aerys.Response){
		"little, as the handler returns": func(_ *aerys.Request, res *aerys.Response) { res.WriteString("x") },
		"little, by End":                 func(_ *aerys.Request, res *aerys.Response) { res.End("x") },
		"much, as the handler returns":   func(_ *aerys.Request, res *aerys.Response) { res.WriteString(strings.Repeat("x", 8000)) },
		"much, by End":                   func(_ *aerys.Request, res *aerys.Response) { res.End(strings.Repeat("x", 100_000)) },
		"an error page":                  func(*aerys.Request, *aerys.Response) {},
		"a stream": func(_ *aerys.Request, res *aerys.Response) {
			for res.Err() == nil {
				res.WriteString("some ")
			}
		},
		"what is flushed": func(_ *aerys.Request, res *aerys.Response) {
			res.WriteString("x")
			res.Flush()
		},
		"a file": func(_ *aerys.Request, res *aerys.Response) {
			res.ReadFrom(io.NewSectionReader(file, 0, 100_000))
		},
		"what is compressed": func(req *aerys.Request, res *aerys.Response) {
			req.Header.Set("Accept-Encoding", "gzip")
			res.End(strings.Repeat("x", 1<<20))
		},
		"by net/http's handler": func(req *aerys.Request, res *aerys.Response) {
			http.ServeContent(res, req.Request, "a", time.Time{}, io.NewSectionReader(file, 0, 100_000))
		},
	} {
		for _, encrypted := range []bool{false, true} {
			protocol := map[bool]string{false: "in clear text", true: "over TLS"}[encrypted]
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				host := secured(t, at(answer), encrypted)
				s := run(t, aerys.Options{ConnectionTimeout: timeout}, host)
				c := askForStream(t, s.addresses[0], encrypted)
				c.read(t, func() bool { return false })
				if !c.reset || c.received > 0 {
					t.Errorf("reset: %t, ended: %t, %d bytes", c.reset, c.ended, c.received)
				}
				eventually(t, "the end of the request", func() bool { return s.state().Hosts[0].Active == 0 })
			})
		}
	}
}

// TestPatientStreams has clients and handlers who are slow, but not too slow, or
// have said so: their streams do not end before the time.
func TestPatientStreams(t *testing.T) {
	const timeout = 40 * time.Millisecond
	const long = 25 * timeout  // a stuck client is dropped sooner
	const pieceSize = 64 << 10 // has to be taken in time
	pause := func() { time.Sleep(long) }
	for name, test := range map[string]struct {
		answer func(*aerys.Request, *aerys.Response)
		take   func(*testing.T, *streamClient)
		want   int
	}{
		"events that are far between": {func(_ *aerys.Request, res *aerys.Response) {
			for range 3 {
				res.WriteString("event")
				res.Flush()
				pause()
			}
		}, func(t *testing.T, c *streamClient) { c.open(1000) }, 15},
		"a handler that thinks, after a stream has begun": {func(_ *aerys.Request, res *aerys.Response) {
			res.WriteString(strings.Repeat("x", 100_000))
			pause()
			res.WriteString("end")
		}, func(t *testing.T, c *streamClient) { c.open(200_000) }, 100_003},
		"a client that takes a piece now and then": {func(_ *aerys.Request, res *aerys.Response) {
			res.End(strings.Repeat("x", 20*pieceSize))
		}, func(t *testing.T, c *streamClient) {
			for received := 0; received < 20*pieceSize; {
				c.open(pieceSize)
				received += pieceSize
				c.read(t, func() bool { return c.received >= received })
				time.Sleep(waited * timeout / 4)
			}
		}, 20 * pieceSize},
		"a handler's own deadline": {func(_ *aerys.Request, res *aerys.Response) {
			http.NewResponseController(res).SetWriteDeadline(time.Now().Add(time.Hour))
			res.Write(make([]byte, 100_000))
		}, func(t *testing.T, c *streamClient) { pause(); c.open(200_000) }, 100_000},
		"a handler that wants none": {func(_ *aerys.Request, res *aerys.Response) {
			http.NewResponseController(res).SetWriteDeadline(time.Time{})
			res.WriteString("x")
		}, func(t *testing.T, c *streamClient) { pause(); c.open(200_000) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := run(t, aerys.Options{ConnectionTimeout: timeout, DisableCompression: true}, at(test.answer))
			c := askForStream(t, s.addresses[0], false)
			test.take(t, c)
			c.read(t, func() bool { return false })
			if !c.ended || c.received != test.want {
				t.Errorf("reset: %t, %d bytes of %d", c.reset, c.received, test.want)
			}
		})
	}
}

// TestProtocols has each asked for what is no more than MaxRequestsPerConnection:
// over HTTP/2 a GOAWAY tells that.
func TestProtocols(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			_, url, client := runOver(t, protocol, aerys.Options{MaxRequestsPerConnection: 2}, new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
				res.End(req.Proto + " " + req.RemoteAddr)
			}))
			clients := make(map[string]bool)
			for range 5 {
				response, err := client.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				body := bodyOf(response)
				clients[body] = true
				if !strings.HasPrefix(body, strings.TrimSuffix(protocol, " over TLS")) {
					t.Errorf("%s, want %s", body, protocol)
				}
			}
			if len(clients) < 2 {
				t.Errorf("all requests came from %v", clients)
			}
		})
	}
}

func TestMaxHeaderSizeOfHTTP2(t *testing.T) {
	s := run(t, aerys.Options{MaxHeaderSize: 8192}, local("x"))
	client := client(t, "HTTP/2")
	for _, test := range []struct{ size, want int }{{3500, 200}, {9000, 431}} { // the first waits for the server's SETTINGS
		size, want := test.size, test.want
		request, _ := http.NewRequest("GET", s.url(), nil)
		request.Header.Set("A", strings.Repeat("x", size))
		response, err := client.Do(request)
		if err != nil {
			if want == 431 && strings.Contains(err.Error(), "larger than peer's advertised limit") {
				continue // the client knows the limit from SETTINGS
			}
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", size, response.StatusCode, want)
		}
	}
}

// What streams for GET does so for HEAD, as far as a handler can tell.
func TestHeadOfAStream(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			told := make(chan string, 2)
			_, url, client := runOver(t, protocol, aerys.Options{}, new(aerys.Host).Use(func(_ *aerys.Request, res *aerys.Response) {
				res.SetHeader("X-A", "1").WriteString("begun")
				res.Flush()
				for range 100 {
					res.WriteString(strings.Repeat("x", 1000))
				}
				told <- fmt.Sprint(res.Flush(), res.Err(), res.Written())
			}))
			for _, ask := range []func(string) (*http.Response, error){client.Head, client.Get} {
				response, err := ask(url)
				if err != nil {
					t.Fatal(err)
				}
				bodyOf(response)
				is(t, response.Header.Get("X-A"), "1")
				is(t, <-told, "<nil> <nil> 100005")
			}
		})
	}
}
