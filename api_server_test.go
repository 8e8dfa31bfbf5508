package aerys_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
)

// serverChecks are about hosts and how they are served.
var serverChecks = map[string]func(*testing.T){
	"`bin/aerys -c config.php`": func(t *testing.T) {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := free.Addr().(*net.TCPAddr)
		free.Close()
		ended := make(chan error)
		go func() { ended <- aerys.Run(new(aerys.Host).Expose("127.0.0.1", address.Port).Use(hello)) }()
		for { // until it listens
			if conn, err := net.Dial("tcp", address.String()); err == nil {
				conn.Close()
				break
			}
			time.Sleep(time.Millisecond)
		}
		is(t, get("http://"+address.String()), "200 Hello, world!")
		self, _ := os.FindProcess(os.Getpid())
		is(t, self.Signal(os.Interrupt), "<nil>")
		is(t, <-ended, "<nil>")
	},
	"`initServer($logger, $hosts, $options)`": func(t *testing.T) {
		host := new(aerys.Host).Expose("127.0.0.1", 0).Use(hello)
		recorder := httptest.NewRecorder()
		var handler http.Handler = host
		handler.ServeHTTP(recorder, asked("GET", "/", ""))
		is(t, recorder.Body, "Hello, world!")

		ctx, cancel := context.WithCancel(context.Background())
		server := aerys.Server{Options: aerys.Options{SendServerToken: true}, Hosts: []*aerys.Host{host}}
		server.Ready = func(addresses []net.Addr) {
			response := fetch(t, http.DefaultClient, "http://"+addresses[0].String(), "")
			is(t, response.Header.Get("Server"), "aerys")
			cancel()
		}
		is(t, server.Serve(ctx), "<nil>")
	},
	"`new Host`": func(t *testing.T) {
		is(t, new(aerys.Host), "*")
	},
	"`->name($name)`": func(t *testing.T) {
		_, addresses := serve(t, aerys.Options{},
			new(aerys.Host).Name("www.example.com").Expose("127.0.0.1", 0).Use(says("www")),
			new(aerys.Host).Name("*").Expose("127.0.0.1", 0).Use(says("any")))
		for name, want := range map[string]string{"www.example.com": "www", "WWW.EXAMPLE.COM:80": "www", "example.com": "any"} {
			is(t, bodyOf(fetch(t, http.DefaultClient, "http://"+addresses[0].String(), name)), want)
		}
	},
	"`->expose($address, $port)`": func(t *testing.T) {
		socket := filepath.Join(t.TempDir(), "socket")
		_, addresses := serve(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(hello))
		for _, address := range addresses {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
				return net.Dial(address.Network(), address.String())
			}}}
			is(t, bodyOf(fetch(t, client, "http://host", "")), "Hello, world!")
		}
	},
	"`->encrypt($certificate, $key, $ssl)`": func(t *testing.T) {
		certFile, keyFile := aerys.WriteCertificate(t, t.TempDir(), "localhost")
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		is(t, err, "<nil>")
		config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}
		_, addresses := serve(t, aerys.Options{},
			new(aerys.Host).Expose("127.0.0.1", 0).Encrypt(certFile, keyFile, &tls.Config{MaxVersion: tls.VersionTLS12}).Use(hello),
			new(aerys.Host).Expose("::1", 0).Encrypt("", "", config).Use(hello))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		for i, want := range []string{"HTTP/2.0 TLS 1.2", "HTTP/2.0 TLS 1.3"} {
			response := fetch(t, client, "https://"+addresses[i].String(), "")
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
		host := new(aerys.Host).Expose("127.0.0.1", 0).Use(part)
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
}

// fetch gets a page from a server, by the name that is to be in the Host header.
func fetch(t *testing.T, client *http.Client, url, name string) *http.Response {
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

func bodyOf(response *http.Response) string {
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

// lifecycle is an action that is started, stopped and monitored.
type lifecycle struct{ state string }

func (l *lifecycle) Serve(*aerys.Request, *aerys.Response) {}

func (l *lifecycle) Start(context.Context) error { l.state = "started"; return nil }

func (l *lifecycle) Stop(context.Context) error { l.state = "stopped"; return nil }

func (l *lifecycle) Monitor() any { return l.state }
