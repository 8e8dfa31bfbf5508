package aerys_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"aerys"
	"aerys/static"
	"aerys/ws"
)

// extendedConnect in GODEBUG has net/http announce and take extended CONNECTs.
const extendedConnect = "http2xconnect=1"

// TestExtendedConnect runs itself again in an environment in which net/http
// takes an extended CONNECT (RFC 8441), and has each kind of action asked by
// one, over TLS and in clear text: to a browser a 2xx would open a WebSocket.
func TestExtendedConnect(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		again := command(t, os.Args[0], "-test.run=^TestExtendedConnect$", "-test.v")
		again.Env = append(os.Environ(), "GODEBUG="+extendedConnect)
		if output, err := again.CombinedOutput(); err != nil || strings.Count(string(output), "--- PASS: TestExtendedConnect/") != 3 {
			t.Errorf("%v: %s", err, output)
		}
		return
	}
	files := static.FS(fstest.MapFS{"file": {Data: []byte("secret")}})
	gateway := ws.Websocket(new(app))
	routes := aerys.Router().Get("/route", hello).Get("/ws", gateway).Get("/{x:a.*}", hello).
		Route("CONNECT", "/connect", hello).Route("CONNECT", "/tunnel", hello)
	actions := []aerys.Action{routes, files, gateway}
	paths := []string{"/route", "/any", "/connect", "/tunnel", "/ws", "/file", "/missing", "/"}

	certFile, keyFile := aerys.WriteCertificate(t, t.TempDir(), "localhost")
	options := aerys.Options{AllowedMethods: []string{"GET", "CONNECT"}, KeepMethodCase: true}
	_, addresses := serve(t, options, new(aerys.Host).Expose("127.0.0.1", 0).Use(append(actions, hello)...),
		new(aerys.Host).Expose("::1", 0).Encrypt(certFile, keyFile).Use(append(actions, hello)...))
	mux := http.NewServeMux()
	mux.Handle("/ws", gateway)
	mux.Handle("/file", files)
	mux.Handle("/missing", files)
	mux.Handle("/", new(aerys.Host).Use(append(actions, hello)...))
	plain := httptest.NewUnstartedServer(mux)
	plain.EnableHTTP2 = true
	plain.StartTLS()
	t.Cleanup(plain.Close)

	for name, address := range map[string]net.Addr{"in clear text": addresses[0], "over TLS": addresses[1], "under net/http": plain.Listener.Addr()} {
		t.Run(name, func(t *testing.T) {
			for _, path := range paths {
				for _, protocol := range []string{"websocket", "connect-udp", "x"} {
					if status := connect(t, address, name != "in clear text", path, protocol); status != "501" {
						t.Errorf("%s, %s: %s, want 501", path, protocol, status)
					}
				}
			}
		})
	}
}

// connect sends an extended CONNECT, without its end, and returns the status.
func connect(t *testing.T, address net.Addr, encrypted bool, path, protocol string) (status string) {
	t.Helper()
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	scheme := "\x86"
	if encrypted {
		conn, scheme = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}), "\x87"
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, aerys.Preface)
	text := func(s string) string { return string(byte(len(s))) + s } // RFC 7541 §5.2, not Huffman-coded
	request := "\x02" + text("CONNECT") + "\x00" + text(":protocol") + text(protocol) + scheme + "\x04" + text(path) + "\x01" + text("a")
	for announced := false; ; {
		kind, stream, payload, err := aerys.ReadFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		if kind == aerys.Settings && bytes.Contains(payload, []byte{0, 8, 0, 0, 0, 1}) { // ENABLE_CONNECT_PROTOCOL
			announced = true
			io.WriteString(conn, aerys.Frame(aerys.HeadersFrame, aerys.EndHeaders, 1, request))
		}
		if kind == aerys.HeadersFrame && stream == 1 && announced {
			return statusIn(payload)
		}
	}
}

// statusIn returns the status that a block of fields begins with (RFC 7541
// §6.1, §6.2.1; §5.2 for the Huffman code of 501).
func statusIn(block []byte) string {
	for beginning, status := range map[string]string{"\x88": "200", "\x8c": "400", "\x8d": "404", "\x4e\x03405": "405", "\x4e\x82\x6c\x01": "501"} {
		if strings.HasPrefix(string(block), beginning) {
			return status
		}
	}
	return fmt.Sprintf("%x", block)
}

// A plain CONNECT is a method as any other: nobody's, unless a route or an
// option names it.
func TestPlainConnect(t *testing.T) {
	for _, test := range []struct {
		options aerys.Options
		action  aerys.Action
		want    string
	}{
		{aerys.Options{}, aerys.HandlerFunc(hello), "405"},
		{aerys.Options{}, aerys.Router().Get("/", hello), "405"},
		{aerys.Options{}, aerys.Router().Route("CONNECT", "/{x}", hello).Route("CONNECT", "/", hello), "200"},
		{aerys.Options{AllowedMethods: []string{"CONNECT"}}, aerys.HandlerFunc(hello), "200"},
	} {
		_, addresses := serve(t, test.options, new(aerys.Host).Expose("127.0.0.1", 0).Use(test.action))
		conn, err := net.Dial("tcp", addresses[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "CONNECT /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 "+test.want) {
			t.Errorf("%T: %q, want %s", test.action, answer, test.want)
		}
	}
}

// TestWarningOfExtendedConnect: whoever has it in the environment is told.
func TestWarningOfExtendedConnect(t *testing.T) {
	for _, test := range []struct {
		debug string
		warns bool
	}{{"", false}, {"http2xconnect=0", false}, {extendedConnect, true}, {"http2server=1," + extendedConnect, true}} {
		t.Run(test.debug, func(t *testing.T) {
			t.Setenv("GODEBUG", test.debug)
			log := new(strings.Builder)
			server := &aerys.Server{Options: aerys.Options{Logger: slog.New(slog.NewTextHandler(log, nil))},
				Hosts: []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(hello)}}
			ctx, cancel := context.WithCancel(context.Background())
			server.Ready = func([]net.Addr) { cancel() }
			if err := server.Serve(ctx); err != nil {
				t.Fatal(err)
			}
			text := log.String()
			if strings.Contains(text, "level=WARN") != test.warns || test.warns && !(strings.Contains(text, extendedConnect) && strings.Contains(text, "wss://")) {
				t.Errorf("logged %q", text)
			}
		})
	}
}
