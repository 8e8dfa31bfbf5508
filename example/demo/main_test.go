package main

import (
	"bufio"
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"aerys/example/internal/browser"
)

func TestDemo(t *testing.T) {
	server := httptest.NewServer(host())
	defer server.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, row := range []struct {
		method, path, send string
		status             int
		want               string
	}{
		{"GET", "/", "", 200, "<h1>Hello, world.</h1>"},
		{"POST", "/", "", 200, "<h1>Hello, world (POST).</h1>"},
		{"GET", "/router/a%3Cb%2Fc", "", 200, "<pre>myarg: a&lt;b/c</pre>"},
		{"GET", "/error1", "", 500, "500 Internal Server Error"},
		{"GET", "/error2", "", 500, "500 Internal Server Error"},
		{"GET", "/directory", "", 200, "<h1>Dual directory match</h1>"},
		{"GET", "/directory/?a=b", "", 302, ""},
		{"POST", "/body1", "2 < 3", 200, "<pre>2 &lt; 3</pre>"},
		{"POST", "/body1", strings.Repeat("x", 200<<10), 413, ""},
		{"POST", "/body2", strings.Repeat("x", 200<<10), 200, strings.Repeat("x", 200<<10)},
		{"GET", "/favicon.ico", "", 404, ""},
		{"ZANZIBAR", "/zanzibar", "", 200, "<h1>ZANZIBAR!</h1>"},
		{"GET", "/zanzibar", "", 405, ""},
		{"GET", "/ws", "", 426, "this is a WebSocket endpoint"},
		{"GET", "/main.go", "", 200, "// Demo shows"},
		{"GET", "/nothing", "", 200, `<h1>Fallback \o/</h1>`},
	} {
		request, _ := http.NewRequest(row.method, server.URL+row.path, strings.NewReader(row.send))
		reply, err := client.Do(request)
		if err != nil {
			t.Fatalf("%s %s: %v", row.method, row.path, err)
		}
		body, _ := io.ReadAll(reply.Body)
		reply.Body.Close()
		if reply.StatusCode != row.status || !strings.Contains(string(body), row.want) {
			t.Errorf("%s %s: status %d, body %.200q; want %d, %.200q", row.method, row.path, reply.StatusCode, body, row.status, row.want)
		}
	}
}

// Each link of the first page leads to what its row says.
func TestIndex(t *testing.T) {
	server := httptest.NewServer(host())
	defer server.Close()
	answers := map[string]int{"zanzibar": 405, "error1": 500, "error2": 500}
	links := regexp.MustCompile(`<a href="([^"]+)">`).FindAllStringSubmatch(page, -1)
	if len(links) < 8 {
		t.Errorf("there are %d links", len(links))
	}
	for _, link := range links {
		reply, err := http.Get(server.URL + "/" + link[1])
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close() // of a long poll, too
		if want := cmp.Or(answers[link[1]], 200); reply.StatusCode != want {
			t.Errorf("%s: %s, want %d", link[1], reply.Status, want)
		}
	}
}

// What one window sends, another shows.
func TestPage(t *testing.T) {
	server := httptest.NewServer(host())
	defer server.Close()
	b := browser.Start(t)
	one, other := b.Tab(), b.Tab()
	other.Visit(server.URL)
	other.Run("new Promise(opened => { if (socket.readyState === 1) opened(); socket.onopen = opened })")
	one.Visit(server.URL)
	one.Run("new Promise(opened => { if (socket.readyState === 1) opened(); socket.onopen = opened })")
	one.Type("#say input", "Hello, all.")
	other.Shows("#heard li", "Hello, all.")
	if dir := os.Getenv("AERYS_SCREENSHOTS"); dir != "" {
		other.Screenshot(filepath.Join(dir, "demo.png"))
		other.Prefers("dark")
		other.Size(390, 900)
		other.Screenshot(filepath.Join(dir, "demo-dark-phone.png"))
	}
}

func TestLongPoll(t *testing.T) {
	server := httptest.NewServer(host())
	defer server.Close() // waits until the handler has noticed that the client left
	reply, err := http.Get(server.URL + "/long-poll")
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(reply.Body).ReadString('\n')
	if line != "hello!<br>\n" || err != nil {
		t.Errorf("the first line is %q, %v", line, err)
	}
	reply.Body.Close()
}
