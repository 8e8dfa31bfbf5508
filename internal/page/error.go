// Package page renders what the server itself has to say.
package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strings"

	"aerys/internal/field"
)

// Error is an answer that says what went wrong.
type Error struct {
	Status  int
	Text    string        // one or two sentences; "" stands for that of the status
	Request *http.Request // shown, if it is set
	Stack   string        // shown, if it is set
}

// Type is the media type of pages.
const Type = "text/html; charset=utf-8"

// Media types of errors.
const (
	typeHTML    = Type
	typeText    = "text/plain; charset=utf-8"
	typeProblem = "application/problem+json"
)

// Render returns the error as the type that the lines of an Accept field prefer:
// a page, plain text, or a problem of RFC 9457.
func (e *Error) Render(accept []string) (contentType, body string) {
	if e.Text == "" {
		e.Text = Sentence(e.Status)
	}
	page := max(field.MediaWeight(accept, "text/html"), field.MediaWeight(accept, "application/xhtml+xml"))
	text := field.MediaWeight(accept, "text/plain")
	problem := max(field.MediaWeight(accept, "application/json"), field.MediaWeight(accept, typeProblem))
	switch {
	case problem > page && problem >= text:
		return typeProblem, e.problem()
	case text > page:
		return typeText, e.text()
	}
	return typeHTML, e.html()
}

// title is the status with its name.
func (e *Error) title() string {
	return strings.TrimSpace(fmt.Sprint(e.Status, " ", http.StatusText(e.Status)))
}

func (e *Error) problem() string {
	text, _ := json.Marshal(struct { // of what can always be encoded
		Title  string   `json:"title"`
		Status int      `json:"status"`
		Detail string   `json:"detail"`
		Stack  []string `json:"stack,omitempty"`
	}{http.StatusText(e.Status), e.Status, e.Text, strings.Split(e.Stack, "\n")[:strings.Count(e.Stack, "\n")]})
	return string(text) + "\n"
}

func (e *Error) text() string {
	parts := []string{e.title(), e.Text}
	if e.Request != nil {
		parts = append(parts, requestText(e.Request))
	}
	if e.Stack != "" {
		parts = append(parts, e.Stack)
	}
	return strings.TrimSpace(strings.Join(parts, "\n\n")) + "\n"
}

func (e *Error) html() string {
	page := "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=color-scheme content=\"light dark\">\n<title>" + e.title() + "</title>\n<style>\n" +
		"body { font: 1em/1.5 system-ui, sans-serif; margin: 10vh auto; max-width: 45em; padding: 0 1em; overflow-wrap: anywhere }\n" +
		"h1 { font-size: 1.5em; font-weight: 600 }\npre { font-size: .85em; white-space: pre-wrap }\n</style>\n" +
		"<h1>" + e.title() + "</h1>\n<p>" + html.EscapeString(e.Text) + "\n"
	if e.Request != nil {
		page += "<pre>" + html.EscapeString(requestText(e.Request)) + "</pre>\n"
	}
	if e.Stack != "" {
		page += "<pre>" + html.EscapeString(e.Stack) + "</pre>\n"
	}
	return page
}

// requestText is a request as it was sent, but for its body.
func requestText(r *http.Request) string {
	text := fmt.Sprintf("%s %s %s\nHost: %s", r.Method, r.RequestURI, r.Proto, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			text += "\n" + name + ": " + value
		}
	}
	return text
}

// UserStack is what debug.Stack has returned in a deferred function, from the
// function that panicked on.
func UserStack(stack []byte) []byte {
	lines := bytes.SplitAfter(stack, []byte("\n"))
	panicked := false
	for i := 1; i+1 < len(lines); i += 2 { // a function, and where it is
		if !panicked {
			panicked = bytes.HasPrefix(lines[i], []byte("panic("))
		} else if !bytes.HasPrefix(lines[i], []byte("runtime.")) {
			return bytes.Join(lines[i:], nil)
		}
	}
	return stack
}

// Sentence says what a status means to who has sent the request.
func Sentence(status int) string {
	if sentence, ok := sentences[status]; ok {
		return sentence
	}
	if status >= 500 {
		return "The server cannot answer this request."
	}
	return "The server does not accept this request."
}

var sentences = map[int]string{
	400: "The server does not understand this request.",
	401: "This needs you to log in.",
	403: "You may not see this.",
	404: "There is nothing at this address.",
	405: "What is at this address does not take requests of this kind.",
	406: "This is not available in a form that your program accepts.",
	408: "The request took too long to arrive.",
	409: "This is not possible as things are now.",
	410: "What was at this address is gone.",
	411: "The request has to say how long it is.",
	412: "This has been changed meanwhile.",
	413: "The request is too large.",
	414: "The address is too long.",
	415: "The request has content of a type that is not taken here.",
	417: "The server cannot do what the request expects of it.",
	421: "This host wants a connection of its own.",
	422: "What was sent makes no sense here.",
	426: "This needs another protocol.",
	429: "These are too many requests: try again later.",
	431: "The header of the request is too large.",
	500: "Something went wrong on the server.",
	501: "The server does not know requests of this kind.",
	502: "A server behind this one gave no valid answer.",
	503: "The server cannot do this at the moment: try again later.",
	504: "It took too long to find the answer.",
	505: "The server does not speak this version of HTTP.",
}
