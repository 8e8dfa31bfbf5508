package http1

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// What a response puts on the wire (RFC 9112 §4 to §7): beginHead when its status
// is known, endHead with the first of its body, sendBody for that, finish.

// fields is what a handler's header says about the response itself.
type fields struct {
	contentType bool
	length      bool // Content-Length, be it valid or not
	coded       bool // Content-Encoding: it is not to be sniffed
	date        bool
	trailer     bool // some are announced
	chunked     bool
	lengthText  string
	coding      string // Transfer-Encoding; identity means neither chunks nor a length
	connection  []string
}

// measured reports whether a complete body gets a Content-Length.
func (f *fields) measured() bool { return !f.length && !f.trailer && f.coding == "" }

// sniffed reports whether a body's Content-Type is guessed.
func (f *fields) sniffed() bool { return !f.contentType && !f.coded && f.coding == "" }

// transfers reports whether there is a transfer coding, which overrules a
// length.
func (f *fields) transfers() bool { return f.coding != "" && f.coding != "identity" }

// bodyAllowed reports whether a response may have a body (RFC 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// beginHead writes the status line and the handler's fields, as they are now:
// what it does to them later has no effect. Connection waits until it is known
// what becomes of the connection. output.mu is held.
func (w *response) beginHead(status int) {
	w.status = status
	c := w.conn
	c.out = appendStatus(c.room(), w.old, status)
	if len(w.header) == 0 {
		return
	}
	space := sorters.Get().(*[16]fieldLines)
	all := inOrder(space[:0], w.header)
	for i := range all {
		w.note(all[i].name, all[i].values)
	}
	w.readLength()
	for i := range all {
		if !w.withheld(all[i].name) {
			c.out = all[i].append(c.out)
		}
	}
	clear(space[:min(len(all), len(space))])
	sorters.Put(space)
}

// sorters are where fields are put in order: not on the stack, which would then
// be twice as large for as long as the handler runs.
var sorters = sync.Pool{New: func() any { return new([16]fieldLines) }}

// note takes from a field what it says about the response itself. As in
// net/http, only the first line of a field counts, but for lists.
func (w *response) note(name string, values []string) {
	f := &w.fields
	line := first(values)
	switch name {
	case "Content-Type":
		f.contentType = true
	case "Content-Length":
		f.length = true
		f.lengthText = line
	case "Content-Encoding":
		f.coded = line != ""
	case "Date":
		f.date = true
	case "Transfer-Encoding":
		f.coding = line
	case "Connection":
		f.connection = slices.Clone(values)
		for _, v := range values {
			if hasToken(v, "close") {
				w.facts |= responseCloses
			}
		}
	case "Trailer":
		f.trailer = true
		w.readTrailers(values)
	default:
		f.trailer = f.trailer || strings.HasPrefix(name, http.TrailerPrefix)
	}
}

func (w *response) readLength() {
	text := w.fields.lengthText
	if text == "" {
		return
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		w.conn.server.ErrorLog.Printf("http: invalid Content-Length of %q", text)
		return
	}
	w.length = int64(n)
	if w.fields.transfers() {
		w.conn.server.ErrorLog.Printf("http: WriteHeader called with both Transfer-Encoding of %q and a Content-Length of %d", w.fields.coding, n)
	}
}

// readTrailers notes which fields the handler will set.
func (w *response) readTrailers(values []string) {
	for _, names := range values {
		for name := range strings.SplitSeq(names, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			if name != "" && mayTrail(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
}

// mayTrail reports whether a field may be sent as a trailer (RFC 9110 §6.5.1).
func mayTrail(name string) bool {
	switch name {
	case "Authorization", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Range",
		"Content-Type", "Expect", "Host", "Keep-Alive", "Max-Forwards", "Pragma", "Proxy-Authenticate",
		"Proxy-Authorization", "Proxy-Connection", "Range", "Realm", "Te", "Trailer", "Transfer-Encoding",
		"Www-Authenticate":
		return false
	}
	return !strings.HasPrefix(name, "If-")
}

// withheld reports whether a field of the handler's is not sent, or not yet.
func (w *response) withheld(name string) bool {
	switch name {
	case "Connection":
		return true
	case "Content-Length":
		return w.length < 0 || w.fields.transfers() || !bodyAllowed(w.status)
	case "Transfer-Encoding":
		plain := w.method == http.MethodHead || w.old || !bodyAllowed(w.status)
		return plain || w.fields.coding == "identity" || w.fields.coding == "chunked"
	case "Content-Type":
		return w.status == http.StatusNotModified
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// endHead decides what is left to decide, when the first bytes of the body are
// known, and all of them if the handler has returned. output.mu is held.
func (w *response) endHead(first []byte) {
	w.headLeft = true
	c, head := w.conn, w.method == http.MethodHead
	allowed := bodyAllowed(w.status)
	c.out = c.room()
	if !w.fields.date {
		c.append(c.server.date())
	}
	if w.done && allowed && w.length < 0 && w.fields.measured() && (!head || len(first) > 0) {
		w.length = int64(len(first))
		c.append("Content-Length: ")
		c.out = strconv.AppendInt(c.out, w.length, 10)
		c.append("\r\n")
	}
	w.frame(head || !allowed)
	if allowed && len(first) > 0 && w.fields.sniffed() {
		c.append("Content-Type: ")
		c.append(http.DetectContentType(first))
		c.append("\r\n")
	}
	w.persist()
	if w.fields.chunked {
		c.append("Transfer-Encoding: chunked\r\n")
	}
	c.appendEnd("\r\n")
}

// frame decides how the response ends (RFC 9112 §6.3).
func (w *response) frame(bodyless bool) {
	switch {
	case bodyless || w.length >= 0 && !w.fields.transfers():
	case w.old || w.fields.coding == "identity":
		w.facts |= undelimited
	default:
		w.fields.chunked = true
	}
}

// persist says what becomes of the connection (RFC 9112 §9.3).
func (w *response) persist() {
	c := w.conn
	if c.server.last(int(c.requests)) {
		w.facts |= lastRequest
	}
	if w.facts.fate() == keep {
		w.facts |= w.body.settle(w.done)
	}
	closes := w.facts.fate() != keep
	switch {
	case closes && w.facts&responseCloses == 0 && w.status != http.StatusSwitchingProtocols:
		if !w.old {
			c.append("Connection: close\r\n")
		}
	case len(w.fields.connection) > 0:
		for _, v := range w.fields.connection {
			c.out = appendField(c.out, "Connection", v)
		}
	case w.old && !closes:
		c.append("Connection: keep-alive\r\n")
	}
}

// appendStatus appends a status line (RFC 9112 §4).
func appendStatus(out []byte, old bool, status int) []byte {
	version, text := "HTTP/1.1 ", http.StatusText(status)
	if old {
		version = "HTTP/1.0 "
	}
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	out = append(out, version...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	out = append(out, text...)
	return append(out, "\r\n"...)
}

// fieldLines are the lines of a field.
type fieldLines struct {
	name   string
	values []string
}

// append appends them.
func (f *fieldLines) append(out []byte) []byte {
	for _, v := range f.values {
		out = appendField(out, f.name, v)
	}
	return out
}

// inOrder appends the fields of a header in the order of their names, but for
// those whose name is none.
func inOrder(all []fieldLines, h http.Header) []fieldLines {
	for name, values := range h {
		if isToken(name) || strings.HasPrefix(name, http.TrailerPrefix) {
			all = append(all, fieldLines{name, values})
		}
	}
	sortFields(all)
	return all
}

func sortFields(all []fieldLines) {
	if len(all) > 1 {
		slices.SortStableFunc(all, func(a, b fieldLines) int { return strings.Compare(a.name, b.name) })
	}
}

// appendField appends a field line. A line end in its value would be another
// field: it becomes a space.
func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	value = textproto.TrimString(value)
	begin := len(out)
	out = append(out, value...)
	for i, c := range out[begin:] {
		if c == '\r' || c == '\n' {
			out[begin+i] = ' '
		}
	}
	return append(out, "\r\n"...)
}

// sendBody frames bytes of the body. output.mu is held.
func (w *response) sendBody(p []byte) error {
	c := w.conn
	switch {
	case len(p) == 0 || w.method == http.MethodHead || !bodyAllowed(w.status):
		return c.err
	case !w.fields.chunked:
		return c.send(p)
	}
	if len(c.out) > bufferSize-chunkLine {
		c.flushReady()
	}
	c.out = strconv.AppendInt(c.room(), int64(len(p)), 16)
	c.append("\r\n")
	if err := c.send(p); err != nil {
		return err
	}
	c.appendEnd("\r\n")
	return nil
}

// chunkLine is room for a chunk's first line and the end of its data.
const chunkLine = 20

// finish is the end of the response. It returns all that decides about the
// connection, as far as it is known here.
func (w *response) finish(returned bool) fact {
	c := w.conn
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	w.done = true
	switch {
	case w.facts&takenOver != 0:
	case returned:
		w.complete()
	default:
		w.facts |= aborted
		c.out = c.out[:c.ready]
	}
	w.ungather()
	if c.err != nil {
		w.facts |= writeFailed
	}
	c.endWatch(w, true)
	return w.facts
}

// complete sends what is left of a response. output.mu is held.
func (w *response) complete() {
	w.admit(0)
	w.flushBody()
	c := w.conn
	if w.fields.chunked && c.err == nil {
		c.append("0\r\n")
		for _, field := range w.finalTrailers() {
			c.out = field.append(c.out)
		}
		c.appendEnd("\r\n")
	}
	if w.length >= 0 && w.written != w.length && w.method != http.MethodHead && bodyAllowed(w.status) {
		w.facts |= truncated
	}
}

// finalTrailers are those announced, and those that the handler has named with
// http.TrailerPrefix.
func (w *response) finalTrailers() (all []fieldLines) {
	for name, values := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isToken(name) {
			all = append(all, fieldLines{name, values})
		}
	}
	for _, name := range w.trailers {
		if isToken(name) {
			all = append(all, fieldLines{name, w.header[name]})
		}
	}
	sortFields(all)
	return all
}
