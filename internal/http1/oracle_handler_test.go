package http1

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// obey is the handler: each letter of the query's o is something to do.
func obey(w http.ResponseWriter, r *http.Request) {
	t := traceOf(r)
	t.running.Add(1)
	defer t.running.Done()
	t.mu.Lock()
	t.methods = append(t.methods, r.Method)
	t.mu.Unlock()
	t.add("request %s %q %s %q %s close=%v length=%d coding=%v trailer=%v", r.Method, r.RequestURI, r.URL, r.Host, r.Proto, r.Close, r.ContentLength, r.TransferEncoding, r.Trailer)
	for _, name := range sorted(r.Header) {
		t.add("  %s: %q", name, r.Header[name])
	}
	h := w.Header()
	hijacked, broken := false, false
	for _, op := range r.URL.Query().Get("o") {
		if hijacked && !strings.ContainsRune("w4j", op) {
			continue // net/http panics
		}
		if broken && strings.ContainsRune("rh", op) {
			continue // net/http says EOF, the second time
		}
		hijacked = hijacked || op == 'j'
		if !setFields(op, h) && !bodies(op, w, r, t) {
			statuses(op, w, r, t)
		}
		broken = broken || t.broken()
	}
	if strings.Contains(r.URL.RawQuery, "c") {
		t.add("  done") // net/http reads a body, and its trailers, when it is closed
		return
	}
	t.add("  done trailer=%v", r.Trailer)
}

func setFields(op rune, h http.Header) bool {
	switch op {
	case 'l':
		h.Set("Content-Length", "5")
	case 'L':
		h.Set("Content-Length", "3000")
	case 'x':
		h.Set("Content-Length", "x")
	case 'k':
		h.Set("Connection", "close")
	case 'K':
		h.Set("Connection", "keep-alive")
	case 'u':
		h.Set("Connection", "upgrade")
		h.Set("Upgrade", "x")
	case 't':
		h.Set("Trailer", "X-T, If-Match, Te")
	case 'T':
		h.Set("X-T", "late")
	case 'p':
		h.Set(http.TrailerPrefix+"X-P", "late")
	case 'i':
		h.Set("Transfer-Encoding", "identity")
	case 'I':
		h.Set("Transfer-Encoding", "chunked")
	case 'g':
		h.Set("Transfer-Encoding", "gzip")
	case 'C':
		h.Set("Content-Type", "text/x")
	case 'e':
		h.Set("Content-Encoding", "e")
	case 'D':
		h.Set("Date", "today")
	case 'y':
		h.Add("X-Y", "a\r\nb: c")
		h["bad name"] = []string{"v"}
	default:
		return false
	}
	return true
}

func bodies(op rune, w http.ResponseWriter, r *http.Request, t *trace) bool {
	switch op {
	case 'r':
		b, err := io.ReadAll(r.Body)
		t.add("  read %q %s", b, class(err))
	case 'h':
		p := make([]byte, 3)
		n, err := io.ReadFull(r.Body, p)
		if err == io.ErrUnexpectedEOF {
			_, err = r.Body.Read(p)
		}
		t.add("  half %q %s", p[:n], class(err))
	case 'c':
		r.Body.Close()
	case 'n':
		r.Body = io.NopCloser(strings.NewReader("other"))
	case 'd':
		http.NewResponseController(w).EnableFullDuplex()
	case 'F':
		n, err := io.Copy(w, strings.NewReader(strings.Repeat("file ", 400)))
		t.add("  copied %d %s", n, class(err))
	case 'S':
		n, err := io.WriteString(w, strings.Repeat("string ", 300))
		t.add("  string %d %s", n, class(err))
	default:
		size, ok := map[rune]int{'w': 5, 'm': 1000, 'W': 3000, 'b': 70000, 'o': 0, 'q': 2048}[op]
		if !ok {
			return false
		}
		n, err := w.Write(bytes.Repeat([]byte("h"), size))
		t.add("  wrote %d %s", n, class(err))
	}
	return true
}

func statuses(op rune, w http.ResponseWriter, r *http.Request, t *trace) {
	switch op {
	case 'f':
		w.(http.Flusher).Flush()
	case '1':
		w.Header().Set("Link", "x")
		w.WriteHeader(103)
	case '0':
		w.WriteHeader(100)
	case '2':
		w.WriteHeader(204)
	case '3':
		w.WriteHeader(304)
	case '4':
		w.WriteHeader(404)
	case '5':
		w.WriteHeader(205)
	case '7':
		w.WriteHeader(799)
	case '8':
		if r.ContentLength == 0 { // else net/http's may say 100 after that
			w.WriteHeader(101)
		}
	case 'z':
		panic(http.ErrAbortHandler)
	case 'j':
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.add("  hijack %s", class(err))
			return
		}
		rest, err := io.ReadAll(rw)
		t.add("  hijacked %q %s", rest, class(err))
		io.WriteString(conn, "hijacked")
		conn.Close()
	}
}
