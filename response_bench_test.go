package aerys

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkHello compares a complete small response with what a plain handler
// of net/http costs, both on one keep-alive connection. Client and server run
// in this process; the client allocates nothing.
func BenchmarkHello(b *testing.B) {
	b.Run("net/http", func(b *testing.B) {
		benchmarkHello(b, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = helloType
			io.WriteString(w, "Hello, world!")
		})
	})
	b.Run("aerys", func(b *testing.B) {
		options := Options{}.withDefaults()
		benchmarkHello(b, func(w http.ResponseWriter, r *http.Request) {
			x := acquire(w, r, options)
			x.response.End("Hello, world!")
			x.finish()
			x.release()
		})
	})
}

var helloType = []string{"text/html; charset=utf-8"}

func benchmarkHello(b *testing.B, handler http.HandlerFunc) {
	server := httptest.NewServer(handler)
	defer server.Close()
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	request, answer := []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		client.Write(request)
		if _, err := client.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}
