package page

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"strings"
	"sync"
)

//go:embed monitor.html
var monitorPage string

// Monitor returns a page that draws a server's state, of which its own address
// sends it JSON by server-sent events, and a Content-Security-Policy by which
// nothing else of it runs nor is loaded.
var Monitor = sync.OnceValues(func() (html, policy string) {
	return monitorPage, "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; style-src " + hashOf("style") + "; script-src " + hashOf("script")
})

// hashOf returns that of an element of the page, as policies have it (CSP Level 3
// §2.3.1).
func hashOf(element string) string {
	_, content, _ := strings.Cut(monitorPage, "<"+element+">")
	content, _, _ = strings.Cut(content, "</"+element+">")
	hash := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'"
}
