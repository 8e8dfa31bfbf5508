package http1

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aerys/internal/loop"
)

func TestFiles(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789abcdef", 40000)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	onEach(t, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }, func(t *testing.T, r *rig) {
		c := r.dial(t)
		for range 3 {
			c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\nRange: bytes=16-31\r\n\r\n")
			c.want(200, content)
			c.want(206, content[:16])
		}
	})
}

// sending is a Transport that notes what parts of files it is given.
type sending struct {
	*memory
	parts []loop.FilePart
}

func (s *sending) SendFile(head []byte, p *loop.FilePart, progress func()) (int64, error) {
	s.parts = append(s.parts, *p)
	if _, err := s.Write(head); err != nil {
		return 0, err
	}
	return p.CopyTo(s.Write)
}

// TestFilesAreNotCopied holds that the transport can see the file, whatever
// limits are put on it, and how much of it; and that what is no file cannot
// occupy the connection.
func TestFilesAreNotCopied(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	content := strings.Repeat("0123456789abcdef", 20000)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	size := int64(len(content))
	for _, row := range []struct {
		name   string
		header string // Content-Length
		of     func(*os.File) io.Reader
		sent   int64 // of it by the transport
		body   int64
	}{
		{"a file", "320000", func(f *os.File) io.Reader { return f }, size - sniffSize, size},
		{"io.CopyN of a file", "320000", func(f *os.File) io.Reader { return io.LimitReader(f, size) }, size - sniffSize, size},
		{"a section", "320000", func(f *os.File) io.Reader { return io.NewSectionReader(f, 0, size) }, size - sniffSize, size},
		{"a part", "320000", func(f *os.File) io.Reader { return &loop.FilePart{File: f, Length: size} }, size - sniffSize, size},
		{"a file that has more than Content-Length says", "20000", func(f *os.File) io.Reader { return f }, 20000 - sniffSize, 20000},
		{"a short part", "100", func(f *os.File) io.Reader { return io.NewSectionReader(f, 0, 100) }, -1, 100},
		{"no file", "1000", func(*os.File) io.Reader { return io.LimitReader(endless{}, 1000) }, -1, 1000},
		{"a file in chunks", "", func(f *os.File) io.Reader { return f }, -1, -1},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				file, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if row.header != "" {
					w.Header().Set("Content-Length", row.header)
				}
				src := row.of(file)
				n, err := w.(io.ReaderFrom).ReadFrom(src)
				if row.body >= 0 && (n != row.body || err != nil) {
					t.Errorf("%d bytes of %d: %v", n, row.body, err)
				}
				if at, _ := file.Seek(0, io.SeekCurrent); src == file && at != n {
					t.Errorf("the file's position is %d after %d bytes", at, n)
				}
			})}
			m := &sending{memory: newMemory(hello + hello)}
			if next := s.NewConn(m).Turn(); next != loop.ErrAgain {
				t.Error("it is not kept:", next)
			}
			if row.sent < 0 && len(m.parts) > 0 || row.sent >= 0 && (len(m.parts) != 2 || m.parts[0].Length < row.sent) {
				t.Errorf("the transport sent %v", m.parts)
			}
			r := client{nil, newReaderOf(strings.NewReader(m.output())), t}
			for range 2 {
				response, body := r.answer()
				if row.body >= 0 && int64(len(body)) != row.body || row.header == "320000" && body != content {
					t.Errorf("a body of %d bytes", len(body))
				}
				if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") && row.name != "no file" {
					t.Error(kind)
				}
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
