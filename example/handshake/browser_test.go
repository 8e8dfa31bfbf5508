package main

import (
	"bufio"
	"context"
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

// browser is a headless Chromium that is told what to do over a pipe, in the
// Chrome DevTools Protocol: one JSON object after the other, each ending in NUL.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	calls   int
	session string
	loaded  bool
}

// browsers are the names that Chromium goes by.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"}

// startBrowser starts Chromium with an empty page, and skips the test where
// there is none.
func startBrowser(t *testing.T) *browser {
	path := findBrowser()
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
		"--user-data-dir="+profile, "--window-size=1180,1020", "--remote-debugging-pipe")
	theirIn, in := pipe(t)
	out, theirOut := pipe(t)
	command.ExtraFiles = []*os.File{theirIn, theirOut} // Chromium reads from 3 and writes to 4
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		b.call("Browser.close", nil) // so that it lets go of its directory
		command.Wait()
	})
	theirIn.Close()
	theirOut.Close()
	b.openPage()
	return b
}

func findBrowser() string {
	if runtime.GOOS == "windows" {
		return "" // a process there inherits no pipes but the standard ones
	}
	for _, name := range browsers {
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

func (b *browser) openPage() {
	var target struct{ TargetID string }
	b.must("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.must("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
}

// visit opens a URL and waits until the page is loaded.
func (b *browser) visit(url string) {
	b.t.Helper()
	b.must("Page.enable", nil, nil)
	b.loaded = false
	b.must("Page.navigate", map[string]any{"url": url}, nil)
	for !b.loaded {
		if _, err := b.receive(); err != nil {
			b.t.Fatal(err)
		}
	}
}

// click clicks on what a selector finds.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.evaluate(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// shows waits until something that a selector finds contains a text.
func (b *browser) shows(selector, text string) {
	b.t.Helper()
	b.evaluate(fmt.Sprintf(`new Promise((resolve, reject) => {
		const look = () => {
			for (const e of document.querySelectorAll(%[1]q)) if (e.textContent.includes(%[2]q)) resolve();
		};
		new MutationObserver(look).observe(document, {subtree: true, childList: true, attributes: true});
		setTimeout(() => reject(Error(%[1]q + " does not contain " + %[2]q + ":\n" + document.body.innerText)), 10000);
		look();
	})`, selector, text))
}

// evaluate runs a script in the page, and waits for the promise if it is one.
func (b *browser) evaluate(script string) {
	b.t.Helper()
	var answer struct {
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.must("Runtime.evaluate", map[string]any{"expression": script, "awaitPromise": true}, &answer)
	if e := answer.ExceptionDetails; e != nil {
		b.t.Fatalf("in the page: %s", e.Exception.Description)
	}
}

// must calls a method and fails the test if that does not work.
func (b *browser) must(method string, parameters, result any) {
	b.t.Helper()
	answer, err := b.call(method, parameters)
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	if err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
}

// call calls a method of the protocol and waits for its answer.
func (b *browser) call(method string, parameters any) (json.RawMessage, error) {
	b.calls++
	text, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{b.calls, b.session, method, parameters})
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
	ID     int
	Method string
	Result json.RawMessage
	Error  *struct{ Message string }
}

func (b *browser) receive() (m message, err error) {
	text, err := b.out.ReadBytes(0)
	if err != nil {
		return m, fmt.Errorf("the browser ended: %w", err)
	}
	err = json.Unmarshal(text[:len(text)-1], &m)
	b.loaded = b.loaded || m.Method == "Page.loadEventFired"
	return m, err
}
