package spec

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

var (
	proxied     = flag.Int("proxied.n", 3000, "how many requests are sent through each proxy")
	proxiedSeed = flag.Uint64("proxied.seed", 1, "what they are")
)

// proxies are servers that stand in front of ours. They keep connections to it
// for a minute, and do not try again what fails.
var proxies = []struct {
	name, install string
	arguments     []string // before the name of its file
	config        string
}{
	{"nginx", "apt-get install nginx-light", []string{"-e", "stderr", "-c"}, `
daemon off; worker_processes 2; user root; pid DIR/pid;
events { worker_connections 1000; }
http {
	access_log off;
	client_body_temp_path DIR/body; proxy_temp_path DIR/proxy;
	upstream aerys { server SERVER; keepalive 64; keepalive_timeout 60s; keepalive_requests 1000000; }
	map $http_upgrade $hop { "" ""; default upgrade; }
	proxy_http_version 1.1; proxy_next_upstream off;
	proxy_set_header Host $host; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $hop;
	server {
		listen unix:DIR/front;
		location / { proxy_pass http://aerys; }
		location /streamed/ { proxy_pass http://aerys; proxy_request_buffering off; proxy_buffering off; }
	}
}`},
	{"haproxy", "apt-get install haproxy", []string{"-db", "-f"}, `
global
	maxconn 1000
defaults
	mode http
	timeout connect 60s
	timeout client 60s
	timeout server 60s
	timeout tunnel 60s
	retries 0
	http-reuse always
listen front
	bind unix@DIR/front
	server aerys SERVER pool-purge-delay 60s
`},
}

// TestBehindProxies has many clients ask through nginx and HAProxy, some of whom
// leave in the middle. All others get what they have asked for, and nothing else.
func TestBehindProxies(t *testing.T) {
	for _, p := range proxies {
		t.Run(p.name, func(t *testing.T) {
			program := tool(t, p.name, p.install)
			s := timed(t, aerys.Options{MaxRequestsPerConnection: -1}, at(aerys.Router().Get("/echo", ws.Websocket(&app{data: sendBack})), http.HandlerFunc(named)))
			dir := t.TempDir()
			file := filepath.Join(dir, "config")
			config := strings.NewReplacer("DIR", dir, "SERVER", s.addresses[0].String()).Replace(p.config)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			front := filepath.Join(dir, "front")
			background(t, exec.Command(program, append(p.arguments, file)...), front)
			t.Run("requests", func(t *testing.T) { askMany(t, s, front) })
			t.Run("kept for a minute", func(t *testing.T) { askSeldom(t, s, front) })
			t.Run("WebSocket", func(t *testing.T) { echoThrough(t, front) })
		})
	}
}

// background runs a program that listens on a Unix socket until the test ends.
func background(t *testing.T, cmd *exec.Cmd, socket string) {
	output := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // an interrupt is ignored by what a shell has started behind it
		if <-ended; t.Failed() {
			t.Log(output)
		}
	})
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatal(output)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// content is what is sent by and to someone.
func content(name string, size int) string {
	return strings.Repeat(name+"\n", size/(len(name)+1)+1)[:size]
}

// named answers who has a name, if the body is his.
func named(w http.ResponseWriter, r *http.Request) {
	name, how := r.Header.Get("Name"), path.Base(r.URL.Path)
	size, _ := strconv.Atoi(r.Header.Get("Size"))
	text := content(name, size)
	w.Header().Set("Name", name)
	w.Header().Set("Content-Type", "application/octet-stream")
	if how == "refused" {
		w.WriteHeader(http.StatusForbidden)
	} else if body, err := io.ReadAll(r.Body); err != nil {
		panic(http.ErrAbortHandler) // the client has left
	} else if string(body) != content(name, len(body)) {
		w.WriteHeader(http.StatusConflict)
	}
	switch how {
	case "declared", "aborted":
		w.Header().Set("Content-Length", strconv.Itoa(size))
	case "late":
		time.Sleep(time.Millisecond)
	case "flushed":
		io.WriteString(w, text[:size/3])
		w.(http.Flusher).Flush()
		text = text[size/3:]
	}
	if how == "aborted" {
		io.WriteString(w, text[:size/2])
		panic(http.ErrAbortHandler)
	}
	io.WriteString(w, text)
}

// visit is a request, and what becomes of it.
type visit struct {
	name, path       string
	body, size       int // bytes that are sent, or -1, and asked for
	chunked          bool
	leaves, staysFor int // after how many bytes the client leaves while it sends, or reads; or -1
}

func newVisit(name string, r *rand.Rand) visit {
	v := visit{name: name, body: -1, size: 1 + r.IntN(1<<r.IntN(17)), leaves: -1, staysFor: -1, chunked: r.IntN(3) == 0}
	v.path = []string{"/", "/streamed/"}[r.IntN(2)] + []string{"plain", "declared", "late", "flushed", "refused", "aborted"}[min(r.IntN(25)/4, 5)]
	if r.IntN(2) == 0 {
		v.body = r.IntN(1 << r.IntN(17))
	}
	switch r.IntN(20) {
	case 0:
		v.leaves = r.IntN(1 + max(0, v.body))
	case 1:
		v.staysFor = r.IntN(v.size)
	}
	return v
}

// errLeft ends a body in the middle.
var errLeft = errors.New("the client leaves")

type failing struct{ err error }

// askMany has clients ask at the same time.
func askMany(t *testing.T, s *server, front string) {
	const clients = 32
	t.Logf("-proxied.seed %d -proxied.n %d", *proxiedSeed, *proxied)
	before := s.connections().Accepted
	var failed, number atomic.Int64
	var all sync.WaitGroup
	for id := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			client, r := through(front), rand.New(rand.NewPCG(*proxiedSeed, uint64(id)))
			defer client.CloseIdleConnections()
			for n := number.Add(1); n <= int64(*proxied); n = number.Add(1) {
				v := newVisit(fmt.Sprintf("client-%d-request-%d", id, n), r)
				if err := v.by(client); err != nil && failed.Add(1) < 20 {
					t.Errorf("%+v: %v", v, err)
				}
			}
		}()
	}
	all.Wait()
	accepted := int(s.connections().Accepted - before)
	t.Logf("%d requests on %d connections, %d failed", *proxied, accepted, failed.Load())
	if accepted > *proxied/2 {
		t.Error("connections are not kept")
	}
}

// askSeldom lets more time pass between two requests than proxies keep
// connections for. Who keeps one for longer sees its end before he uses it.
func askSeldom(t *testing.T, s *server, front string) {
	client := through(front)
	defer client.CloseIdleConnections()
	ask := func() {
		t.Helper()
		if err := (visit{name: "seldom", path: "/plain", body: -1, size: 100, leaves: -1, staysFor: -1}).by(client); err != nil {
			t.Error(err)
		}
	}
	ask()
	before := s.connections().Accepted
	s.pass(62)
	if ask(); s.connections().Accepted != before {
		t.Error("the connection was not kept")
	}
	s.pass(80)
	eventually(t, "the end of idle connections", func() bool { return s.open() == 0 })
	ask()
}

// echoThrough sends messages of many lengths and wants them back.
func echoThrough(t *testing.T, front string) {
	conn, _, err := ws.Dial(timeout(t), "ws://a/echo", ws.DialOptions{Client: &http.Client{Transport: through(front).Transport}})
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < 100_000; size = size*2 + 1 {
		text := content("message", size)
		if err := conn.Write(timeout(t), text); err != nil {
			t.Fatal(err)
		}
		if got := next(t, conn); got != text {
			t.Fatalf("%d bytes, not %d", len(got), size)
		}
	}
	is(t, conn.Close(ws.CodeNormal, "bye"), "<nil>")
}

func sendBack(a *app, id ws.ClientID, msg *ws.Message) {
	if text, err := msg.Text(); err == nil {
		a.endpoint.SendText([]byte(text), id)
	}
}

func (v visit) request() *http.Request {
	r, _ := http.NewRequest("GET", "http://a"+v.path, nil)
	if v.body >= 0 {
		text := io.Reader(strings.NewReader(content(v.name, v.body)))
		if r.Method = "POST"; v.leaves >= 0 {
			text = io.MultiReader(io.LimitReader(text, int64(v.leaves)), failing{errLeft})
		}
		r.Body, r.ContentLength = io.NopCloser(text), int64(v.body)
		if v.chunked || v.body == 0 {
			r.ContentLength = -1
		}
	}
	r.Header.Set("Name", v.name)
	r.Header.Set("Size", strconv.Itoa(v.size))
	return r
}

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// by asks, and says what was wrong.
func (v visit) by(client *http.Client) error {
	response, err := client.Do(v.request())
	switch aborted := path.Base(v.path) == "aborted"; {
	case err != nil && (v.leaves >= 0 || aborted):
		return nil
	case err != nil:
		return err
	case response.StatusCode == http.StatusBadGateway && aborted:
		response.Body.Close()
		return nil
	}
	defer response.Body.Close()
	want := http.StatusOK
	if path.Base(v.path) == "refused" {
		want = http.StatusForbidden
	}
	if response.StatusCode != want || response.Header.Get("Name") != v.name {
		body, _ := io.ReadAll(response.Body)
		return fmt.Errorf("%s, of %q: %.200q", response.Status, response.Header.Get("Name"), body)
	}
	return v.reads(response.Body)
}

// reads compares an answer with what is due.
func (v visit) reads(answer io.Reader) error {
	if v.staysFor >= 0 {
		answer = io.LimitReader(answer, int64(v.staysFor))
	}
	body, err := io.ReadAll(answer)
	whole := len(body) == v.size || v.staysFor >= 0 || path.Base(v.path) == "aborted"
	if len(body) > v.size || string(body) != content(v.name, len(body)) {
		return fmt.Errorf("%d bytes, not all of them its own", len(body))
	}
	if !whole {
		return fmt.Errorf("%d bytes of %d: %v", len(body), v.size, err)
	}
	return nil
}

func TestTrustedProxies(t *testing.T) {
	host := func(prefixes ...string) *aerys.Host {
		var trusted []netip.Prefix
		for _, prefix := range prefixes {
			trusted = append(trusted, netip.MustParsePrefix(prefix))
		}
		return at(aerys.TrustedProxies(trusted...), func(req *aerys.Request, res *aerys.Response) {
			address, _, _ := strings.Cut(req.RemoteAddr, ":")
			if strings.HasSuffix(req.RemoteAddr, ":0") {
				address = req.RemoteAddr
			}
			res.End(fmt.Sprint(address, " ", req.Host, " ", req.URL.Scheme, " ", len(req.Header)))
		})
	}
	trusting := run(t, aerys.Options{}, host("127.0.0.0/8", "10.0.0.0/8").Expose(filepath.Join(t.TempDir(), "s"), 0))
	wary := run(t, aerys.Options{}, host("10.0.0.0/8"))
	all := "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\n"
	for _, test := range []struct {
		name, header, want string
	}{
		{"all of them", all, "192.0.2.1:0 www.example.com https 3"},
		{"none", "", "127.0.0.1 a  0"},
		{"forged beginning", "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n", "192.0.2.1:0 a  1"},
		{"several lines", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1\r\n", "192.0.2.1:0 a  1"},
		{"a second proxy", "X-Forwarded-For: 192.0.2.1, 10.1.2.3\r\n", "192.0.2.1:0 a  1"},
		{"proxies only", "X-Forwarded-For: 10.0.0.1, 10.1.2.3\r\n", "10.0.0.1:0 a  1"},
		{"with ports", "X-Forwarded-For: 192.0.2.1:4711\r\n", "192.0.2.1:0 a  1"},
		{"IPv6", "X-Forwarded-For: [2001:db8::1]:4711\r\n", "[2001:db8::1]:0 a  1"},
		{"IPv6 without port", "X-Forwarded-For: 2001:db8::1\r\n", "[2001:db8::1]:0 a  1"},
		{"no address", "X-Forwarded-For: unknown\r\n", "127.0.0.1 a  1"},
		{"no address before a proxy", "X-Forwarded-For: <script>, 10.0.0.1\r\n", "10.0.0.1:0 a  1"},
		{"no scheme", "X-Forwarded-Proto: gopher\r\n", "127.0.0.1 a  1"},
		{"the nearest proxy's word", "X-Forwarded-Proto: https, HTTP\r\n", "127.0.0.1 a http 1"},
	} {
		request := "GET / HTTP/1.0\r\nHost: a\r\n" + test.header + "\r\n"
		if _, body := statusAndBody(t, converse(t, trusting.addresses[0], request)); body != test.want {
			t.Errorf("%s: %q, want %q", test.name, body, test.want)
		}
		if _, body := statusAndBody(t, converse(t, wary.addresses[0], request)); body != "127.0.0.1 a  0" {
			t.Errorf("%s, from a stranger: %q", test.name, body)
		}
	}
	if _, body := statusAndBody(t, converse(t, wary.addresses[0], "GET https://a/ HTTP/1.0\r\n\r\n")); body != "127.0.0.1 a  0" {
		t.Errorf("a scheme of the client's own: %q", body)
	}
	request := "GET / HTTP/1.0\r\nHost: a\r\n" + all + "\r\n"
	if _, body := statusAndBody(t, converse(t, trusting.addresses[1], request)); body != "192.0.2.1:0 www.example.com https 3" {
		t.Errorf("over a Unix socket: %q", body)
	}
}
