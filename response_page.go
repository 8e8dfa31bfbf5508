package aerys

import (
	"fmt"
	"html"
	"net/http"
	"strings"

	"aerys/internal/field"
)

// finish completes what the actions left: a started response is ended, a status
// that was set is sent with an empty body, a body that was too large is
// answered with 413, and all else with 404.
func (x *exchange) finish() {
	r := &x.response
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state == Ended:
	case r.state != None || r.status != 0 || r.fault != nil:
		r.end("")
	case x.request.input.refused():
		r.sendPage(http.StatusRequestEntityTooLarge, "")
	default:
		r.sendPage(http.StatusNotFound, "")
	}
	if r.streamed || r.trailers {
		r.out.sendTrailers()
	}
}

// close makes the response one that is over, and whose writer is another's.
func (x *exchange) close() {
	r := &x.response
	r.mu.Lock()
	r.over, r.state = true, Ended
	r.body, r.filters, r.stages, r.sink = nil, nil, nil, nil
	r.mu.Unlock()
	r.out.shut()
}

// fail answers 500 for a panic, which it shows in debug mode. It reports false
// when some of the response is on the wire: the connection is then to be
// aborted, so that the client does not take it for complete.
func (x *exchange) fail(cause any, stack []byte) bool {
	r := &x.response
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handshake {
		r.handshake, r.state = false, Started
	}
	if r.state == Started || r.state == None {
		r.sendPage(http.StatusInternalServerError, fmt.Sprintf("%v\n\n%s", cause, stack))
	}
	return r.state == Ended
}

// page sends a page about status in the place of whatever was held back.
func (r *Response) page(status int) {
	if r.enter() {
		defer r.leave()
		r.sendPage(status, "")
	}
}

// sendPage is page with detail in debug mode.
func (r *Response) sendPage(status int, detail string) {
	if !r.options().Debug {
		detail = ""
	}
	dropRepresentation(r.out.header)
	r.out.hold(nil)
	r.body, r.filters, r.stages, r.fault = nil, nil, nil, nil
	r.status = status
	r.out.header["Content-Type"] = r.values("text/html; charset=utf-8")
	r.complete(errorPage(status, detail))
}

// dropRepresentation deletes the fields that describe a body other than the one
// that is sent, and those that cannot be sent.
func dropRepresentation(header http.Header) {
	for name, values := range header {
		switch name {
		case "Etag", "Last-Modified", "Cache-Control", "Expires", "Accept-Ranges", "Trailer":
			delete(header, name)
		}
		if strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") || !field.IsToken(name) {
			delete(header, name)
		}
		for _, value := range values {
			if !field.ValidValue(value) {
				delete(header, name)
			}
		}
	}
}

func errorPage(status int, detail string) string {
	title := fmt.Sprint(status, " ", http.StatusText(status))
	page := "<!DOCTYPE html>\n<meta name=viewport content=width=device-width>\n<title>" + title + "</title>\n" +
		"<style>body { font: 1em/1.5 sans-serif; margin: 10vh auto; max-width: 50em; padding: 0 1em }" +
		" pre { overflow: auto }</style>\n<h1>" + title + "</h1>\n"
	if detail != "" {
		page += "<pre>" + html.EscapeString(detail) + "</pre>\n"
	}
	return page
}
