package http1

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestPipeliningThatNobodyReads sends requests, whose answers are more than sockets
// take, and reads nothing until the server has stopped: what it holds then is
// bounded, and afterwards every request is answered, in order.
func TestPipeliningThatNobodyReads(t *testing.T) {
	const requests, size = 100_000, 500
	var served atomic.Int64
	on(t, kinds[:1], func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		w.Header().Set("X-Path", r.URL.Path)
		w.Write(make([]byte, size))
	}, func(t *testing.T, r *rig) {
		served.Store(0)
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		c := r.dial(t)
		go func() {
			batch := strings.Repeat("GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 1000)
			for range requests / 1000 {
				if _, err := io.WriteString(c.Conn, batch); err != nil {
					return
				}
			}
		}()
		last := int64(-1)
		for ; last != served.Load() || last == 0; time.Sleep(100 * time.Millisecond) {
			last = served.Load()
		}
		if last >= requests {
			t.Error("all of it fits on the way")
		}
		var after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
			t.Errorf("%d bytes more", grown)
		}
		c.SetDeadline(time.Now().Add(3 * patient))
		one, _ := c.answer()
		rest, err := io.CopyN(io.Discard, c.Reader, (requests-1)*sizeOf(one, size))
		if err != nil {
			t.Error(rest, err)
		}
		c.send("GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
		if end, _ := c.answer(); end.Header.Get("X-Path") != "/end" || served.Load() != requests+1 {
			t.Error(end.Header, served.Load())
		}
	})
}

// sizeOf is how many bytes a response took.
func sizeOf(r *http.Response, body int) int64 {
	size := len("HTTP/1.1 200 OK\r\n\r\n") + body
	for name, values := range r.Header {
		size += len(name) + len(": ") + len(values[0]) + len("\r\n")
	}
	return int64(size)
}

// TestUpgradeThroughProxy: a ReverseProxy hijacks the connection, and its
// backend, which is the same server, another one.
func TestUpgradeThroughProxy(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/backend") {
			backend := &url.URL{Scheme: "http", Host: r.Context().Value(http.LocalAddrContextKey).(net.Addr).String(), Path: "/backend"}
			if r.TLS != nil {
				backend.Scheme = "https"
			}
			proxy := httputil.NewSingleHostReverseProxy(backend)
			proxy.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			proxy.ServeHTTP(w, r)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		rw.Flush()
		io.Copy(conn, rw)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil || response.StatusCode != 101 {
			t.Fatal(response, err)
		}
		for range 3 {
			c.send("frame\n")
			if line, _ := c.ReadString('\n'); line != "frame\n" {
				t.Errorf("%q", line)
			}
		}
		c.Close()
	})
}

// TestReaderThatOutlivesTheHandler reads a body, of which nothing comes, in
// another goroutine: the response leaves all the same, and what the client
// sends after it is no request.
func TestReaderThatOutlivesTheHandler(t *testing.T) {
	read := make(chan string, 1)
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		begun := make(chan struct{})
		go func() {
			close(begun)
			p := make([]byte, 100)
			n, _ := r.Body.Read(p)
			read <- string(p[:n])
		}()
		<-begun
		io.WriteString(w, "answer")
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
		c.want(200, "answer")
		c.send("bodyGET / HTTP/1.1\r\nHost: h\r\n\r\n")
		c.want(200, "answer")
		if got := before(t, read, "the read"); got != "body" && got != "" {
			t.Errorf("%q", got)
		}
		<-read
	})
}

// TestHijackInterruptsReaders: the hijacker gets what they have not read.
func TestHijackInterruptsReaders(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		failed := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(r.Body)
			failed <- err
		}()
		time.Sleep(10 * time.Millisecond) // it waits, most likely; whether it does makes no difference
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if err := before(t, failed, "an error"); err != http.ErrBodyReadAfterClose && !os.IsTimeout(err) {
			t.Error(err)
		}
		rw.WriteString("mine\n")
		rw.Flush()
		io.Copy(conn, rw)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
		if line, _ := c.ReadString('\n'); line != "mine\n" {
			t.Errorf("%q", line)
		}
		c.send("frame\n")
		if line, _ := c.ReadString('\n'); line != "frame\n" {
			t.Errorf("%q", line)
		}
	})
}

// TestCloseLeavesWhatWasTakenOver: the loop neither waits for it nor ends it, even
// while the handler that has hijacked still runs.
func TestCloseLeavesWhatWasTakenOver(t *testing.T) {
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		rw.WriteString("mine\n")
		rw.Flush()
		io.Copy(conn, rw)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send(hello)
		if line, _ := c.ReadString('\n'); line != "mine\n" {
			t.Errorf("%q", line)
		}
		done := make(chan struct{})
		go func() {
			r.loop.Close(2 * patient)
			close(done)
		}()
		before(t, done, "the end")
		c.send("frame\n")
		if line, _ := c.ReadString('\n'); line != "frame\n" {
			t.Errorf("%q", line)
		}
		c.Close()
	})
}

func TestCloseNotify(t *testing.T) {
	notified := make(chan bool, 1)
	begun := make(chan struct{})
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		left := w.(http.CloseNotifier).CloseNotify() //lint:ignore SA1019 it is served
		begun <- struct{}{}
		notified <- <-left
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		c.send(hello)
		<-begun
		c.Close()
		before(t, notified, "a notification")
	})
}

// TestLateClientsAreClosed turns the loop's clock.
func TestLateClientsAreClosed(t *testing.T) {
	onEach(t, greet, func(t *testing.T, r *rig) {
		r.HeaderTimeout, r.IdleTimeout = 10*time.Second, 75*time.Second
		silent, half, kept := r.dial(t), r.dial(t), r.dial(t)
		half.send(hello[:10])
		kept.send(hello)
		kept.want(200, "Hello, World!")
		eventually(t, "all have begun", func() bool { return r.counts.admitted.Load() == 3 })
		r.pass(80)
		for _, c := range []client{silent, half, kept} {
			if rest := c.end(); rest != "" {
				t.Errorf("%q", rest)
			}
		}
	})
}

// TestAnswerOutlivesItsConnection: a client that is refused while it sends gets
// the answer, and not a reset.
func TestAnswerOutlivesItsConnection(t *testing.T) {
	endsOneHalf := slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return k.name == "net.Conn" })
	on(t, endsOneHalf, greet, func(t *testing.T, r *rig) {
		r.MaxHeaderBytes = 1000
		for range 20 {
			c := r.dial(t)
			c.send("GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 100_000) + "\r\n\r\n")
			response, _ := c.answer()
			if response.StatusCode != 431 || !response.Close {
				t.Error(response.Status)
			}
		}
	})
}
