package spec

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

// TestAPITable keeps the README's table "From Aerys to Go" true: each row has a
// check in the map below, under what is in its left column, that uses all
// exported names in its right one.
func TestAPITable(t *testing.T) {
	checks, sources := maps.Clone(tableChecks), checkSources(t)
	for _, row := range tableRows(t, "## From Aerys to Go") {
		t.Run(row[0], func(t *testing.T) {
			check := checks[row[0]]
			if check == nil {
				t.Fatal("there is no check for this row")
			}
			delete(checks, row[0])
			for _, code := range regexp.MustCompile("`[^`]+`").FindAllString(row[1], -1) {
				for _, name := range regexp.MustCompile(`\b[A-Z]\w+`).FindAllString(code, -1) {
					if !strings.Contains(sources[row[0]], name) {
						t.Errorf("the check does not use %s", name)
					}
				}
			}
			check(t)
		})
	}
	for row := range checks {
		t.Errorf("the check %q has no row", row)
	}
}

// tableRows returns the two columns of the table under a heading of the README.
func tableRows(t *testing.T, heading string) (rows [][2]string) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.SplitSeq(section, "\n") {
		if columns := strings.Split(line, " | "); len(columns) == 2 && columns[0] != "| Aerys" {
			rows = append(rows, [2]string{strings.TrimPrefix(columns[0], "| "), strings.TrimSuffix(columns[1], " |")})
		}
	}
	if len(rows) == 0 {
		t.Fatalf("README.md has no table under %q", heading)
	}
	return rows
}

// checkSources returns the text of each check.
func checkSources(t *testing.T) map[string]string {
	sources := make(map[string]string)
	text, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			if key, ok := pair.Key.(*ast.BasicLit); ok {
				row, _ := strconv.Unquote(key.Value)
				sources[row] += string(text[pair.Value.Pos()-1 : pair.Value.End()-1])
			}
		}
		return true
	})
	return sources
}

var tableChecks = map[string]func(*testing.T){
	"`bin/aerys -c config.php`": func(t *testing.T) {
		address, ended := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: freePort(t)}, make(chan error)
		go func() { ended <- aerys.Run(new(aerys.Host).Expose("127.0.0.1", address.Port).Use(hello)) }()
		eventually(t, "it listens", func() bool {
			conn, err := net.Dial("tcp", address.String())
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		is(t, bodyOf(page(t, http.DefaultClient, "http://"+address.String(), "")), "Hello, world!")
		self, _ := os.FindProcess(os.Getpid())
		is(t, self.Signal(os.Interrupt), "<nil>")
		is(t, <-ended, "<nil>")
	},
	"`initServer($logger, $hosts, $options)`": func(t *testing.T) {
		host := at(hello)
		recorder := httptest.NewRecorder()
		var handler http.Handler = host
		handler.ServeHTTP(recorder, asked("GET", "/", ""))
		is(t, recorder.Body, "Hello, world!")

		ctx, cancel := context.WithCancel(context.Background())
		server := aerys.Server{Options: aerys.Options{SendServerToken: true}, Hosts: []*aerys.Host{host}}
		server.Ready = func(addresses []net.Addr) {
			response := page(t, http.DefaultClient, "http://"+addresses[0].String(), "")
			is(t, response.Header.Get("Server"), "aerys")
			cancel()
		}
		is(t, server.Serve(ctx), "<nil>")
	},
	"`new Host`": func(t *testing.T) {
		is(t, new(aerys.Host), "*")
	},
	"`->name($name)`": func(t *testing.T) {
		s := run(t, aerys.Options{},
			at(says("www")).Name("www.example.com"),
			at(says("any")).Name("*"))
		for name, want := range map[string]string{"www.example.com": "www", "WWW.EXAMPLE.COM:80": "www", "example.com": "any"} {
			is(t, bodyOf(page(t, http.DefaultClient, s.url(), name)), want)
		}
	},
	"`->expose($address, $port)`": func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "socket")
		s := run(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(hello))
		for _, address := range s.addresses {
			is(t, strings.HasSuffix(converse(t, address, request("a", "/")), "Hello, world!"), "true")
		}
	},
	"`->encrypt($certificate, $key, $ssl)`": func(t *testing.T) {
		certFile, keyFile := writeCertificate(t, t.TempDir(), "localhost")
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		is(t, err, "<nil>")
		config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}
		s := run(t, aerys.Options{},
			new(aerys.Host).Expose("127.0.0.1", 0).Encrypt(certFile, keyFile, &tls.Config{MaxVersion: tls.VersionTLS12}).Use(hello),
			new(aerys.Host).Expose("::1", 0).Encrypt("", "", config).Use(hello))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		for i, want := range []string{"HTTP/2.0 TLS 1.2", "HTTP/2.0 TLS 1.3"} {
			response := page(t, client, "https://"+s.addresses[i].String(), "")
			is(t, fmt.Sprint(response.Proto, " ", tls.VersionName(response.TLS.Version)), want)
		}
	},
	"`Bootable`, `ServerObserver`, `Monitor`": func(t *testing.T) {
		var part interface {
			aerys.Starter
			aerys.Stopper
			aerys.Monitor
			aerys.Handler
		} = &lifecycle{}
		host := at(part)
		server := aerys.Server{Hosts: []*aerys.Host{host}}
		ctx, cancel := context.WithCancel(context.Background())
		server.Ready = func([]net.Addr) {
			is(t, server.Monitor().(aerys.ServerState).Hosts[0].Handlers, "[started]")
			cancel()
		}
		is(t, server.Serve(ctx), "<nil>")
		is(t, part.Monitor(), "stopped")
	},
	"`root($dir, $options)`": func(t *testing.T) {
		dir := t.TempDir()
		is(t, os.WriteFile(filepath.Join(dir, "a.txt"), []byte("on disk"), 0o600), "<nil>")
		options := static.Options{DefaultMimeType: "text/plain"}
		is(t, answer(asked("GET", "/a.txt", ""), static.Root(dir, options)).Body, "on disk")
		files := fstest.MapFS{"a.txt": {Data: []byte("in memory")}}
		is(t, answer(asked("GET", "/a.txt", ""), static.FS(files, options)).Body, "in memory")
		is(t, answer(asked("GET", "/b.txt", ""), static.FS(files), says("no such file")).Body, "no such file")
	},
	"`getMethod()`, `getUri()`, `getHeader()`, …": func(t *testing.T) {
		got := answer(asked("PUT", "/a?b=c", "", "X", "y"), func(req *aerys.Request, res *aerys.Response) {
			var r *http.Request = req.Request
			fmt.Fprint(res, r.Method, req.Method, " ", req.URL, " ", req.Header.Get("X"), " ", req.RemoteAddr)
		})
		is(t, got.Body, "PUTPUT /a?b=c y 192.0.2.1:1234")
	},
	"`getParam()`, `getParamArray()`, `getAllParams()`": func(t *testing.T) {
		got := answer(asked("GET", "/?a=1&a=2&b=%26", ""), func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprint(res, req.Param("a"), req.Params("a"), req.AllParams(), req.Param("missing"))
		})
		is(t, got.Body, "1[1 2] map[a:[1 2] b:[&]]")
	},
	"`getBody($size)`": func(t *testing.T) {
		for size, want := range map[int64]string{3: "200 abc", 2: "413 too large"} {
			got := answer(asked("POST", "/", "abc"), func(req *aerys.Request, res *aerys.Response) {
				var body io.Reader = req.Body(size)
				if all, err := io.ReadAll(body); errors.Is(err, aerys.ErrBodyTooLarge) {
					res.End("too large")
				} else {
					res.End(string(all))
				}
			})
			is(t, fmt.Sprint(got.Code, " ", got.Body), want)
		}
	},
	"`parseBody($req, $size)`": func(t *testing.T) {
		form := func() *http.Request {
			return asked("POST", "/", "a=1&a=2&b=3", "Content-Type", "application/x-www-form-urlencoded")
		}
		got := answer(form(), func(req *aerys.Request, res *aerys.Response) {
			body, err := req.ParseBody(20)
			fmt.Fprint(res, body.Get("a"), body.All("a"), body.Names(), err)
		})
		is(t, got.Body, "1[1 2] [a b] <nil>")
		got = answer(form(), func(req *aerys.Request, res *aerys.Response) {
			for field, err := range req.Fields(20) {
				value, _ := io.ReadAll(field)
				fmt.Fprintf(res, "%s=%s %v;", field.Name, value, err)
			}
		})
		is(t, got.Body, "a=1 <nil>;a=2 <nil>;b=3 <nil>;")
	},
	"`getCookie()`, `getConnectionInfo()`": func(t *testing.T) {
		got := answer(asked("GET", "/", "", "Cookie", "a=b"), func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprint(res, req.CookieValue("a"), " ", req.Info().Client, " ", req.Info().Encrypted)
		})
		is(t, got.Body, "b 192.0.2.1:1234 false")
	},
	"`getLocalVar()`, `setLocalVar()`": func(t *testing.T) {
		type user struct{}
		got := answer(asked("GET", "/", ""),
			func(req *aerys.Request, res *aerys.Response) { req.SetLocal(user{}, "Ann") },
			func(req *aerys.Request, res *aerys.Response) { fmt.Fprint(res, req.Local(user{})) })
		is(t, got.Body, "Ann")
	},
	"`setStatus()`, `setHeader()`, `addHeader()`, `setCookie()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			res.SetStatus(201).SetHeader("X", "0").SetHeader("X", "1").AddHeader("X", "2").SetCookie(&http.Cookie{Name: "a", Value: "b"}).End()
		})
		is(t, fmt.Sprint(got.Code, got.Header()["X"], got.Header().Get("Set-Cookie")), "201 [1 2]a=b")
	},
	"`write()`, `flush()`, `end()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			res.Write([]byte("a"))
			is(t, res.Flush(), "<nil>")
			res.WriteString("b")
			res.End("c")
		})
		is(t, fmt.Sprint(got.Body, got.Flushed), "abc true")
	},
	"`push()`, `state()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			is(t, res.Push("/style.css", nil).State() == aerys.None, "true")
			res.End()
			is(t, res.State() == aerys.Ended, "true")
		})
		is(t, got.Header().Get("Link"), "</style.css>; rel=preload")
	},
	"`Middleware::do()`, filters": func(t *testing.T) {
		var loud aerys.Middleware = func(next aerys.Handler) aerys.Handler {
			return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
				res.Filter(shout)
				next.Serve(req, res)
			})
		}
		is(t, answer(asked("GET", "/", ""), loud, says("hello")).Body, "HELLO")
	},
	"`redirect($uri, $code)`": func(t *testing.T) {
		got := answer(asked("GET", "/old", ""), http.RedirectHandler("/new", 308))
		is(t, fmt.Sprint(got.Code, got.Header().Get("Location")), "308/new")
	},
	"`router()`": func(t *testing.T) {
		is(t, answer(asked("GET", "/", ""), aerys.Router().Get("/", says("home"))).Body, "home")
		is(t, answer(asked("GET", "/else", ""), aerys.Router().Get("/", says("home")), says("next")).Body, "next")
	},
	"`->route($method, $uri, ...$actions)`, `->get()`, …": func(t *testing.T) {
		router := aerys.Router().Route("ZANZIBAR", "/", says("Zanzibar")).Get("/", says("Get")).Head("/", says("")).
			Post("/", says("Post")).Put("/", says("Put")).Patch("/", says("Patch")).Delete("/", says("Delete")).Options("/", says("Options"))
		for _, name := range []string{"Get", "Post", "Put", "Patch", "Delete", "Options", "Zanzibar"} {
			is(t, answer(asked(strings.ToUpper(name), "/", ""), router).Body, name)
		}
		is(t, answer(asked("HEAD", "/", ""), router).Code, "200")
	},
	"`/{id}`, `/{id:\\d+}`, `/a[/{b}]`, `/a/?`": func(t *testing.T) {
		router := aerys.Router()
		for _, pattern := range []string{"/{id}", `/{id:\d+}`, "/a[/{b}]", "/c/?"} {
			router.Get(pattern, says(pattern))
		}
		for path, want := range map[string]string{"/x": "/{id}", "/42": `/{id:\d+}`, "/a": "/a[/{b}]", "/a/x": "/a[/{b}]", "/c": "/c/?"} {
			is(t, answer(asked("GET", path, ""), router).Body, want)
		}
		is(t, answer(asked("GET", "/c/?q", ""), router).Header().Get("Location"), "/c?q")
	},
	"`$routeArgs[\"id\"]`": func(t *testing.T) {
		router := aerys.Router().Get("/users/{id}", func(req *aerys.Request, res *aerys.Response) { res.End(req.PathValue("id")) })
		is(t, answer(asked("GET", "/users/a%2Fb%20c", ""), router).Body, "a/b c")
	},
	"`->prefix($prefix)`, `->monitor()`": func(t *testing.T) {
		router := aerys.Router().Get("/b", says("b")).Prefix("/a")
		is(t, answer(asked("GET", "/a/b", ""), router).Body, "b")
		is(t, router.Monitor(), "map[]")
	},
	"`->use($action)`": func(t *testing.T) {
		idle := func(*aerys.Request, *aerys.Response) {}
		host := new(aerys.Host).Use(idle).Use(says("first"), says("second"))
		recorder := httptest.NewRecorder()
		host.ServeHTTP(recorder, asked("GET", "/", ""))
		is(t, recorder.Body, "first")
	},
	"callable, `Middleware`": func(t *testing.T) {
		wrapping := func(name string) aerys.Middleware {
			return func(next aerys.Handler) aerys.Handler {
				return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
					res.AddHeader("By", name)
					next.Serve(req, res)
				})
			}
		}
		standard := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("By", "net/http's")
				next.ServeHTTP(w, r)
			})
		}
		for _, action := range []aerys.Action{
			says("answer"),
			aerys.Handler(aerys.HandlerFunc(says("answer"))),
			func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") },
			http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") })),
			func(*aerys.Request, *aerys.Response) {},
		} {
			got := answer(asked("GET", "/", ""), wrapping("ours"), standard, action, says("answer"))
			is(t, fmt.Sprint(got.Header()["By"], got.Body), "[ours net/http's] answer")
		}
	},
	"`websocket($app, $options)`": func(t *testing.T) {
		a := new(app)
		gateway := ws.Websocket(a, ws.Options{Subprotocols: []string{"chat"}})
		server := httptest.NewServer(new(aerys.Host).Use(aerys.Router().Get("/ws", gateway)))
		defer server.Close()
		conn, response, err := ws.Dial(timeout(t), server.URL+"/ws", ws.DialOptions{Subprotocols: []string{"chat"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ws.CodeNormal, "")
		is(t, response.Header.Get("Sec-Websocket-Protocol"), "chat")
	},
	"`onStart`, `onHandshake`, `onOpen`, `onData`, `onClose`, `onStop`": func(t *testing.T) {
		a := &app{events: make(chan string, 10)}
		var handler ws.Handler[string] = a // OnStart, OnHandshake, OnOpen, OnData, OnClose and OnStop
		gateway := ws.Websocket(handler)
		is(t, gateway.Start(context.Background()), "<nil>")
		server := httptest.NewServer(new(aerys.Host).Use(gateway))
		defer server.Close()
		conn := dialed(t, server.URL+"/?name=Ann")
		conn.Write(timeout(t), "hello")
		is(t, conn.Close(ws.CodeNormal, "bye"), "<nil>")
		for _, want := range []string{"start", "handshake", "open Ann", "data", "close 1000 bye"} {
			is(t, <-a.events, want)
		}
		is(t, gateway.Stop(context.Background()), "<nil>")
		is(t, <-a.events, "stop")
	},
	"`yield $msg`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, msg *ws.Message) {
			switch begin := make([]byte, 4); {
			case msg.Binary():
				data, err := msg.Bytes()
				a.endpoint.Send(fmt.Sprint("Bytes ", data, err), id)
			default:
				n, err := io.ReadFull(msg, begin) // which calls msg.Read
				rest, _ := msg.Text()
				a.endpoint.Send(fmt.Sprint(string(begin[:n]), "|", rest, err), id)
			}
		})
		conn.Write(timeout(t), "some text")
		is(t, next(t, conn), "some| text<nil>")
		conn.WriteBinary(timeout(t), []byte{1, 2})
		is(t, next(t, conn), "Bytes [1 2] <nil>")
	},
	"`send()`, `sendBinary()`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			a.endpoint.Send("text", id)
			a.endpoint.SendBinary([]byte("binary"), id)
			w, err := a.endpoint.Writer(id, false)
			fmt.Fprint(w, "in ", "parts ", err)
			w.Close()
		})
		conn.Write(timeout(t), "go")
		for _, want := range []string{"text", "binary", "in parts <nil>"} {
			is(t, next(t, conn), want)
		}
	},
	"`broadcast()`, `multicast()`, …": func(t *testing.T) {
		ann, url := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			a.endpoint.Subscribe(id, "news")
			a.endpoint.Broadcast("to all")
			a.endpoint.Broadcast("to the others", id)
			a.endpoint.Multicast("to one", id)
			a.endpoint.Publish("news", "to subscribers")
			a.endpoint.SetValue(id, "Ann")
			is(t, a.endpoint.Value(id), "Ann")
			is(t, slices.Collect(a.endpoint.Members("news")), fmt.Sprint([]ws.ClientID{id}))
			is(t, a.endpoint.Count("news"), "1")
			a.endpoint.TrySend("at once", id)
		})
		bob := dialed(t, url)
		ann.Write(timeout(t), "go")
		for _, want := range []string{"to all", "to one", "to subscribers", "at once"} {
			is(t, next(t, ann), want)
		}
		for _, want := range []string{"to all", "to the others"} {
			is(t, next(t, bob), want)
		}
	},
	"`close()`, `getInfo()`, `getClients()`": func(t *testing.T) {
		conn, _ := a(t, func(a *app, id ws.ClientID, _ *ws.Message) {
			info, known := a.endpoint.Info(id)
			is(t, fmt.Sprint(known, info.Connected.IsZero()), "true false")
			is(t, slices.Collect(a.endpoint.Clients()), fmt.Sprint([]ws.ClientID{id}))
			is(t, a.endpoint.Len(), "1")
			a.endpoint.Close(id, ws.CodeNormal, "enough")
		})
		conn.Write(timeout(t), "go")
		_, _, err := conn.Read(timeout(t))
		is(t, strings.Contains(fmt.Sprint(err), "enough"), "true")
	},
}

// app is a WebSocket application.
type app struct {
	endpoint *ws.Endpoint
	events   chan string // nil when nobody listens
	data     func(*app, ws.ClientID, *ws.Message)
}

// a serves an application until the test ends, with one client.
func a(t *testing.T, data func(*app, ws.ClientID, *ws.Message)) (client *ws.Conn, url string) {
	gateway := ws.Websocket(&app{data: data})
	server := httptest.NewServer(new(aerys.Host).Use(gateway))
	t.Cleanup(func() {
		gateway.Stop(context.Background())
		server.Close()
	})
	return dialed(t, server.URL), server.URL
}

func dialed(t *testing.T, url string) *ws.Conn {
	t.Helper()
	conn, _, err := ws.Dial(timeout(t), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ws.CodeNormal, "") })
	return conn
}

// next returns the next message of a client.
func next(t *testing.T, conn *ws.Conn) string {
	t.Helper()
	text, _, err := conn.Read(timeout(t))
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// answer is what a Host with these actions answers to a request.
func answer(r *http.Request, actions ...aerys.Action) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	new(aerys.Host).Use(actions...).ServeHTTP(recorder, r)
	return recorder
}

// asked is a request with header fields.
func asked(method, target, body string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func (l *lifecycle) Serve(*aerys.Request, *aerys.Response) {}

func (l *lifecycle) Start(context.Context) error { l.state = "started"; return nil }

func (l *lifecycle) Stop(context.Context) error { l.state = "stopped"; return nil }

func (l *lifecycle) Monitor() any { return l.state }

func (a *app) OnStart(endpoint *ws.Endpoint) error { a.endpoint = endpoint; return a.happened("start") }

func (a *app) OnHandshake(req *aerys.Request, _ *aerys.Response) string {
	a.happened("handshake")
	return req.Param("name")
}

func (a *app) OnOpen(_ ws.ClientID, name string) { a.happened("open " + name) }

func (a *app) OnData(id ws.ClientID, msg *ws.Message) {
	a.happened("data")
	if a.data != nil {
		a.data(a, id, msg)
	}
}

func (a *app) OnClose(_ ws.ClientID, code ws.Code, reason string) {
	a.happened(fmt.Sprintf("close %d %s", code, reason))
}

func (a *app) OnStop() { a.happened("stop") }

func (a *app) happened(event string) error {
	if a.events != nil {
		a.events <- event
	}
	return nil
}

// page gets one from a server, by the name that is to be in the Host header.
func page(t *testing.T, client *http.Client, url, name string) *http.Response {
	t.Helper()
	request, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = name
	request.Close = true
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

// lifecycle is an action that is started, stopped and monitored.
type lifecycle struct{ state string }
