// Package browser has tests look at pages in a headless Chromium.
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// Browser is a Chromium that is told what to do over a pipe, in the Chrome
// DevTools Protocol: one JSON object after the other, each ending in NUL. It
// and its tabs are for one goroutine.
type Browser struct {
	t      *testing.T
	in     io.Writer
	out    *bufio.Reader
	calls  int
	loaded map[string]bool // by session: the page that it visits has been loaded
}

// names are those that Chromium goes by.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"}

// Start starts Chromium until the test ends, and skips the test where there is
// none. Certificates are taken as they are.
func Start(t *testing.T) *Browser {
	t.Helper()
	path := find()
	if path == "" {
		t.Skip("SKIPPED: there is no Chromium or Chrome on this machine, so the page was not tried in a browser")
	}
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--user-data-dir="+profile, "--remote-debugging-pipe")
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	command.ExtraFiles = []*os.File{theirIn, theirOut} // Chromium reads from 3 and writes to 4
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, in: in, out: bufio.NewReader(out), loaded: make(map[string]bool)}
	t.Cleanup(func() {
		b.call("", "Browser.close", nil) // so that it lets go of its directory
		command.Wait()
	})
	theirIn.Close()
	theirOut.Close()
	return b
}

func find() string {
	if runtime.GOOS == "windows" {
		return "" // a process there inherits no pipes but the standard ones
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func pipe(t *testing.T) (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// Tab is a window with cookies of its own, as if another person had opened it.
type Tab struct {
	*Browser
	session string
}

// Tab opens an empty one.
func (b *Browser) Tab() *Tab {
	b.t.Helper()
	var of struct{ BrowserContextID, TargetID, SessionID string }
	whole := &Tab{Browser: b}
	whole.must("Target.createBrowserContext", nil, &of)
	whole.must("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": of.BrowserContextID}, &of)
	whole.must("Target.attachToTarget", map[string]any{"targetId": of.TargetID, "flatten": true}, &of)
	tab := &Tab{b, of.SessionID}
	tab.Size(1180, 1020)
	return tab
}

// Size is that of the window, in pixels.
func (p *Tab) Size(width, height int) {
	p.t.Helper()
	p.must("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
}

// Prefers is the color scheme, "light" or "dark".
func (p *Tab) Prefers(scheme string) {
	p.t.Helper()
	p.must("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// Screenshot writes what is to be seen to a PNG file.
func (p *Tab) Screenshot(file string) {
	p.t.Helper()
	var shot struct{ Data string }
	p.must("Page.captureScreenshot", nil, &shot)
	picture, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, picture, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// Visit opens a URL and waits until the page is loaded.
func (p *Tab) Visit(url string) {
	p.t.Helper()
	p.must("Page.enable", nil, nil)
	p.loaded[p.session] = false
	p.must("Page.navigate", map[string]any{"url": url}, nil)
	for !p.loaded[p.session] {
		if _, err := p.receive(); err != nil {
			p.t.Fatal(err)
		}
	}
}

// Click clicks on what a selector finds.
func (p *Tab) Click(selector string) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// Type puts a text into the field that a selector finds, and sends its form.
func (p *Tab) Type(selector, text string) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`{const field = document.querySelector(%q); field.value = %q; field.form.requestSubmit()}`, selector, text))
}

// Shows waits until something that a selector finds contains a text.
func (p *Tab) Shows(selector, text string) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`new Promise((resolve, reject) => {
		const look = () => {
			for (const e of document.querySelectorAll(%[1]q)) if (e.textContent.includes(%[2]q)) resolve();
		};
		new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true});
		setTimeout(() => reject(Error(%[1]q + " does not contain " + %[2]q + ":\n" + document.body.innerText)), 10000);
		look();
	})`, selector, text))
}

// Run runs a script in the page, and waits for the promise if it is one.
func (p *Tab) Run(script string) {
	p.t.Helper()
	var answer struct {
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	p.must("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		p.t.Fatalf("in the page: %s", e.Exception.Description)
	}
}

// must calls a method and fails the test if that does not work.
func (p *Tab) must(method string, parameters, result any) {
	p.t.Helper()
	answer, err := p.call(p.session, method, parameters)
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	if err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
}

// call calls a method of the protocol and waits for its answer.
func (b *Browser) call(session, method string, parameters any) (json.RawMessage, error) {
	b.calls++
	text, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{b.calls, session, method, parameters})
	if err != nil {
		return nil, err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return nil, err
	}
	for {
		answer, err := b.receive()
		switch {
		case err != nil:
			return nil, err
		case answer.ID == b.calls && answer.Error != nil:
			return nil, errors.New(answer.Error.Message)
		case answer.ID == b.calls:
			return answer.Result, nil
		}
	}
}

// message is an answer, or an event, which has no ID.
type message struct {
	ID        int
	SessionID string
	Method    string
	Result    json.RawMessage
	Error     *struct{ Message string }
}

func (b *Browser) receive() (m message, err error) {
	text, err := b.out.ReadBytes(0)
	if err != nil {
		return m, fmt.Errorf("the browser ended: %w", err)
	}
	err = json.Unmarshal(text[:len(text)-1], &m)
	if m.Method == "Page.loadEventFired" {
		b.loaded[m.SessionID] = true
	}
	return m, err
}
