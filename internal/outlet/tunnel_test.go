package outlet

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestTunnel carries bytes both ways over a stream of HTTP/2, and refuses what comes
// when its handler has returned: net/http would panic.
func TestTunnel(t *testing.T) {
	over := make(chan *Tunnel, 1)
	body, response := through(t, func(w http.ResponseWriter, r *http.Request) {
		tunnel := Dig(w, r)
		o := &Outlet{Tunnel: tunnel}
		o.Open(w, errOver)
		o.Fields.Set("X-Agreed", "yes")
		d, err := o.Detach()
		if err != nil {
			t.Error(err)
			return
		}
		d.Stay(func() {
			tunnel.Flush()
			io.Copy(d.Conn, d.Conn)
		})
		tunnel.Stay()
		over <- tunnel
	})
	if response.StatusCode != 200 || response.Header.Get("X-Agreed") != "yes" || response.Header["Content-Type"] != nil {
		t.Errorf("%s %v", response.Status, response.Header)
	}
	for _, text := range []string{"hello", "again"} {
		io.WriteString(body, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	body.Close()
	if rest, err := io.ReadAll(response.Body); len(rest) > 0 || err != nil {
		t.Errorf("behind the end: %q, %v", rest, err)
	}
	tunnel := <-over
	_, write := tunnel.Write([]byte("late"))
	for _, err := range []error{write, tunnel.Flush(), tunnel.SetDeadline(time.Now()), tunnel.Close()} {
		if err != net.ErrClosed {
			t.Errorf("late: %v", err)
		}
	}
}

var errOver = errors.New("over")

// TestTunnelWithoutStreams: what is no stream of HTTP/2, or hides it, is not accepted.
func TestTunnelWithoutStreams(t *testing.T) {
	r := httptest.NewRequest(http.MethodConnect, "/", http.NoBody)
	o := &Outlet{Tunnel: Dig(httptest.NewRecorder(), r)}
	o.Open(httptest.NewRecorder(), errOver)
	if _, err := o.Detach(); !errors.Is(err, http.ErrNotSupported) {
		t.Error(err)
	}
	o.Tunnel.Stay() // at once
}

// TestTunnelCutsOffAWrite: a write that nobody takes ends when the tunnel is closed.
func TestTunnelCutsOffAWrite(t *testing.T) {
	failed := make(chan error, 1)
	body, _ := through(t, func(w http.ResponseWriter, r *http.Request) {
		tunnel := Dig(w, r)
		d, err := tunnel.accept(nil)
		if err != nil {
			t.Error(err)
			return
		}
		writing := make(chan bool)
		d.Stay(func() {
			tunnel.Flush()
			go func() {
				close(writing)
				_, err := d.Conn.Write(make([]byte, 64<<20))
				failed <- err
			}()
			<-writing
			for tunnel.writing.TryLock() { // until it is under way
				tunnel.writing.Unlock()
			}
		})
		tunnel.Stay()
	})
	defer body.Close()
	if err := <-failed; err == nil {
		t.Error("written")
	}
}

// through has a handler answer a request over HTTP/2 whose body goes on.
func through(t *testing.T, handler http.HandlerFunc) (*io.PipeWriter, *http.Response) {
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	read, write := io.Pipe()
	r, err := http.NewRequest(http.MethodPost, server.URL, read)
	if err != nil {
		t.Fatal(err)
	}
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return write, response
}
