package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"aerys"
	"aerys/example/internal/browser"
)

// TestBrowser does in Chromium all that a page does with WebSockets, over HTTP/2 and by
// the same program over HTTP/1.1 alone.
func TestBrowser(t *testing.T) {
	for _, test := range []struct {
		name   string
		config *tls.Config
		shared bool // all comes over one connection
	}{
		{"HTTP/2", new(tls.Config), true},
		{"HTTP/1.1", &tls.Config{NextProtos: []string{"http/1.1"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, url := serve(t, test.config)
			tab := browser.Start(t).Tab()
			tab.Visit(url)
			tab.Run(script)
			tab.Run(`three()`)
			if n := connections(server); (n == 1) != test.shared {
				t.Errorf("%d connections for a page, a fetch and 3 sockets", n)
			}
			for _, call := range []string{"large()", "agreed()", "deflated()", "closedByPage()", "closedByServer()", "declined()"} {
				tab.Run(call)
			}
			if test.shared {
				tab.Run(`many(120)`)
				if n := connections(server); n != 1 {
					t.Errorf("%d connections for 120 sockets", n)
				}
			}
		})
	}
}

// connections is how many are open, as the server counts them.
func connections(server *aerys.Server) int64 {
	return server.Monitor().(aerys.ServerState).Connections.Open
}

// serve runs the program's routes.
func serve(t *testing.T, config *tls.Config) (*aerys.Server, string) {
	ready := make(chan net.Addr, 1)
	server := &aerys.Server{Hosts: []*aerys.Host{host(config).Expose("127.0.0.1", 0)},
		Ready: func(addresses []net.Addr) { ready <- addresses[0] }}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return server, fmt.Sprintf("https://%s/", <-ready)
}

// script is what the page does, in functions that fail by throwing.
const script = `
const must = (is, what) => { if (!is) throw Error(what) };
// open opens a socket, and waits for its first message.
const open = (query = "", protocols = ["other", "echo"]) => new Promise((resolve, reject) => {
	const s = new WebSocket(location.origin.replace("http", "ws") + "/ws" + query, protocols);
	s.binaryType = "arraybuffer";
	s.onmessage = e => { s.from = e.data; s.onmessage = null; resolve(s) };
	s.onerror = () => reject(Error("the socket failed"));
});
const next = s => new Promise(resolve => s.onmessage = e => resolve(e.data));
const closed = s => new Promise(resolve => s.onclose = resolve);
const sockets = [];
async function three() {
	for (let i = 0; i < 3; i++) sockets.push(await open());
	must((await (await fetch("/from")).text()).startsWith("HTTP/"), "fetch");
}
async function large() {
	const sent = new Uint8Array(3 << 20).map((_, i) => i * 7 + (i >> 8)), s = sockets[0], answer = next(s);
	s.send(sent);
	const got = new Uint8Array(await answer);
	must(got.length == sent.length && got.every((b, i) => b == sent[i]), "3 MiB came back as " + got.length);
}
async function agreed() { must(sockets[1].protocol == "echo", "subprotocol " + sockets[1].protocol) }
async function deflated() {
	const s = sockets[1], text = "all work and no play ".repeat(5000), answer = next(s);
	must(s.extensions.startsWith("permessage-deflate"), "extensions " + s.extensions);
	s.send(text);
	must(await answer == text, "what was compressed came back as something else");
}
async function closedByPage() {
	const end = closed(sockets[1]);
	sockets[1].close(4001, "enough");
	const e = await end;
	must(e.wasClean && e.code == 4001, "closed with " + e.code + " " + e.reason + " " + e.wasClean);
}
async function closedByServer() {
	const end = closed(sockets[2]);
	sockets[2].send("bye");
	const e = await end;
	must(e.wasClean && e.code == 4000 && e.reason == "as you wish", "closed with " + e.code + " " + e.reason + " " + e.wasClean);
}
async function declined() {
	let opened = true;
	await open("?who=stranger").catch(() => opened = false);
	must(!opened, "a stranger's socket opened");
	must((await fetch("/ws?who=stranger")).status != 200, "a fetch of a socket");
}
// many opens sockets while fetches go on.
async function many(n) {
	const all = [];
	for (let i = 0; i < n; i++) {
		all.push(await open());
		must((await fetch("/from")).status == 200, "fetch beside " + i + " sockets");
	}
	const answers = all.map(next);
	all.forEach((s, i) => s.send("hello " + i));
	for (const [i, text] of (await Promise.all(answers)).entries()) must(text == "hello " + i, text);
	const froms = new Set(all.map(s => s.from));
	must(froms.size == 1, froms.size + " connections");
	all.forEach(s => s.close());
}
`
