// Package interop_test lets clients of other languages talk to our server, over
// each engine. Each client runs the cases of a script beside this file, and
// prints a line for each; the lines have to be those of expected.
//
// The clients are npm's ws and undici (AERYS_INTEROP_NODE_MODULES names the
// node_modules directory that they are in), Debian's python3-websockets and
// Chromium. Where one is not installed its test is skipped, unless
// AERYS_INTEROP is "required".
package interop_test

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

// patience bounds one client's script, half a minute of which is a slow download.
const patience = 2 * time.Minute

// client is a WebSocket implementation, and how to run its script.
type client struct {
	name   string
	run    func(t *testing.T, s *server) (lines string)
	html   bool   // it has the WebSocket of the HTML standard, which may close without a code
	frames bool   // it can send fragments and pings
	saves  string // where compression saves bytes: undici inflates only
}

var clients = []client{
	{"ws", node("ws"), true, true, "reading sending"},
	{"undici", node("undici"), true, false, "sending"},
	{"websockets", python, false, true, "reading sending"},
	{"Chromium", chromium, true, false, "reading sending"},
}

func TestClients(t *testing.T) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, engine := range []struct {
		name   string
		engine ws.Engine
	}{{"epoll", ws.EngineEpoll}, {"portable", ws.EnginePortable}} {
		for _, c := range clients {
			all.Add(1)
			go func() { // all at once: they mostly wait
				defer all.Done()
				t.Run(c.name+" over "+engine.name, func(t *testing.T) { c.test(t, engine.engine) })
			}()
		}
	}
}

func (c client) test(t *testing.T, engine ws.Engine) {
	s := serve(t, engine)
	got := strings.Split(strings.TrimSpace(c.run(t, s)), "\n")
	compare(t, "printed", got, c.expected())
	s.gateways["closed"].Stop(context.Background())
	// One client's end may be noticed after the next has come.
	compare(t, "OnClose got", slices.Sorted(slices.Values(s.closed.closes)), slices.Sorted(slices.Values(closes)))
}

// expected are the lines that the script of a client has to print.
func (c client) expected() (lines []string) {
	paths := []string{"plain", "compressed", "fragments"}
	for _, path := range paths {
		for _, message := range []string{"text", "binary", "empty text", "empty binary", "1 MiB of text", "1 MiB of noise", "many"} {
			lines = append(lines, path+" "+message+": ok")
		}
		switch path {
		case "plain":
			lines = append(lines, "plain terms: chat")
		case "compressed":
			lines = append(lines, "compressed terms: chat, permessage-deflate, saves "+c.saves)
		}
		lines = append(lines, path+" end: 1000  clean")
	}
	x := strings.Repeat("x", 123)
	lines = append(lines,
		"client closes with 1000: 1000  clean",
		"client closes with 3000: 3000  clean",
		"client closes with 4999: 4999  clean",
		"server closes with 1000 : 1000  clean",
		"server closes with 1011 failed: 1011 failed clean",
		"server closes with 3000 Käse: 3000 Käse clean",
		"server closes with 4999 "+x+": 4999 "+x+" clean",
		"pinged: answered",
		"slow download: "+strconv.Itoa(chunks*len(chunk)),
		"upload over the rate: 9437184",
		"close in the middle of a stream: 1000  clean, at once")
	if c.html {
		lines = append(lines, "client closes without a code: 1005  clean")
	}
	if c.frames {
		for _, path := range paths {
			lines = append(lines, path+" sent in fragments: ok", path+" pong: still there?")
		}
	}
	return lines
}

// closes are what OnClose has to be called with meanwhile.
var closes = []string{"1000 ", "3000 Käse", "4999 " + strings.Repeat("x", 123), "1000 ", "1011 failed", "3000 Käse", "4999 " + strings.Repeat("x", 123)}

// compare tells where lines differ.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s nothing more, not %q", what, want[i])
		case i >= len(want):
			t.Errorf("%s %q too", what, got[i])
		case got[i] != want[i]:
			t.Errorf("%s %q, not %q", what, got[i], want[i])
		}
	}
}

// server serves an endpoint at /plain, /compressed and so on, and what a browser needs.
type server struct {
	url      string
	slow     string // the same, read at 500 KB/s
	gateways map[string]*ws.Gateway
	closed   *application // at /closed
	reports  chan string  // what the page says
}

//go:embed standard.mjs
var standard []byte

const page = `<!doctype html><title>aerys</title><script type="module">
import { run } from '/standard.mjs'
const lines = []
try {
	await run(WebSocket, location.href.replace('http', 'ws'), SLOW, line => lines.push(line))
} catch (error) {
	lines.push(error)
}
await fetch('/report', {method: 'POST', body: lines.join('\n')})
</script>`

func serve(t *testing.T, engine ws.Engine) *server {
	s := &server{gateways: make(map[string]*ws.Gateway), closed: new(application), reports: make(chan string, 1)}
	mux := http.NewServeMux()
	mount := func(path string, a *application, onData func(ws.ClientID, *ws.Message), o ws.Options) {
		a.onData = onData
		o.Engine, o.Subprotocols, o.Origins = engine, []string{"chat"}, []string{"*"} // the relay has a port of its own
		if path != "upload" {
			o.MaxFramesPerSecond, o.MaxBytesPerMinute = -1, -1
		}
		s.gateways[path] = ws.Websocket(a, o)
		mux.Handle("/"+path, s.gateways[path])
	}
	plain, compressed, fragments, pinged := new(application), new(application), new(application), new(application)
	mount("plain", plain, plain.echo, ws.Options{})
	mount("compressed", compressed, compressed.echo, ws.Options{Compression: true, CompressionTakeover: true})
	mount("fragments", fragments, fragments.echoInFragments, ws.Options{Compression: true, AutoFrameSize: 1000})
	mount("closed", s.closed, s.closed.closeAsTold, ws.Options{})
	mount("pinged", pinged, pinged.echo, ws.Options{HeartbeatPeriod: time.Second})
	pinged.onOpen = pinged.awaitPong
	download, upload, stream := new(application), new(application), new(application)
	mount("download", download, download.sendChunks, ws.Options{})
	mount("upload", upload, upload.add, ws.Options{})
	mount("stream", stream, stream.sendTokens, ws.Options{})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Replace(page, "SLOW", strconv.Quote(s.slow), 1))
	})
	mux.HandleFunc("GET /standard.mjs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Write(standard)
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		lines, _ := io.ReadAll(r.Body)
		s.reports <- string(lines)
	})
	h := httptest.NewUnstartedServer(mux)
	t.Cleanup(func() {
		for _, gateway := range s.gateways {
			gateway.Stop(context.Background())
		}
		h.Close()
	})
	address := h.Listener.Addr().String()
	s.url = "ws://" + address + "/"
	s.slow = "ws://" + slowly(t, address) + "/"
	h.Start() // its page tells of both
	return s
}

// application is what the scripts talk to.
type application struct {
	endpoint *ws.Endpoint
	onData   func(ws.ClientID, *ws.Message)
	onOpen   func(ws.ClientID)
	mu       sync.Mutex
	closes   []string // what OnClose was called with
	added    int      // bytes of uploads
}

func (a *application) OnStart(endpoint *ws.Endpoint) error { a.endpoint = endpoint; return nil }

func (a *application) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (a *application) OnOpen(id ws.ClientID, _ struct{}) {
	if a.onOpen != nil {
		a.onOpen(id)
	}
}

func (a *application) OnData(id ws.ClientID, m *ws.Message) { a.onData(id, m) }

func (a *application) OnClose(_ ws.ClientID, code ws.Code, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closes = append(a.closes, fmt.Sprintf("%d %s", code, reason))
}

func (a *application) OnStop() {}

// echo sends a message back, and tells of the traffic when asked.
func (a *application) echo(id ws.ClientID, m *ws.Message) {
	data, err := m.Bytes()
	switch {
	case err != nil:
	case m.Binary():
		a.endpoint.SendBinary(data, id)
	case string(data) == "traffic":
		info, _ := a.endpoint.Info(id)
		a.endpoint.Send(fmt.Sprint(info.BytesRead, " ", info.BytesSent), id)
	default:
		a.endpoint.SendText(data, id)
	}
}

// echoInFragments sends a message back while it comes.
func (a *application) echoInFragments(id ws.ClientID, m *ws.Message) {
	w, err := a.endpoint.Writer(id, m.Binary())
	if err == nil {
		io.Copy(w, m)
		w.Close()
	}
}

// closeAsTold takes a message for the code and reason to close with.
func (a *application) closeAsTold(id ws.ClientID, m *ws.Message) {
	text, _ := m.Text()
	code, reason, _ := strings.Cut(text, " ")
	number, _ := strconv.Atoi(code)
	a.endpoint.Close(id, ws.Code(number), reason)
}

// awaitPong tells a client when it has answered a ping.
func (a *application) awaitPong(id ws.ClientID) {
	go func() {
		for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
			if info, ok := a.endpoint.Info(id); !ok || info.RoundTrip > 0 {
				a.endpoint.Send("answered", id)
				tick.Stop()
				return
			}
		}
	}()
}

// What the download consists of: a file in chunks.
const chunks = 229

var chunk = make([]byte, 64<<10)

// sendChunks sends a file, which takes a slow client half a minute.
func (a *application) sendChunks(id ws.ClientID, _ *ws.Message) {
	for range chunks {
		if a.endpoint.SendBinary(chunk, id) != nil {
			return
		}
	}
	a.endpoint.Send("done", id)
}

// add tells a client how much it has sent.
func (a *application) add(id ws.ClientID, m *ws.Message) {
	p, err := m.Bytes()
	if err != nil {
		return
	}
	a.mu.Lock()
	a.added += len(p)
	sum := a.added
	a.mu.Unlock()
	a.endpoint.Send(strconv.Itoa(sum), id)
}

// sendTokens answers for half a minute, unless its client leaves.
func (a *application) sendTokens(id ws.ClientID, m *ws.Message) {
	for range 600 {
		if a.endpoint.Send("token", id) != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// slowly returns the address of a relay that reads 500 KB/s of a server.
func slowly(t *testing.T, server string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go relay(client, server)
		}
	}()
	return l.Addr().String()
}

func relay(client net.Conn, server string) {
	defer client.Close()
	nc, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer nc.Close()
	nc.(*net.TCPConn).SetReadBuffer(64 << 10)
	go func() {
		io.Copy(nc, client)
		nc.(*net.TCPConn).CloseWrite()
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.CopyN(client, nc, 10_000); err != nil {
			return
		}
	}
}

// missing skips a test, or fails it where all clients have to be there.
func missing(t *testing.T, what, how string) {
	t.Helper()
	if os.Getenv("AERYS_INTEROP") == "required" {
		t.Fatalf("%s is not installed: %s", what, how)
	}
	t.Skipf("SKIPPED: %s is not installed, so it was not tried: %s", what, how)
}

// output runs a client's script.
func output(t *testing.T, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var complaints strings.Builder
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stderr = &complaints
	lines, err := c.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("%s: %v\n%s", strings.Join(command, " "), err, complaints.String())
	}
	return string(lines)
}

// node runs the script of an npm package.
func node(name string) func(*testing.T, *server) string {
	return func(t *testing.T, s *server) string {
		modules := os.Getenv("AERYS_INTEROP_NODE_MODULES")
		if _, err := os.Stat(filepath.Join(modules, name, "package.json")); modules == "" || err != nil {
			missing(t, "npm's "+name, "npm install --prefix DIR ws undici, and set AERYS_INTEROP_NODE_MODULES=DIR/node_modules")
		}
		return output(t, "node", name+".mjs", s.url, s.slow)
	}
}

// pythons are tried in turn: Debian's own knows Debian's packages.
var pythons = []string{"/usr/bin/python3", "python3"}

func python(t *testing.T, s *server) string {
	i := slices.IndexFunc(pythons, func(path string) bool {
		return exec.Command(path, "-I", "-c", "import websockets").Run() == nil
	})
	if i < 0 {
		missing(t, "Python's websockets", "apt-get install python3-websockets")
	}
	return output(t, pythons[i], "-I", "websockets.py", s.url, s.slow)
}

// browsers are the names that Chromium goes by.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"}

// chromium opens the page, which runs the script and reports.
func chromium(t *testing.T, s *server) string {
	i := slices.IndexFunc(browsers, func(name string) bool { _, err := exec.LookPath(name); return err == nil })
	if i < 0 {
		missing(t, "Chromium", "apt-get install chromium")
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(browsers[i], "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+profile, strings.Replace(s.url, "ws", "http", 1))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		c.Process.Signal(syscall.SIGTERM) // so that it lets go of its directory
		c.Wait()
		os.RemoveAll(profile)
	}()
	select {
	case lines := <-s.reports:
		return lines
	case <-time.After(patience):
		t.Fatal("the page did not report")
		return ""
	}
}
