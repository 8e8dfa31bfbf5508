package spec

import (
	"encoding/binary"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aerys"
	"aerys/ws"
)

// TestTunnelsBehindHAProxy: a proxy whose clients speak HTTP/1 has their WebSockets
// share connections of HTTP/2 (RFC 8441) to the server.
func TestTunnelsBehindHAProxy(t *testing.T) {
	program := tool(t, "haproxy", "apt-get install haproxy")
	if !again(t) {
		return
	}
	s := run(t, aerys.Options{}, at(aerys.Router().Get("/echo", ws.Websocket(&app{data: sendBack}))))
	dir := t.TempDir()
	file, front := filepath.Join(dir, "config"), filepath.Join(dir, "front")
	config := strings.NewReplacer("FRONT", front, "SERVER", s.addresses[0].String()).Replace(`
global
	nbthread 1
defaults
	mode http
	timeout connect 60s
	timeout client 60s
	timeout server 60s
	timeout tunnel 60s
listen front
	bind unix@FRONT
	http-reuse always
	server aerys SERVER proto h2 ws h2
`)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	background(t, exec.Command(program, "-db", "-f", file), front)
	for range 3 {
		conn, _, err := ws.Dial(timeout(t), "ws://a/echo", ws.DialOptions{Client: &http.Client{Transport: through(front).Transport}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ws.CodeNormal, "")
	}
	echoThrough(t, front)
	if open := s.Monitor().(aerys.ServerState).Connections.Open; open != 1 {
		t.Errorf("%d connections", open)
	}
}

// TestImportOfXconnect builds a program with the library under several import paths:
// net/http is asked in time to announce extended CONNECTs, or the log tells.
func TestImportOfXconnect(t *testing.T) {
	t.Parallel()
	for module, late := range map[string]bool{"aerys": false, "example.com/aerys": false, "www.example.com/aerys": true} {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			text := runModule(t, module)
			if strings.Contains(text, "set GODEBUG=http2xconnect=1") != late || !strings.Contains(text, "GODEBUG is [left=alone]") {
				t.Errorf("%s", text)
			}
		})
	}
}

// runModule copies the library to a module of that name, and returns what a program that
// imports xconnect of it logs when its server starts.
func runModule(t *testing.T, module string) string {
	dir := t.TempDir()
	copyLibrary(t, dir, module)
	program := `package main

import (
	"context"
	"fmt"
	"net"
	"os"

	"aerys"
	"aerys/ws"
	_ "aerys/ws/xconnect"
)

type app struct{}

func (app) OnStart(*ws.Endpoint) error                             { return nil }
func (app) OnHandshake(*aerys.Request, *aerys.Response) (none int) { return }
func (app) OnOpen(ws.ClientID, int)                                {}
func (app) OnData(ws.ClientID, *ws.Message)                        {}
func (app) OnClose(ws.ClientID, ws.Code, string)                   {}
func (app) OnStop()                                                {}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	host := new(aerys.Host).Expose("127.0.0.1", 0).Use(ws.Websocket(app{}))
	server := aerys.Server{Hosts: []*aerys.Host{host}, Ready: func([]net.Addr) { cancel() }}
	fmt.Fprintf(os.Stderr, "GODEBUG is [%s]\n", os.Getenv("GODEBUG"))
	fmt.Fprintln(os.Stderr, server.Serve(ctx))
}
`
	if err := os.MkdirAll(filepath.Join(dir, "program"), 0o700); err != nil {
		t.Fatal(err)
	}
	replaceFile(t, filepath.Join(dir, "program", "main.go"), []byte(renamed(program, module)))
	command := exec.Command("go", "run", "./program")
	command.Dir, command.Env = dir, append(os.Environ(), "GODEBUG=left=alone")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return string(output)
}

// copyLibrary copies what is built of the library, under another name.
func copyLibrary(t *testing.T, dir, module string) {
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "example" || name == "ws/nats" || name == "ws/interop" || strings.HasPrefix(name, ".") && name != "."):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, name), 0o700)
		case name != "go.mod" && !strings.HasPrefix(name, "internal/page/") && (!strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go")):
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(renamed(string(text), module)), 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// renamed returns a file as it is in a module of another name.
func renamed(text, module string) string {
	return strings.NewReplacer("module aerys\n", "module "+module+"\n", "\"aerys\"\n", "aerys \""+module+"\"\n", "\"aerys/", "\""+module+"/").Replace(text)
}

// TestNothingIsAnnounced: without the import a server's settings are those that it has
// without WebSockets (RFC 9113 §6.5.2, RFC 8441 §3).
func TestNothingIsAnnounced(t *testing.T) {
	t.Parallel()
	s := run(t, aerys.Options{}, at(ws.Websocket(new(app))))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, begin(""))
	kind, _, _, payload, err := readFrame(conn)
	if err != nil || kind != settingsFrame {
		t.Fatal(kind, err)
	}
	settings := make(map[uint16]uint32)
	for ; len(payload) >= 6; payload = payload[6:] {
		settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
	}
	const streams, window, connect = 3, 4, 8
	if _, announced := settings[connect]; announced || settings[streams] != 100 || settings[window] != 1<<20 {
		t.Errorf("%v", settings)
	}
}
