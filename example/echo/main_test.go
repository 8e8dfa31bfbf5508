package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aerys/ws"
)

func TestWebSocket(t *testing.T) {
	server := httptest.NewServer(serve(ws.EngineAuto, true))
	defer server.Close()
	one, _, err := ws.Dial(t.Context(), server.URL+"/echo", ws.DialOptions{Compression: true})
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close(ws.CodeNormal, "")
	one.Write(t.Context(), "text")
	one.WriteBinary(t.Context(), []byte("binary"))
	for _, want := range []string{"text", "binary"} {
		if data, binary, err := one.Read(t.Context()); string(data) != want || binary != (want == "binary") || err != nil {
			t.Errorf("got %q, binary %t, %v; want %s", data, binary, err, want)
		}
	}
	var others []*ws.Conn
	for range 2 {
		other, _, err := ws.Dial(t.Context(), server.URL+"/broadcast")
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close(ws.CodeNormal, "")
		others = append(others, other)
	}
	others[0].Write(t.Context(), "to all")
	for _, other := range others {
		if text, _, err := other.Read(t.Context()); string(text) != "to all" {
			t.Errorf("got %q, %v", text, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(serve(ws.EngineAuto, false))
	defer server.Close()
	for _, test := range []struct {
		method, path, body string
		status             int
		begins             string
	}{
		{"GET", "/hello", "", 200, "Hello, World!"},
		{"POST", "/post", `{"id":1,"user":"Ann","price":2.5,"tags":["a"],"text":"b"}`, 200, "Hello, World!"},
		{"POST", "/post", `{`, 400, "unexpected EOF"},
		{"GET", "/sse?every=1ms", "", 200, "data: 000"},
		{"GET", "/sse", "", 400, "want ?every="},
	} {
		request, _ := http.NewRequest(test.method, server.URL+test.path, strings.NewReader(test.body))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(test.begins))
		io.ReadFull(answer.Body, got)
		answer.Body.Close()
		if answer.StatusCode != test.status || string(got) != test.begins {
			t.Errorf("%s %s: %s, %q; want %d, %q", test.method, test.path, answer.Status, got, test.status, test.begins)
		}
	}
}

// The program makes its certificate for the occasion, and leaves nothing behind.
func TestNothingIsLeft(t *testing.T) {
	program, dir := filepath.Join(t.TempDir(), "echo.exe"), t.TempDir()
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	command := exec.Command(program, "-tls", "-addr", l.Addr().String())
	command.Env = append(os.Environ(), "TMPDIR="+dir, "TMP="+dir)
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	defer command.Process.Kill()
	bufio.NewReader(output).ReadString('\n') // that it listens
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	answer, err := client.Get("https://" + l.Addr().String() + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("there is %s", left[0].Name())
	}
}
