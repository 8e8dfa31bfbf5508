package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aerys"
	"aerys/example/internal/browser"
	"aerys/example/internal/localhost"
)

// serve runs both hosts on ports that are free, until the test ends.
func serve(t *testing.T) (safe, plain string) {
	secured, redirecting := hosts()
	secured.Expose("127.0.0.1", 0).Encrypt("", "", &tls.Config{Certificates: []tls.Certificate{localhost.Certificate()}})
	redirecting.Expose("127.0.0.1", freePort(t))
	ctx, stop := context.WithCancel(context.Background())
	ready, stopped := make(chan []net.Addr, 1), make(chan error, 1)
	server := &aerys.Server{Hosts: []*aerys.Host{secured, redirecting}, Ready: func(addresses []net.Addr) { ready <- addresses }}
	go func() { stopped <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	var addresses []net.Addr
	select {
	case addresses = <-ready:
	case err := <-stopped:
		stopped <- nil
		t.Fatal(err)
	}
	return "https://" + addresses[0].String(), "http://" + addresses[1].String()
}

// freePort is one that was free a moment ago: 0 would be the address of both hosts.
func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestAnswers(t *testing.T) {
	safe, plain := serve(t)
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	for _, test := range []struct {
		url    string
		status int
		field  string
		want   string
	}{
		{safe + "/", 200, "Cache-Control", "no-cache"},
		{safe + "/about", 200, "Cache-Control", "no-cache"},
		{safe + "/assets/index-Bx7mQ2Lw.js", 200, "Cache-Control", "immutable"},
		{safe + "/assets/gone-Bx7mQ2Lw.js", 404, "Content-Type", "text/"},
		{safe + "/api/time", 200, "Content-Type", "application/json"},
		{safe + "/api/elsewhere", 404, "Content-Type", "text/"},
		{plain + "/about?a=b", 308, "Location", safe + "/about?a=b"},
	} {
		answer, err := client.Get(test.url)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != test.status || !strings.Contains(answer.Header.Get(test.field), test.want) {
			t.Errorf("%s: %s, %s %q; want %d, %q", test.url, answer.Status, test.field, answer.Header.Get(test.field), test.status, test.want)
		}
	}
}

// A person who comes without TLS sees the page, goes to another, and loads it anew.
func TestPage(t *testing.T) {
	safe, plain := serve(t)
	tab := browser.Start(t).Tab()
	tab.Visit(plain)
	tab.Shows("h1", "Start")
	tab.Click(`nav a[href="/time"]`)
	tab.Shows("h1", "Time")
	tab.Shows("main p:last-child", "T")
	tab.Click(`nav a[href="/about"]`)
	tab.Run(`if (!/^https:.*\/about$/.test(location.href)) throw Error(location.href)`)
	tab.Visit(safe + "/about")
	tab.Shows("h1", "About")
	if dir := os.Getenv("AERYS_SCREENSHOTS"); dir != "" {
		tab.Screenshot(filepath.Join(dir, "spa.png"))
	}
}
