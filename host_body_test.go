package aerys

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// standardFunc is a handler of net/http as an action.
type standardFunc = func(http.ResponseWriter, *http.Request)

// refusals are what handlers do with a request whose body they do not, or not
// entirely, read.
func refusals(t *testing.T) map[string]Action {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", 403) }))
	t.Cleanup(backend.Close)
	address, _ := url.Parse(backend.URL)
	relay := httputil.NewSingleHostReverseProxy(address)
	relay.ErrorLog = log.New(io.Discard, "", 0)
	duplex := func(w http.ResponseWriter) { http.NewResponseController(w).EnableFullDuplex() }
	return map[string]Action{
		"answers":           func(_ *Request, res *Response) { res.End("x") },
		"answers an error":  func(_ *Request, res *Response) { res.SetStatus(401).End("x") },
		"answers much":      func(_ *Request, res *Response) { res.End(strings.Repeat("x", 50_000)) },
		"streams":           func(_ *Request, res *Response) { res.Flush(); res.End("x") },
		"falls through":     func(_ *Request, res *Response) {},
		"sends 103 before":  func(_ *Request, res *Response) { res.WriteHeader(103); res.End("x") },
		"panics":            func(*Request, *Response) { panic("x") },
		"panics at the end": func(_ *Request, res *Response) { res.End("x"); panic("x") },
		"aborts":            func(*Request, *Response) { panic(http.ErrAbortHandler) },
		"closes the body": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			defer r.Body.Close()
			http.Error(w, "want JSON", 415)
		}),
		"closes the body first": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Body.Close()
			io.WriteString(w, "x")
		}),
		"closes the body when it has answered": func(req *Request, res *Response) { res.Flush(); req.Request.Body.Close() },
		"reads some": func(req *Request, res *Response) {
			io.ReadFull(req.Body(-1), make([]byte, 1024))
			res.End("x")
		},
		"reads some and closes": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1024))
			r.Body.Close()
			http.Error(w, "x", 400)
		}),
		"reads all":               func(req *Request, res *Response) { io.Copy(io.Discard, req.Body(-1)) },
		"reads too much":          func(req *Request, res *Response) { io.Copy(io.Discard, req.Body(1024)) },
		"reads until a deadline":  readsUntilDeadline,
		"parses what is no form":  func(req *Request, res *Response) { req.ParseBody() },
		"reads when it answered":  func(req *Request, res *Response) { res.Flush(); io.CopyN(io.Discard, req.Body(-1), 1024) },
		"reads when it returned":  func(req *Request, res *Response) { go io.Copy(io.Discard, req.Body(-1)) },
		"replaces the body":       standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Body = http.NoBody }),
		"says that there is none": standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Body, r.ContentLength = nil, 0 }),
		"changes the method":      standardFunc(func(w http.ResponseWriter, r *http.Request) { r.Method = "HEAD"; io.WriteString(w, "x") }),
		"changes the version":     standardFunc(func(w http.ResponseWriter, r *http.Request) { r.ProtoMajor, r.ProtoMinor = 2, 0 }),
		"full duplex":             standardFunc(func(w http.ResponseWriter, r *http.Request) { duplex(w); http.Error(w, "x", 400) }),
		"full duplex, closes": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			duplex(w)
			r.Body.Close()
			io.WriteString(w, "x")
		}),
		"full duplex, streams": standardFunc(func(w http.ResponseWriter, r *http.Request) {
			duplex(w)
			w.(http.Flusher).Flush()
			io.CopyN(io.Discard, r.Body, 1024)
		}),
		"wants to be kept": func(_ *Request, res *Response) { res.SetHeader("Connection", "keep-alive").End("x") },
		"MaxBytesHandler": http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				r.Body.Close()
				http.Error(w, err.Error(), 413)
			}
		}), 100),
		"TimeoutHandler": http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 1024))
			<-r.Context().Done()
			io.Copy(io.Discard, r.Body)
		}), 10*time.Millisecond, "x"),
		"ReverseProxy": relay,
	}
}

func readsUntilDeadline(req *Request, res *Response) {
	http.NewResponseController(res).SetReadDeadline(time.Unix(1, 0))
	io.Copy(io.Discard, req.Body(-1))
	res.SetStatus(408).End("x")
}

// TestBodiesAreNotRequests: whatever a handler does with a request, nothing of
// its body is read as another one, and an answer that is the connection's last
// says so. It is tried with every framing of the body, on both kinds of server.
func TestBodiesAreNotRequests(t *testing.T) {
	t.Parallel()
	actions := refusals(t)
	var smuggled sync.Map // names of actions
	host := func() *Host {
		return new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
			name := req.Param("after")
			switch req.URL.Path {
			case "/smuggled":
				smuggled.Store(name, true)
			case "/behind":
				res.End("behind")
			}
		}, byName(actions))
	}
	servers := bodyServers(t, host)
	var all sync.WaitGroup
	slots := make(chan struct{}, 100)
	for name := range actions {
		evil := "GET /smuggled?after=" + url.QueryEscape(name) + " HTTP/1.1\r\nHost: a\r\nA: "
		evil += strings.Repeat("x", 1024-len(evil)-4) + "\r\n\r\n" // read from any kilobyte on, it is one
		for server, dial := range servers {
			for _, size := range []int{1, 300} {
				for framing, request := range framings("/?name="+url.QueryEscape(name), strings.Repeat(evil, size)) {
					slots <- struct{}{}
					all.Add(1)
					go func() {
						defer func() { <-slots; all.Done() }()
						if wrong := checkLast(exchangeWith(dial(), request), name); wrong != "" {
							t.Errorf("%s: %s, %s of %d KiB: %s", name, server, framing, size, wrong)
						}
					}()
				}
			}
		}
	}
	all.Wait()
	smuggled.Range(func(name, _ any) bool {
		t.Errorf("%s: a request was read from the body", name)
		return true
	})
}

// byName runs the action that the query names.
func byName(actions map[string]Action) Action {
	compiled := make(map[string]Handler)
	for name, action := range actions {
		compiled[name] = compile([]Action{action})
	}
	return func(req *Request, res *Response) {
		if handler := compiled[req.Param("name")]; handler != nil {
			handler.Serve(req, res)
		}
	}
}

// framings are the ways to send a body, each followed by another request.
func framings(target, body string) map[string]string {
	var chunks bytes.Buffer
	writer := httputil.NewChunkedWriter(&chunks)
	for rest := body; rest != ""; rest = rest[1024:] {
		io.WriteString(writer, rest[:1024])
	}
	writer.Close()
	behind := "GET /behind HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	post := "POST " + target + " HTTP/1.1\r\nHost: a\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	return map[string]string{
		"Content-Length":  post + length + "\r\n" + body + behind,
		"chunked":         post + "Transfer-Encoding: chunked\r\n\r\n" + chunks.String() + "\r\n" + behind,
		"Expect":          post + length + "Expect: 100-continue\r\n\r\n" + body + behind,
		"Expect, chunked": post + "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + chunks.String() + "\r\n" + behind,
		"HTTP/1.0":        "POST " + target + " HTTP/1.0\r\nConnection: keep-alive\r\n" + length + "\r\n" + body + behind,
	}
}

// bodyServers runs a host on a Server and on net/http's, in clear and over TLS,
// and returns how to connect to each.
func bodyServers(t *testing.T, host func() *Host) map[string]func() net.Conn {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a")
	mounted := func() *Host {
		h := host()
		h.once.Do(func() { h.alone = newSite(h, Options{Logger: slog.New(slog.DiscardHandler)}.withDefaults()) })
		return h
	}
	s := runServer(t, Options{}, host(), new(Host).Expose("127.0.0.1", freePort(t)).Encrypt(certFile, keyFile).Use(mounted()))
	plain, encrypted := httptest.NewUnstartedServer(mounted()), httptest.NewUnstartedServer(mounted())
	for _, server := range []*httptest.Server{plain, encrypted} {
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
	}
	plain.Start()
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	encrypted.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}} // costs less than its own
	encrypted.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	to := func(address net.Addr, encrypted bool) func() net.Conn {
		return func() net.Conn {
			conn := dial(t, address)
			if encrypted {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
			}
			return conn
		}
	}
	return map[string]func() net.Conn{
		"Server":          to(s.addresses[0], false),
		"Server, TLS":     to(s.addresses[1], true),
		"net/http's":      to(plain.Listener.Addr(), false),
		"net/http's, TLS": to(encrypted.Listener.Addr(), true),
	}
}

// exchangeWith sends a text and returns what comes back until the end.
func exchangeWith(conn net.Conn, text string) string {
	defer conn.Close()
	go io.WriteString(conn, text)
	received, _ := io.ReadAll(conn) // or until a reset
	return string(received)
}

// checkLast reads the answers and says what is wrong with them.
func checkLast(text, name string) (wrong string) {
	reader := bufio.NewReader(strings.NewReader(text))
	for {
		first, err := http.ReadResponse(reader, nil)
		if err != nil {
			if name == "aborts" || name == "panics at the end" {
				return ""
			}
			return fmt.Sprintf("no answer: %v, %.200q", err, text)
		}
		if first.StatusCode < 200 {
			continue
		}
		io.Copy(io.Discard, first.Body)
		second, err := http.ReadResponse(reader, nil)
		switch {
		case err != nil && !first.Close && name != "full duplex, streams":
			return fmt.Sprintf("the last answer does not say so: %.200q", text)
		case err == nil && first.Close:
			return fmt.Sprintf("an answer behind the last one: %.200q", text)
		case err == nil && second.StatusCode != 200:
			return fmt.Sprintf("behind the body: %d, %.200q", second.StatusCode, text)
		}
		return ""
	}
}

// TestHandlersChangeTheMethod: an answer is framed for the request that came,
// whatever middleware makes of it for those that follow.
func TestHandlersChangeTheMethod(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		servers := bodyServers(t, func() *Host {
			return new(Host).Expose("127.0.0.1", 0).Use(func(w http.ResponseWriter, r *http.Request) {
				r.Method, r.Proto, r.ProtoMinor, r.Close = map[string]string{"GET": "HEAD", "HEAD": "GET"}[method], "HTTP/1.0", 0, true
				io.WriteString(w, strings.Repeat("x", 3000))
			})
		})
		for server, dial := range servers {
			conn := dial()
			reader := bufio.NewReader(conn)
			for range 2 {
				io.WriteString(conn, method+" / HTTP/1.1\r\nHost: a\r\n\r\n")
				answer, err := http.ReadResponse(reader, &http.Request{Method: method})
				if err != nil {
					t.Fatalf("%s, %s: %v", method, server, err)
				}
				body, _ := io.ReadAll(answer.Body)
				if answer.Close || answer.Proto != "HTTP/1.1" || (len(body) > 0) != (method == "GET") {
					t.Errorf("%s, %s: %+v, %d bytes", method, server, answer, len(body))
				}
			}
		}
	}
}
