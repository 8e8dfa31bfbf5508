package spec

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"aerys"
	"aerys/ws"
)

// lines returns what AccessLog has written, without time and duration, which each
// line has.
func lines(t *testing.T, log *buffer) (lines []string) {
	t.Helper()
	for text := range strings.Lines(log.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		if duration, ok := line["duration"].(float64); !ok || duration < 0 || line["level"] != "INFO" || line["msg"] != "request" {
			t.Errorf("a line without what each has: %s", text)
		}
		if client, err := netip.ParseAddrPort(fmt.Sprint(line["client"])); err != nil || !client.Addr().IsLoopback() {
			t.Errorf("client %v", line["client"])
		}
		shown := fmt.Sprint(line["method"], " ", line["path"], " ", line["status"], " ", line["bytes"])
		for _, rest := range []string{"id", "error", "aborted"} {
			if value, ok := line[rest]; ok {
				shown += fmt.Sprintf(" %s=%v", rest, value)
			}
		}
		lines = append(lines, shown)
	}
	return lines
}

func TestAccessLog(t *testing.T) {
	log := new(buffer)
	router := aerys.Router().
		Get("/hello", hello).
		Get("/std", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }).
		Get("/silent", func(http.ResponseWriter, *http.Request) {}).
		Get("/rewritten", func(req *aerys.Request, res *aerys.Response) { req.URL.Path = "/x"; res.End("a") }).
		Get("/401", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(401) }).
		Get("/panic", func(*aerys.Request, *aerys.Response) { panic("at the disco") }).
		Get("/abort", func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) }).
		Get("/cut", func(_ *aerys.Request, res *aerys.Response) {
			res.WriteString("begun")
			res.Flush()
			panic("at the disco")
		}).
		Get("/late", func(_ *aerys.Request, res *aerys.Response) {
			res.WriteString("begun")
			res.Flush()
			res.Fail(io.ErrUnexpectedEOF)
		}).
		Get("/ours", func(_ *aerys.Request, res *aerys.Response) { res.SetHeader("X-Request-Id", "our id").End() }).
		Post("/body", func(req *aerys.Request, res *aerys.Response) { io.Copy(res, req.Body()) }).
		Get("/ws", ws.Websocket(new(quiet))).
		Get("/hijack", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
		}).
		Mount("/mount", tells)
	s := run(t, aerys.Options{MaxBodySize: 4}, at(aerys.AccessLog(slog.New(slog.NewJSONHandler(log, nil))), router))
	const open = "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, test := range []struct{ request, want string }{
		{"GET /hello?secret=x HTTP/1.1", "GET /hello 200 13"},
		{"HEAD /hello HTTP/1.1", "HEAD /hello 200 13"},
		{"GET /std HTTP/1.1", "GET /std 200 5"},
		{"GET /silent HTTP/1.1", "GET /silent 200 0"},
		{"GET /rewritten HTTP/1.1", "GET /rewritten 200 1"},
		{"GET /mount/x HTTP/1.1", "GET /mount/x 200 7"},
		{"GET /a%0Ab HTTP/1.1", "GET /a\nb 404 *"},
		{"PUT /hello HTTP/1.1", "PUT /hello 405 *"},
		{"BREW /hello HTTP/1.1", "BREW /hello 501 *"},
		{"GET /401 HTTP/1.1", "GET /401 401 *"},
		{"GET /panic HTTP/1.1", "GET /panic 500 *"},
		{"POST /body HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345", "POST /body 413 *"},
		{"POST /body HTTP/1.1\r\nContent-Length: 4\r\n\r\n1234", "POST /body 200 4"},
		{"GET /abort HTTP/1.1", "GET /abort 0 0 aborted=true"},
		{"GET /cut HTTP/1.1", "GET /cut 200 5 aborted=true"},
		{"GET /late HTTP/1.1", "GET /late 200 5 aborted=true"},
		{"GET /hello HTTP/1.1\r\nX-Request-ID: 7f-1", "GET /hello 200 13 id=7f-1"},
		{"GET /ours HTTP/1.1\r\nX-Request-ID: 7f-1", "GET /ours 200 0 id=our id"},
		{"GET /hello HTTP/1.1\r\nX-Request-ID: " + strings.Repeat("x", 200), "GET /hello 200 13 id=" + strings.Repeat("x", 128)},
		{"GET /ws HTTP/1.1" + open, "GET /ws 101 0"},
		{"GET /ws HTTP/1.1", "GET /ws 426 *"},
		{"GET /hijack HTTP/1.1", "GET /hijack 101 0"},
	} {
		before := len(lines(t, log))
		line, rest, _ := strings.Cut(test.request, "\r\n")
		if !strings.Contains(rest, "Connection") {
			rest = "Connection: close\r\n" + rest
		}
		conn := dial(t, s.addresses[0])
		go io.WriteString(conn, line+"\r\nHost: a\r\n"+rest+"\r\n\r\n")
		http.ReadResponse(bufio.NewReader(conn), nil)
		var written []string
		eventually(t, test.request, func() bool { written = lines(t, log)[before:]; return len(written) > 0 })
		if want, any := strings.CutSuffix(test.want, "*"); len(written) > 1 || written[0] != want && !(any && strings.HasPrefix(written[0], want)) {
			t.Errorf("%s: %q, want %s", test.request, written, test.want)
		}
		conn.Close()
	}
}

// quiet is a WebSocket endpoint that says nothing.
type quiet struct{}

func (*quiet) OnStart(*ws.Endpoint) error                                  { return nil }
func (*quiet) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }
func (*quiet) OnOpen(ws.ClientID, struct{})                                {}
func (*quiet) OnData(ws.ClientID, *ws.Message)                             {}
func (*quiet) OnClose(ws.ClientID, ws.Code, string)                        {}
func (*quiet) OnStop()                                                     {}

// A stream whose client leaves has its line, with the reason; and who has switched
// level Info off has none.
func TestAccessLogOfStreams(t *testing.T) {
	log := new(buffer)
	left := make(chan struct{})
	stream := func(req *aerys.Request, res *aerys.Response) {
		for res.Err() == nil {
			fmt.Fprintln(res, "tick")
			res.Flush()
		}
		close(left)
	}
	silent := aerys.AccessLog(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	s := run(t, aerys.Options{}, at(aerys.AccessLog(slog.New(slog.NewJSONHandler(log, nil))), stream), at(silent, hello).Name("silent"))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, request("a", "/"))
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	<-left
	eventually(t, "a line", func() bool { return log.String() != "" })
	if written := lines(t, log); len(written) != 1 || !strings.HasPrefix(written[0], "GET / 200 ") || !strings.Contains(written[0], "error=") {
		t.Errorf("%q", written)
	}
	converse(t, s.addresses[0], request("silent", "/"))
	is(t, len(lines(t, log)), "1")
}

// Without a logger, it is the server's.
func TestAccessLogOfTheServer(t *testing.T) {
	s := run(t, aerys.Options{}, at(aerys.AccessLog(nil), aerys.Router().Use(aerys.AccessLog(nil)).Get("/passes", func(*aerys.Request, *aerys.Response) {}), hello))
	s.get(t, "/passes")
	is(t, strings.Count(s.log.String(), "msg=request method=GET path=/passes status=200 bytes=13 duration="), "1")
}

func TestRedirectToHTTPS(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a")
	encrypted := func(names ...string) (hosts []*aerys.Host) {
		for _, name := range names {
			hosts = append(hosts, new(aerys.Host).Name(name).Expose("::1", 0).Encrypt(certFile, keyFile).Use(hello))
		}
		return hosts
	}
	plain := func(name string) *aerys.Host { return at().Name(name).RedirectToHTTPS() }
	for _, test := range []struct {
		about         string
		plain         *aerys.Host
		encrypted     []*aerys.Host
		request, want string // PORT is that of the encrypted hosts
	}{
		{"same path and query", plain("*"), encrypted("a.example"), "GET /x/%2F//y%20?q=1&r=/ HTTP/1.1\r\nHost: a.example", "https://a.example:PORT/x/%2F//y%20?q=1&r=/"},
		{"the method stays", plain("*"), encrypted("a.example"), "POST / HTTP/1.1\r\nHost: A.Example.:81", "https://a.example:PORT/"},
		{"no path", plain("*"), encrypted("a.example"), "GET http://a.example HTTP/1.1\r\nHost: x", "https://a.example:PORT/"},
		{"two slashes", plain("*"), encrypted("a.example"), "GET //evil.example/ HTTP/1.1\r\nHost: a.example", "https://a.example:PORT//evil.example/"},
		{"to the host of that name", plain("*"), encrypted("a.example", "b.example"), "GET / HTTP/1.1\r\nHost: b.example", "https://b.example:PORT/"},
		{"to the first one", plain("*"), encrypted("*.c.example", "a.example", "b.example"), "GET / HTTP/1.1\r\nHost: evil.example", "https://a.example:PORT/"},
		{"from an address", plain("*"), encrypted("a.example"), "GET / HTTP/1.1\r\nHost: 127.0.0.1", "https://a.example:PORT/"},
		{"from nothing", plain("*"), encrypted("a.example"), "GET /x HTTP/1.0", "https://a.example:PORT/x"},
		{"to one below", plain("*"), encrypted("a.example", "*.example"), "GET / HTTP/1.1\r\nHost: x.y.example", "https://x.y.example:PORT/"},
		{"to any", plain("*"), encrypted("*"), "GET / HTTP/1.1\r\nHost: x.example", "https://x.example:PORT/"},
		{"to an address", plain("*"), encrypted("*"), "GET / HTTP/1.1\r\nHost: [::1]:80", "https://[::1]:PORT/"},
		{"to no name", plain("*"), encrypted("*"), "GET / HTTP/1.0", "400"},
		{"from what only says that it is", plain("*"), encrypted("*"), "GET HTTPS://a.example/x HTTP/1.1\r\nHost: a.example", "https://a.example:PORT/x"},
		{"to none that is one", plain("*"), encrypted("*"), "GET / HTTP/1.1\r\nHost: a;b", "400"},
		{"a name of its own", plain("a.example"), encrypted("*"), "GET / HTTP/1.1\r\nHost: a.example:1", "https://a.example:PORT/"},
		{"another port", at().RedirectToHTTPS(8443), encrypted("a.example"), "GET / HTTP/1.1\r\nHost: x", "https://a.example:8443/"},
		{"the standard port", at().RedirectToHTTPS(443), encrypted("a.example"), "GET / HTTP/1.1\r\nHost: x", "https://a.example/"},
		{"no encrypted host", plain("*.example"), nil, "GET /x HTTP/1.1\r\nHost: b.example:81", "https://b.example/x"},
		{"behind a proxy", at(aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.0/8"))).RedirectToHTTPS().Use(hello), nil,
			"GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https", "200"},
		{"behind one that sends whole URLs", at(aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.0/8"))).RedirectToHTTPS().Use(hello), nil,
			"GET https://x/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https", "200"},
		{"past a proxy", at(aerys.TrustedProxies()).RedirectToHTTPS().Use(hello), nil, "GET https://x/x HTTP/1.1\r\nHost: x", "https://x/x"},
		{"behind a proxy in clear text", at(aerys.TrustedProxies(netip.MustParsePrefix("127.0.0.0/8"))).RedirectToHTTPS().Use(hello), nil,
			"GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example", "https://a.example/x"},
		{"what stands before", at(aerys.Router().Mount("/.well-known/acme-challenge", hello)).RedirectToHTTPS(), nil,
			"GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: x", "200"},
	} {
		s := run(t, aerys.Options{}, append([]*aerys.Host{test.plain}, test.encrypted...)...)
		conn := dial(t, s.addresses[0])
		answer, _, err := ask(conn, bufio.NewReader(conn), test.request+"\r\n\r\n")
		if err != nil {
			t.Fatal(test.about, err)
		}
		got := fmt.Sprint(answer.StatusCode)
		if answer.StatusCode == 308 {
			got = answer.Header.Get("Location")
		}
		want := test.want
		if len(s.addresses) > 1 {
			want = strings.Replace(want, "PORT", fmt.Sprint(s.addresses[1].(*net.TCPAddr).Port), 1)
		}
		is(t, test.about+": "+got, test.about+": "+want)
	}
}

// A browser comes out at the encrypted host.
func TestRedirectToHTTPSIsFollowed(t *testing.T) {
	s := run(t, aerys.Options{}, at().RedirectToHTTPS(), secured(t, new(aerys.Host).Expose("*", 0).Use(func(req *aerys.Request, res *aerys.Response) {
		body, _ := io.ReadAll(req.Body())
		res.End(req.Method + " " + req.RequestURI + " " + string(body) + fmt.Sprint(req.TLS != nil))
	}), true))
	answer, err := client(t, "HTTP/1.1").Post(s.url()+"/x?y", "text/plain", bytes.NewReader([]byte("body ")))
	if err != nil {
		t.Fatal(err)
	}
	is(t, bodyOf(answer), "POST /x?y body true")
}
