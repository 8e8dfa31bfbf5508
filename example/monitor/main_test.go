package main

import (
	"bufio"
	"cmp"
	"context"
	"image/color"
	"image/png"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/example/internal/browser"
	"aerys/ws"
)

// running is a server that runs until stop, which returns what Serve did.
type running struct {
	site, operator string
	stop           func() error
}

func run(t *testing.T) running {
	server, err := newServer("127.0.0.1:0", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Options = aerys.Options{Logger: slog.New(slog.DiscardHandler), ShutdownTimeout: time.Hour}
	ready, stopped := make(chan []net.Addr, 1), make(chan error, 1)
	server.Ready = func(addresses []net.Addr) { ready <- addresses }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { stopped <- server.Serve(ctx) }()
	var addresses []net.Addr
	select {
	case addresses = <-ready:
	case err := <-stopped:
		t.Fatal(err)
	}
	stop := sync.OnceValue(func() error { cancel(); return <-stopped })
	t.Cleanup(func() { stop() })
	return running{"http://" + addresses[0].String(), "http://" + addresses[1].String() + "/", stop}
}

// visit has visitors come and go for as long as the test looks at them.
func (r running) visit(t *testing.T) {
	ctx, leave := context.WithCancel(context.Background())
	var all sync.WaitGroup
	visitor := func(comes func() error) {
		all.Add(1)
		go func() {
			defer all.Done()
			for ctx.Err() == nil && comes() == nil {
				time.Sleep(10 * time.Millisecond)
			}
		}()
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, often := range map[string]int{"/": 3, "/index.html": 1, "/slow": 4, "/old": 1, "/missing": 1, "/broken": 1} {
		for range often {
			visitor(func() error { return get(client, r.site+path) })
		}
	}
	for range 5 {
		conn, _, err := ws.Dial(ctx, r.site+"/echo")
		if err != nil {
			t.Fatal(err)
		}
		visitor(func() error {
			if err := conn.Write(ctx, strings.Repeat("hello ", 50)); err != nil {
				return err
			}
			_, _, err := conn.Read(ctx)
			return err
		})
	}
	t.Cleanup(func() {
		leave()
		all.Wait()
		client.CloseIdleConnections()
	})
}

func get(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// The operator looks at the page, on a screen and on a phone, by day and by night.
// AERYS_SCREENSHOTS is where pictures of that stay.
func TestPage(t *testing.T) {
	r := run(t)
	r.visit(t)
	tab := browser.Start(t).Tab()
	tab.Visit(r.operator)
	tab.Shows("#status", "serving")
	for card, shown := range map[string]string{
		"Requests per second": `\d.*2xx`, "Latency, last 10 s": `(µs|ms|s)p99`, "Connections": `\d+open`, "Bytes per second": `B.*out`,
		"WebSocket clients": `5connected`, "WebSocket messages per second": `[1-9].*in`, "WebSocket queues": `\d B`,
		"Static files per second": `[1-9].*from the cache`, "Static cache": ` B`, "Memory": `MB`, "Goroutines": `[1-9]`,
	} {
		matches(tab, `section[aria-label="`+card+`"]`, shown)
		drawn(tab, `section[aria-label="`+card+`"] path:not(.area, .grid, .mark)`)
	}
	matches(tab, "#hosts", `127\.0\.0\.1:0`)
	matches(tab, "#handlers", `GET /echo5 active`)
	light := look(t, tab, "light")
	if dark := look(t, tab, "dark"); dark >= light/4 {
		t.Errorf("brightness %d by day, %d by night", light, dark)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	tab.Shows("#status", "no connection")
}

// matches waits until the text of what a selector finds matches a regular expression.
func matches(tab *browser.Tab, selector, shown string) {
	until(tab, selector, `new RegExp("`+strings.ReplaceAll(shown, `\`, `\\`)+`").test(e.textContent)`)
}

// drawn waits until a path has a line in it.
func drawn(tab *browser.Tab, selector string) {
	until(tab, selector, `!e.closest("section").hidden && / *L/.test(e.getAttribute("d"))`)
}

// until waits until something holds of an element e that a selector finds.
func until(tab *browser.Tab, selector, holds string) {
	tab.Run(`new Promise((resolve, reject) => {
		const look = () => { for (const e of document.querySelectorAll('` + selector + `')) if (` + holds + `) resolve() };
		new MutationObserver(look).observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
		setTimeout(() => reject(Error('` + selector + ": not " + `' + ` + "String.raw`" + holds + "`" + ` + ': ' + document.body.innerText)), 20000);
		look();
	})`)
}

// look takes pictures, which are not blank, and returns how bright the page is.
func look(t *testing.T, tab *browser.Tab, scheme string) (brightness uint32) {
	dir := cmp.Or(os.Getenv("AERYS_SCREENSHOTS"), t.TempDir())
	tab.Prefers(scheme)
	for size, width := range map[string]int{"": 1280, "-phone": 390} {
		tab.Size(width, 1400)
		tab.Run(`if (document.documentElement.scrollWidth > innerWidth) throw Error("wider than the window")`)
		name := filepath.Join(dir, "monitor-"+scheme+size+".png")
		tab.Screenshot(name)
		corner, colors := colorsOf(t, name)
		if len(colors) < 50 {
			t.Errorf("%s has %d colors: it is blank", name, len(colors))
		}
		r, g, b, _ := corner.RGBA()
		brightness = r + g + b
	}
	return brightness
}

func colorsOf(t *testing.T, name string) (corner color.Color, all map[color.Color]bool) {
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(bufio.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	all = make(map[color.Color]bool)
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			all[picture.At(x, y)] = true
		}
	}
	return picture.At(1, 1), all
}
