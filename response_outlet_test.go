package aerys

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// testedProtocols are the ways in which a client talks to a server.
var testedProtocols = []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2", "HTTP/2 over TLS"}

// runProtocol runs a server that is asked over protocol, and returns its URL and
// a client for it.
func runProtocol(t *testing.T, protocol string, options Options, host *Host) (*testServer, string, *http.Client) {
	t.Helper()
	scheme := "http"
	if strings.HasSuffix(protocol, "TLS") {
		certFile, keyFile := writeCertificate(t, t.TempDir(), "localhost")
		host.Encrypt(certFile, keyFile)
		scheme = "https"
	}
	s := runServer(t, options, host.Expose("127.0.0.1", 0))
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols),
		DisableCompression: true, MaxIdleConnsPerHost: 100}
	transport.Protocols.SetHTTP1(strings.HasPrefix(protocol, "HTTP/1"))
	transport.Protocols.SetHTTP2(protocol == "HTTP/2 over TLS")
	transport.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2")
	t.Cleanup(transport.CloseIdleConnections)
	return s, scheme + "://" + s.addresses[0].String(), &http.Client{Transport: transport, Timeout: time.Minute}
}

// own posts to /?id= on many connections at once, and expects of each answer that
// its body, and each field of its header that begins with X-, are that id again
// and again, or that the body is that of another status.
func own(t *testing.T, client *http.Client, url string, clients, requests int, tail string, others map[int]string) {
	t.Helper()
	var group sync.WaitGroup
	for i := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := range requests {
				id := fmt.Sprintf("<%d.%d>", i, j)
				response, err := client.Post(url+"/?id="+id, "application/x-www-form-urlencoded", strings.NewReader("id="+id))
				if err != nil {
					t.Errorf("%s: %v", id, err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				other, ok := others[response.StatusCode]
				ok = ok && string(body) == other ||
					response.StatusCode == 200 && strings.ReplaceAll(strings.TrimSuffix(string(body), tail), id, "") == "" && len(body) > 0
				for name, values := range response.Header {
					ok = ok && (!strings.HasPrefix(name, "X-") || values[0] == id)
				}
				if !ok || err != nil {
					t.Errorf("%s was answered %d, %v, %.200q: %v", id, response.StatusCode, response.Header, body, err)
					return
				}
			}
		}()
	}
	group.Wait()
}

// impatient is middleware like http.TimeoutHandler, whose writer does not hide
// what it wraps.
func impatient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buffer := &bufferingWriter{ResponseWriter: w, header: make(http.Header), status: 200}
		done := make(chan struct{})
		go func() {
			defer close(done)
			next.ServeHTTP(buffer, r)
		}()
		select {
		case <-done:
			buffer.mu.Lock()
			defer buffer.mu.Unlock()
			for name, values := range buffer.header {
				w.Header()[name] = values
			}
			w.WriteHeader(buffer.status)
			w.Write(buffer.body.Bytes())
		case <-time.After(2 * time.Millisecond):
			w.WriteHeader(503)
			io.WriteString(w, "late")
		}
	})
}

type bufferingWriter struct {
	http.ResponseWriter
	mu     sync.Mutex
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *bufferingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *bufferingWriter) Header() http.Header         { return w.header }

func (w *bufferingWriter) FlushError() error { return http.ErrNotSupported }

func (w *bufferingWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *bufferingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.Write(p)
}

// TestAnswersOfTimeouts has middleware of net/http answer in the place of a
// handler that goes on in another goroutine, and writes what would be gathered
// or sent by the kernel: each answer is its own request's.
func TestAnswersOfTimeouts(t *testing.T) {
	file, content := randomFile(t, 20_000)
	slow := func(req *Request, res *Response) {
		id := req.Param("id")
		var delay time.Duration
		fmt.Sscanf(id, "<%d", &delay)
		time.Sleep(delay % 5 * time.Millisecond) // some before the timeout, some after it
		res.SetHeader("X-Id", id).SetHeader("Content-Type", "image/png")
		for range 3 {
			res.WriteString(strings.Repeat(id, 2000))
		}
		res.Flush()
		if delay%5 > 3 {
			res.ReadFrom(io.NewSectionReader(file, 0, 20_000))
		}
	}
	for _, protocol := range testedProtocols {
		for name, middleware := range map[string]func(http.Handler) http.Handler{
			"http.TimeoutHandler": func(next http.Handler) http.Handler {
				return http.TimeoutHandler(next, 2*time.Millisecond, "late")
			},
			"one that can be unwrapped": impatient,
		} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				_, url, client := runProtocol(t, protocol, Options{DisableCompression: true}, new(Host).Use(middleware, slow))
				own(t, client, url, 10, 15, string(content), map[int]string{503: "late"})
			})
		}
	}
}
