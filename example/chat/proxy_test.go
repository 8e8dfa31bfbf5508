package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"aerys/ws"
)

// TestBehindProxies has visitors come through others' servers. The chat has to
// know how they came: its cookie is only for TLS where they came over that, and
// its WebSocket only for pages of the same name.
func TestBehindProxies(t *testing.T) {
	for _, proxy := range []struct {
		name   string
		start  func(t *testing.T, behind *url.URL) (front string, client *http.Client)
		secure bool
	}{
		{"nginx", nginx, false},
		{"httputil.ReverseProxy over TLS", reverseProxy, true},
	} {
		t.Run(proxy.name, func(t *testing.T) {
			server := httptest.NewServer(newChat("a secret", "lobby").host())
			defer server.Close()
			behind, _ := url.Parse(server.URL)
			front, client := proxy.start(t, behind)
			visitors := func() visitor {
				own := *client
				own.Jar, _ = cookiejar.New(nil)
				return visitor{t, &own, front}
			}
			reply, err := visitors().PostForm(front+"/session", url.Values{"name": {"Ann"}})
			if err != nil || reply.Cookies()[0].Secure != proxy.secure {
				t.Fatal(reply, err)
			}
			ann, bob := visitors().named("Ann"), visitors().named("Bob")
			from(ann, front, 101)
			from(ann, "https://example.com", 403)
			first, second := ann.enters("lobby"), bob.enters("lobby")
			first.meets("Ann", "Bob")
			second.says("Through a proxy?")
			first.hears("Bob: Through a proxy?")
		})
	}
}

// from opens a WebSocket as a page of that origin does.
func from(v visitor, origin string, status int) {
	v.Helper()
	options := ws.DialOptions{Client: v.Client, Header: http.Header{"Origin": {origin}}}
	conn, reply, err := ws.Dial(v.Context(), v.server+"/rooms/lobby", options)
	if reply == nil || reply.StatusCode != status {
		v.Fatalf("from %s: %v, %v; want %d", origin, reply, err, status)
	}
	if err == nil {
		conn.Close(ws.CodeNormal, "")
	}
}

// reverseProxy is one in Go, which changes Host and says in X-Forwarded-Host what
// it was.
func reverseProxy(t *testing.T, behind *url.URL) (front string, client *http.Client) {
	server := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(behind)
		r.SetXForwarded()
	}})
	t.Cleanup(server.Close)
	return server.URL, server.Client()
}

// nginx has the configuration that the README shows.
func nginx(t *testing.T, behind *url.URL) (front string, client *http.Client) {
	program, err := exec.LookPath("nginx")
	if err != nil && os.Getenv("AERYS_INTEROP") == "required" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip("nginx is missing: apt-get install nginx-light")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front = "http://" + l.Addr().String()
	l.Close()
	dir := t.TempDir()
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(nginxConfig(t, dir, l.Addr().String(), behind.Host)), 0o600); err != nil {
		t.Fatal(err)
	}
	output := new(strings.Builder)
	command := exec.Command(program, "-e", "stderr", "-c", file)
	command.Stderr = output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM)
		if command.Wait(); t.Failed() {
			t.Log(output)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if reply, err := http.Get(front); err == nil {
			reply.Body.Close()
			return front, http.DefaultClient
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// nginxConfig puts the README's server where it does not disturb.
func nginxConfig(t *testing.T, dir, listen, behind string) string {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)```nginx\n(.*?)```").FindSubmatch(readme)
	if found == nil {
		t.Fatal("README.md shows no nginx")
	}
	servers := strings.NewReplacer("listen 80;", "listen "+listen+";", "127.0.0.1:1337", behind).Replace(string(found[1]))
	return fmt.Sprintf(`daemon off; user root; pid %[1]s/pid; events {}
http { access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
fastcgi_temp_path %[1]s/fastcgi; scgi_temp_path %[1]s/scgi; uwsgi_temp_path %[1]s/uwsgi;
%[2]s}`, dir, servers)
}
