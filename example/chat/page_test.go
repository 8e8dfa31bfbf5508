package main

import (
	"os"
	"path/filepath"
	"testing"

	"aerys/example/internal/browser"
	"aerys/ws"
)

// Ann and Bob have a window each. AERYS_SCREENSHOTS is where pictures of them go.
func TestTwoWindows(t *testing.T) {
	c, visitors := serve(t)
	b := browser.Start(t)
	ann, bob := b.Tab(), b.Tab()
	ann.Visit(visitors().server)
	ann.Shows("#login", "call you")
	pictures(t, ann, "login")
	for tab, name := range map[*browser.Tab]string{ann: "Ann", bob: "Bob"} {
		tab.Visit(visitors().server)
		tab.Type("#login input", name)
		tab.Shows(".state.open", name)
	}
	ann.Type("#say input", "Is it <b>you</b>?")
	bob.Shows("#said li", "Is it <b>you</b>?")
	bob.Type("#say input", "It is I.")
	ann.Shows("#said li:not(.mine)", "It is I.")
	ann.Shows("#people", "AnnBob")
	pictures(t, ann, "chat")

	bob.Click("nav a[href='#kitchen']")
	bob.Shows("nav [aria-current]", "kitchen")
	bob.Shows("#people", "Bob")
	gone(ann, "#people", "Bob")

	ann.Run(`window.before = socket`)
	for id := range c.endpoint.Clients() { // as a restart would
		c.endpoint.Close(id, ws.CodeServiceRestart, "")
	}
	ann.Run(`new Promise(back => {
		const look = () => socket !== window.before && socket.readyState === WebSocket.OPEN ? back() : setTimeout(look, 20);
		look();
	})`)
	ann.Type("#say input", "Here again.")
	ann.Shows("#said li:nth-child(3)", "Here again.") // after what was there: nothing twice
	for range 9 {
		ann.Type("#say input", "and")
	}
	ann.Shows("#say .notice", "Not so fast")

	ann.Click("#leave")
	ann.Shows("#login", "call you")
	bob.Run("hangUp()") // or the server waits for him
}

// gone waits until what a selector finds has a text no longer.
func gone(tab *browser.Tab, selector, text string) {
	tab.Run(`new Promise(resolve => {
		const e = document.querySelector("` + selector + `"), look = () => { if (!e.textContent.includes("` + text + `")) resolve() };
		new MutationObserver(look).observe(e, {subtree: true, childList: true});
		look();
	})`)
}

// pictures are for who wants to see whether the page is one that is liked.
func pictures(t *testing.T, tab *browser.Tab, name string) {
	dir := os.Getenv("AERYS_SCREENSHOTS")
	if dir == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		tab.Prefers(scheme)
		tab.Size(1180, 720)
		tab.Screenshot(filepath.Join(dir, name+"-"+scheme+".png"))
		tab.Size(390, 720)
		tab.Screenshot(filepath.Join(dir, name+"-"+scheme+"-phone.png"))
	}
	tab.Prefers("light")
	tab.Size(1180, 1020)
}
