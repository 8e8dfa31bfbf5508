package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aerys/example/internal/browser"
)

// program is the example itself, as a process, on a port of its own.
type program struct {
	addr    string
	process *os.Process
	output  *bufio.Scanner
}

// startProgram builds and starts the program, with nothing but its port changed.
func startProgram(t *testing.T) *program {
	port := freePort(t)
	command := exec.Command(build(t, port))
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	p := &program{"127.0.0.1:" + port, command.Process, bufio.NewScanner(output)}
	p.prints(t, "Listening on http://localhost:"+port+"/")
	return p
}

// build compiles the program for another port than 1337, which may be in use.
func build(t *testing.T, port string) (path string) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), "1337)") != 1 {
		t.Fatal("main.go: want the port 1337 in one place")
	}
	dir := t.TempDir()
	there, overlay, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "handshake.exe")
	replace, _ := json.Marshal(map[string]any{"Replace": map[string]string{here: there}})
	write(t, there, strings.Replace(string(source), "1337)", port+")", 1))
	write(t, overlay, string(replace))
	if output, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return path
}

func write(t *testing.T, name, text string) {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// prints reads what the program prints until a line begins with text.
func (p *program) prints(t *testing.T, text string) {
	t.Helper()
	for p.output.Scan() {
		if strings.HasPrefix(p.output.Text(), text) {
			return
		}
	}
	t.Fatalf("the program ended without printing %q", text)
}

// interrupt stops the program as Ctrl-C does.
func (p *program) interrupt(t *testing.T) {
	if err := p.process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
}

func TestProgram(t *testing.T) {
	p := startProgram(t)
	t.Run("over TCP", func(t *testing.T) { wrongPasswordOverTCP(t, p) })
	t.Run("in a browser", func(t *testing.T) { pageInBrowser(t, p) })
}

// wrongPasswordOverTCP gets 403 with its body, and then asks for more on the
// same connection.
func wrongPasswordOverTCP(t *testing.T, p *program) {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	replies := bufio.NewReader(conn)
	for _, row := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET /ws?password=guess HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 403, "Nope. Valid password required."},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200, page},
	} {
		io.WriteString(conn, row.request)
		reply, err := http.ReadResponse(replies, nil)
		if err != nil {
			t.Fatalf("%q: %v", row.request, err)
		}
		body, err := io.ReadAll(reply.Body)
		if reply.StatusCode != row.status || string(body) != row.body || err != nil {
			t.Errorf("%q: status %d, body %q, %v; want %d, %q", row.request, reply.StatusCode, body, err, row.status, row.body)
		}
	}
}

// pageInBrowser looks at what a person sees.
func pageInBrowser(t *testing.T, p *program) {
	b := browser.Start(t).Tab()
	b.Visit("http://" + p.addr + "/")
	bothPasswords(b)
	p.prints(t, "Successful handshake for user with client id ")

	b.Click("#right [name=close]")
	b.Shows("#right .closed", "code 1000")
	b.Shows("#right .state", "closed")
	b.Click("#right [name=close]") // which says Connect now
	b.Shows("#right .received", `you said "ping".`)
	p.interrupt(t)
	b.Shows("#right .closed", "code 1001: server stops")
}

// The page is no other over TLS, where the server asks itself over TLS, too.
func TestOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(host())
	defer server.Close()
	b := browser.Start(t).Tab()
	b.Visit(server.URL)
	bothPasswords(b)
	b.Run(`right.querySelector("[name=close]").click(), other.close()`) // or the server waits for them
}

// bothPasswords looks at what became of a right password and of a wrong one,
// and then tries the right one in place of the other.
func bothPasswords(b *browser.Tab) {
	b.Shows("#right .opened", "101 Switching Protocols")
	b.Shows("#right .sent", "ping")
	b.Shows("#right .received", `you said "ping".`)
	b.Shows("#right .state", "open")

	b.Shows("#wrong .failed", "there is no WebSocket connection")
	b.Shows("#wrong .closed", "code 1006")
	b.Shows("#wrong .state", "refused")
	b.Shows("#wrong pre .refused", "HTTP/1.1 403 Forbidden")
	b.Shows("#wrong pre", "Nope. Valid password required.")
	b.Shows("#wrong pre .accepted", "HTTP/1.1 200 OK")
	b.Shows("#wrong p", "another request down the same connection")

	b.Type("#wrong [name=password]", "reallyverysecure")
	b.Shows("#wrong .state", "open")
	b.Shows("#wrong pre .accepted", "HTTP/1.1 101 Switching Protocols")
	b.Shows("#wrong p", "That is the right one.")
}
