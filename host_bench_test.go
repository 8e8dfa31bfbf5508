package aerys

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// BenchmarkServer is one keep-alive connection that asks for a small answer,
// by net/http alone and through a Server.
func BenchmarkServer(b *testing.B) {
	plain := &http.Server{ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{"text/html; charset=utf-8"}
			io.WriteString(w, "hello")
		})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go plain.Serve(l)
	defer plain.Close()
	b.Run("net/http", func(b *testing.B) { benchmarkRequests(b, l.Addr()) })

	ctx, cancel := context.WithCancel(context.Background())
	ready, stopped := make(chan net.Addr), make(chan struct{})
	server := &Server{Hosts: []*Host{local("hello")}, Ready: func(addresses []net.Addr) { ready <- addresses[0] }}
	server.Options.MaxRequestsPerConnection = -1
	go func() {
		server.Serve(ctx)
		close(stopped)
	}()
	address := <-ready
	b.Run("aerys", func(b *testing.B) { benchmarkRequests(b, address) })
	cancel()
	<-stopped
}

func benchmarkRequests(b *testing.B, address net.Addr) {
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		conn.Write(request)
		for { // up to the empty line, and the body
			line, err := reader.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		reader.Discard(len("hello"))
	}
}
