package spec

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"aerys"
)

func TestFilesAreSentByTheKernel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789", 100_000)
	os.WriteFile(name, []byte(content), 0o600)
	socket := filepath.Join(t.TempDir(), "s")
	s := run(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(func(_ *aerys.Request, res *aerys.Response) {
		file, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		res.SetHeader("Content-Length", fmt.Sprint(len(content)))
		io.Copy(res, file)
	}))
	for _, address := range s.addresses {
		if _, body := statusAndBody(t, converse(t, address, request("a", "/"))); body != content {
			t.Errorf("%v: %d bytes", address, len(body))
		}
	}
	if sent := s.connections().Sent; sent < int64(2*len(content)) {
		t.Errorf("%d bytes counted", sent)
	}
}

// TestSectionsOfOneFile has many clients ask for parts of a file that is open
// once, some larger than a socket takes.
func TestSectionsOfOneFile(t *testing.T) {
	const size = 2 << 20
	file, content := randomFile(t, size)
	serve := func(req *aerys.Request, res *aerys.Response) {
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
	s := run(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Expose(socket, 0).Use(serve))
	var clients sync.WaitGroup
	for _, address := range s.addresses {
		for i, length := range []int{0, 1, 2048, 2049, 5000, 100_000, size - 40_000, size - 1} {
			for _, from := range []string{"file", "memory"} {
				clients.Add(1)
				conn := dial(t, address)
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
		if _, body, err := ask(conn, reader, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil || body != string(want) {
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
		prepare func(*aerys.Response)
	}{
		{"of unknown length", func(*aerys.Response) {}},
		{"filtered", func(r *aerys.Response) {
			r.Filter(shout)
		}},
		{"streaming", func(r *aerys.Response) { r.Flush() }},
	} {
		s := run(t, aerys.Options{}, at(func(_ *aerys.Request, r *aerys.Response) {
			r.SetHeader("Content-Type", "image/png")
			test.prepare(r)
			if n, err := r.ReadFrom(io.NewSectionReader(file, 0, 50_000)); n != 50_000 || err != nil {
				t.Error(test.name, n, err)
			}
		}))
		if _, body := statusAndBody(t, s.get(t, "/")); !strings.EqualFold(body, string(content)) {
			t.Errorf("%s: a body of %d bytes", test.name, len(body))
		}
	}
}

// TestSectionThatEndsEarly sends a section of a file that is shorter.
func TestSectionThatEndsEarly(t *testing.T) {
	file, content := randomFile(t, 50_000)
	sent := make(chan int64, 1)
	s := run(t, aerys.Options{}, at(func(_ *aerys.Request, res *aerys.Response) {
		n, _ := res.SetHeader("Content-Length", "60000").ReadFrom(io.NewSectionReader(file, 0, 60_000))
		sent <- n
	}))
	answer := converse(t, s.addresses[0], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if n := <-sent; n != 50_000 || !strings.HasSuffix(answer, string(content)) {
		t.Errorf("%d bytes are said to be sent", n)
	}
}

// TestFileThatIsClosedMeanwhile closes a file of which a client has taken some,
// and opens another, which gets its descriptor: the client must get none of that.
func TestFileThatIsClosedMeanwhile(t *testing.T) {
	const size = 24 << 20 // more than sockets take
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, bytes.Repeat([]byte("B"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]func(*os.File) io.Reader{
		"a section":         func(f *os.File) io.Reader { return io.NewSectionReader(f, 0, size) },
		"some of a section": func(f *os.File) io.Reader { return io.LimitReader(io.NewSectionReader(f, 0, size+1), size) },
		"some of a file":    func(f *os.File) io.Reader { return io.LimitReader(f, size) },
		"a file":            func(f *os.File) io.Reader { return f },
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := randomFile(t, 0)
			if err := file.Truncate(size); err != nil {
				t.Fatal(err)
			}
			sent := make(chan error, 1)
			s := run(t, aerys.Options{}, at(func(_ *aerys.Request, res *aerys.Response) {
				n, err := res.SetHeader("Content-Length", strconv.Itoa(size)).ReadFrom(source(file))
				if n == size {
					err = errors.New("all of it was sent")
				}
				sent <- err
			}))
			conn := dial(t, s.addresses[0])
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			descriptor := file.Fd()
			if err := file.Close(); err != nil { // does not wait for the client
				t.Error(err)
			}
			for range 100 {
				next, err := os.Open(other)
				if err != nil {
					t.Fatal(err)
				}
				defer next.Close()
				if next.Fd() == descriptor {
					break
				}
			}
			body, err := io.ReadAll(response.Body)
			if bytes.Contains(body, []byte("B")) || err == nil || len(body) == size {
				t.Errorf("%d bytes of the other file came, %d in all: %v", bytes.Count(body, []byte("B")), len(body), err)
			}
			if err := <-sent; !errors.Is(err, os.ErrClosed) {
				t.Error("the handler was told", err)
			}
		})
	}
}

// TestFilesOfAllKinds sends what the kernel may refuse to send, or has no end: the
// client gets what was announced, and the next answer after it.
func TestFilesOfAllKinds(t *testing.T) {
	symbols, _ := os.ReadFile("/proc/kallsyms")
	status, _ := os.ReadFile("/proc/version")
	plain, content := randomFile(t, 20_000)
	closed, _ := randomFile(t, 20_000)
	closed.Close()
	shrunk, _ := randomFile(t, 20_000)
	shrunk.Truncate(10_000)
	whole := func(f *os.File) io.Reader { f.Seek(0, io.SeekStart); return f }
	section := func(from, length int64) func(*os.File) io.Reader {
		return func(f *os.File) io.Reader { return io.NewSectionReader(f, from, length) }
	}
	limited := func(n int64) func(*os.File) io.Reader {
		return func(f *os.File) io.Reader { return io.LimitReader(whole(f), n) }
	}
	for _, test := range []struct {
		name   string
		file   any // path or *os.File
		source func(*os.File) io.Reader
		length int // as declared; -1: not at all
		want   string
		err    error // what ReadFrom returns
	}{
		{"of the kernel", "/proc/kallsyms", whole, len(symbols), string(symbols), nil},
		{"of the kernel, unknown length", "/proc/kallsyms", whole, -1, string(symbols), nil},
		{"of the kernel, a section", "/proc/kallsyms", section(10, 5000), 5000, string(symbols[min(10, len(symbols)):min(5010, len(symbols))]), nil},
		{"of the kernel, short", "/proc/version", whole, len(status), string(status), nil},
		{"without end", "/dev/zero", whole, 4000, strings.Repeat("\x00", 4000), http.ErrContentLength},
		{"without end, long", "/dev/zero", whole, 1 << 20, strings.Repeat("\x00", 1<<20), http.ErrContentLength},
		{"without end, some of it", "/dev/zero", limited(300_000), 300_000, strings.Repeat("\x00", 300_000), nil},
		{"without end, too much of it", "/dev/zero", limited(5000), 4000, strings.Repeat("\x00", 4000), http.ErrContentLength},
		{"without end, a section", "/dev/zero", section(7, 5000), 5000, strings.Repeat("\x00", 5000), nil},
		{"plain", plain, whole, 20_000, string(content), nil},
		{"plain, more than declared", plain, whole, 15_000, string(content[:15_000]), http.ErrContentLength},
		{"plain, a section beyond its end", plain, section(5000, 1<<40), 15_000, string(content[5000:]), nil},
		{"plain, from its middle on", plain, func(f *os.File) io.Reader { f.Seek(9000, io.SeekStart); return f }, 11_000, string(content[9000:]), nil},
		{"plain, unknown length", plain, whole, -1, string(content), nil},
		{"plain, a section of nothing", plain, section(0, 0), 0, "", nil},
		{"a type that reads otherwise", plain, func(f *os.File) io.Reader { return otherwise{f} }, 100, strings.Repeat("A", 100), nil},
		{"shrunk", shrunk, whole, 20_000, "", nil},
		{"closed", closed, section(0, 20_000), 20_000, "", os.ErrClosed},
		{"closed, whole", closed, func(f *os.File) io.Reader { return f }, 20_000, "", os.ErrClosed},
		{"a directory", t.TempDir(), whole, 20_000, "", errors.ErrUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, _ := test.file.(*os.File)
			if path, ok := test.file.(string); ok {
				var err error
				if file, err = os.Open(path); err != nil {
					t.Skip(err)
				}
				defer file.Close()
			}
			done := make(chan error, 2)
			s := run(t, aerys.Options{}, at(func(_ *aerys.Request, res *aerys.Response) {
				if res.SetHeader("Content-Type", "image/png"); test.length >= 0 {
					res.SetHeader("Content-Length", strconv.Itoa(test.length))
				}
				_, err := io.Copy(res, test.source(file))
				done <- err
			}))
			conn := dial(t, s.addresses[0])
			err := askTwice(conn, "/", []byte(test.want))
			if whole := len(test.want) == test.length || test.length < 0; whole != (err == nil) {
				t.Error(err)
			}
			if err := <-done; test.err == errors.ErrUnsupported && err == nil || test.err != errors.ErrUnsupported && !errors.Is(err, test.err) {
				t.Errorf("the handler was told %v, not %v", err, test.err)
			}
		})
	}
}

// otherwise reads something else than the file that it embeds.
type otherwise struct{ *os.File }

func (otherwise) Read(p []byte) (int, error) {
	if len(p) > 100 {
		p = p[:100]
	}
	return copy(p, strings.Repeat("A", len(p))), io.EOF
}

func (otherwise) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, strings.Repeat("A", 100))
	return int64(n), err
}
