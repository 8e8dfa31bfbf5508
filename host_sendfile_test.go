package aerys

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// randomFile returns an open file of that size, and what is in it.
func randomFile(t *testing.T, size int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(content)
	for i, c := range content {
		content[i] = 'a' + c%16
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	return file, content
}

// TestSectionsOfOneFile has many clients ask for parts of a file that is open
// once, some larger than a socket takes.
func TestSectionsOfOneFile(t *testing.T) {
	const size = 2 << 20
	file, content := randomFile(t, size)
	serve := func(req *Request, res *Response) {
		start, _ := strconv.ParseInt(req.Param("start"), 10, 64)
		length, _ := strconv.ParseInt(req.Param("length"), 10, 64)
		res.SetHeader("Content-Length", req.Param("length")).SetHeader("Content-Type", "image/png")
		var source io.ReaderAt = file
		if req.Param("from") == "memory" {
			source = bytes.NewReader(content)
		}
		section := io.NewSectionReader(source, start-1, length+1)
		section.Seek(1, io.SeekStart)
		if n, err := res.ReadFrom(section); n != length || err != nil {
			t.Errorf("%d bytes of %d: %v", n, length, err)
		}
	}
	socket := filepath.Join(t.TempDir(), "socket")
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(serve))
	var clients sync.WaitGroup
	for _, address := range s.addresses {
		for i, length := range []int{0, 1, 2048, 2049, 5000, 100_000, size - 40_000, size - 1} {
			for _, from := range []string{"file", "memory"} {
				clients.Add(1)
				conn := dial(t, address)
				conn.SetDeadline(time.Now().Add(time.Minute))
				go func() {
					defer clients.Done()
					start := 1 + i*4321%(size-length)
					if err := askTwice(conn, fmt.Sprintf("/?from=%s&start=%d&length=%d", from, start, length), content[start:][:length]); err != nil {
						t.Errorf("%v, %d bytes from %s: %v", address, length, from, err)
					}
				}()
			}
		}
	}
	clients.Wait()
}

// askTwice asks for a path twice on one connection.
func askTwice(conn net.Conn, path string, want []byte) error {
	reader := bufio.NewReader(conn)
	for range 2 {
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			return err
		}
		if body, err := io.ReadAll(response.Body); err != nil || !bytes.Equal(body, want) {
			return fmt.Errorf("a body of %d bytes, %v", len(body), err)
		}
	}
	return nil
}

// TestSectionElsewhere sends a section where the kernel cannot.
func TestSectionElsewhere(t *testing.T) {
	file, content := randomFile(t, 50_000)
	for _, test := range []struct {
		name    string
		prepare func(*Response)
	}{
		{"of unknown length", func(*Response) {}},
		{"filtered", func(r *Response) {
			r.Filter(func(w io.Writer) io.WriteCloser { return upper{w, nil} })
		}},
		{"streaming", func(r *Response) { r.Flush() }},
	} {
		server := serveExchange(t, Options{}, func(_ *Request, r *Response) {
			r.SetHeader("Content-Type", "image/png")
			test.prepare(r)
			if n, err := r.ReadFrom(io.NewSectionReader(file, 0, 50_000)); n != 50_000 || err != nil {
				t.Error(test.name, n, err)
			}
		})
		if _, body := server.get(t); !strings.EqualFold(body, string(content)) {
			t.Errorf("%s: a body of %d bytes", test.name, len(body))
		}
	}
}

// TestSectionThatEndsEarly sends a section of a file that is shorter.
func TestSectionThatEndsEarly(t *testing.T) {
	file, content := randomFile(t, 50_000)
	sent := make(chan int64, 1)
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(_ *Request, res *Response) {
		n, _ := res.SetHeader("Content-Length", "60000").ReadFrom(io.NewSectionReader(file, 0, 60_000))
		sent <- n
	}))
	answer := converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if n := <-sent; n != 50_000 || !strings.HasSuffix(answer, string(content)) {
		t.Errorf("%d bytes are said to be sent", n)
	}
}
