// Package page renders what the server itself has to say.
package page

import (
	"fmt"
	"html"
	"net/http"
)

// Type is the media type of pages.
const Type = "text/html; charset=utf-8"

// Error is a page about a status, with a detail that is shown as it is, if there
// is one.
func Error(status int, detail string) string {
	title := fmt.Sprint(status, " ", http.StatusText(status))
	page := "<!DOCTYPE html>\n<meta name=viewport content=width=device-width>\n<title>" + title + "</title>\n" +
		"<style>body { font: 1em/1.5 sans-serif; margin: 10vh auto; max-width: 50em; padding: 0 1em }" +
		" pre { overflow: auto }</style>\n<h1>" + title + "</h1>\n"
	if detail != "" {
		page += "<pre>" + html.EscapeString(detail) + "</pre>\n"
	}
	return page
}
