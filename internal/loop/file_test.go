package loop

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fileOfSize returns a file of that size, open, and what is in it.
func fileOfSize(t *testing.T, size int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	rand.NewChaCha8([32]byte{}).Read(content)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return openFile(t, name), content
}

func openFile(t *testing.T, name string) *os.File {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// sent is what became of a part.
type sent struct {
	n, progressed int64
	err           error
}

// sendsPart is an owner that sends a part once it is asked, and then goes on as
// an echo.
func sendsPart(part func() FilePart, results chan<- sent) *owner {
	return &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		var s sent
		file := part()
		offset := file.Offset
		s.n, s.err = c.SendFile([]byte("head"), &file, func() { s.progressed++ })
		if s.n != file.Offset-offset {
			s.err = errors.Join(s.err, errors.New("the part was not moved on by what was sent"))
		}
		results <- s
		if s.err != nil {
			return s.err
		}
		return ErrAgain
	}}
}

// withPipes runs a test on every engine, with pipes for files and without.
func withPipes(t *testing.T, o *owner, test func(*testing.T, *fixture)) {
	for _, most := range []int{0, 32} {
		each(t, o, func(t *testing.T, f *fixture) {
			limitPipes(f.loop, most)
			test(t, f)
		})
	}
}

func TestSendFile(t *testing.T) {
	const size = 3 << 20
	file, content := fileOfSize(t, size)
	var part FilePart
	results := make(chan sent, 1)
	o := sendsPart(func() FilePart { return part }, results)
	withPipes(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		for _, row := range []struct{ offset, length, want int64 }{
			{0, size, size}, {1, size - 1, size - 1}, {size - 10, 10, 10}, {7, 300_000, 300_000},
			{0, 0, 0}, {size - 10, 1 << 20, 10}, {size - 10, 1 << 62, 10},
		} {
			part = FilePart{File: file, Offset: row.offset, Length: row.length}
			io.WriteString(conn, "x")
			want := append([]byte("head"), content[row.offset:][:row.want]...)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v: other bytes, or none: %v", row, err)
			}
			if s := <-results; s.n != row.want || s.err != nil || s.progressed == 0 {
				t.Errorf("%v: sent %+v", row, s)
			}
		}
	})
}

// The kernel does not send what /proc has.
func TestSendFileThatTheKernelDoesNot(t *testing.T) {
	const name = "/proc/filesystems"
	content, err := os.ReadFile(name)
	if err != nil {
		t.Skip(err)
	}
	results := make(chan sent, 1)
	part := FilePart{File: openFile(t, name), Length: 1 << 20}
	withPipes(t, sendsPart(func() FilePart { return part }, results), func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		for range 2 {
			io.WriteString(conn, "x")
			got := make([]byte, len("head")+len(content))
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "head"+string(content) {
				t.Errorf("%q, %v", got, err)
			}
			if s := <-results; s.n != int64(len(content)) || s.err != nil {
				t.Errorf("sent %+v", s)
			}
		}
	})
}

// Whoever closes a file need not wait for the peer.
func TestSendFileThatIsClosedMeanwhile(t *testing.T) {
	const size = 64 << 20 // more than sockets take
	var file *os.File
	results := make(chan sent, 1)
	withPipes(t, sendsPart(func() FilePart { return FilePart{File: file, Length: size} }, results), func(t *testing.T, f *fixture) {
		file, _ = fileOfSize(t, 0)
		if err := os.Truncate(file.Name(), size); err != nil {
			t.Fatal(err)
		}
		conn := f.dial(t)
		io.WriteString(conn, "x")
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		file.Close()
		n, _ := io.Copy(io.Discard, conn)
		if s := <-results; !errors.Is(s.err, os.ErrClosed) || s.n >= size || n > s.n+pipeMost {
			t.Errorf("%d bytes came, %+v", n, s)
		}
		if n := pipesTaken(f.loop); n != 0 {
			t.Errorf("%d pipes are taken", n)
		}
	})
}

// A peer that leaves in the middle leaves no pipe behind, nor something in one.
func TestSendFileToNobody(t *testing.T) {
	const size = 64 << 20
	file, _ := fileOfSize(t, 0)
	if err := os.Truncate(file.Name(), size); err != nil {
		t.Fatal(err)
	}
	results := make(chan sent, 1)
	withPipes(t, sendsPart(func() FilePart { return FilePart{File: file, Length: size} }, results), func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		io.ReadFull(conn, make([]byte, 1<<20))
		conn.Close()
		if s := <-results; s.err == nil || s.n >= size {
			t.Errorf("sent %+v", s)
		}
		if n := pipesTaken(f.loop); n != 0 {
			t.Errorf("%d pipes are taken", n)
		}
	})
}

// A deadline ends the sending, and is not mistaken for the file's.
func TestSendFileBehindADeadline(t *testing.T) {
	const size = 64 << 20
	file, _ := fileOfSize(t, 0)
	if err := os.Truncate(file.Name(), size); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 1)
	o := &owner{serve: func(c *Conn) error {
		var p [1]byte
		if _, err := c.TryRead(p[:]); err != nil {
			return err
		}
		c.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		_, err := c.SendFile(nil, &FilePart{File: file, Length: size}, func() {})
		results <- err
		return err
	}}
	withPipes(t, o, func(t *testing.T, f *fixture) {
		conn := f.dial(t)
		io.WriteString(conn, "x")
		if err := <-results; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		conn.Close() // TLS would have its last word for 5 s where sockets are full
	})
}

func TestPartOf(t *testing.T) {
	file, content := fileOfSize(t, 100)
	file.Seek(10, io.SeekStart)
	section := io.NewSectionReader(file, 20, 50)
	section.Seek(5, io.SeekStart)
	for name, row := range map[string]struct {
		source io.Reader
		want   string
		more   bool
	}{
		"a section":         {section, string(content[25:70]), false},
		"some of a section": {io.LimitReader(section, 7), string(content[25:32]), true},
		"some of a file":    {io.LimitReader(file, 9), string(content[10:19]), false},
		"a file":            {file, string(content[10:]), false},
		"a part":            {&FilePart{File: file, Offset: 3, Length: 4}, string(content[3:7]), false},
	} {
		part, ok := PartOf(row.source)
		got, err := io.ReadAll(&part)
		if !ok || err != nil || string(got) != row.want || part.More != row.more {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, source := range []io.Reader{bytes.NewReader(nil), io.NewSectionReader(bytes.NewReader(nil), 0, 1), struct{ *os.File }{file}} {
		if _, ok := PartOf(source); ok {
			t.Errorf("%T is a part of a file", source)
		}
	}
}

func TestAdvance(t *testing.T) {
	file, _ := fileOfSize(t, 100)
	part := &FilePart{File: file, Length: 50}
	limited := io.LimitReader(file, 30)
	for _, source := range []io.Reader{part, limited} {
		Advance(source, 10)
	}
	at, _ := file.Seek(0, io.SeekCurrent)
	if part.Offset != 10 || part.Length != 40 || at != 10 || limited.(*io.LimitedReader).N != 20 {
		t.Error(part, at, limited)
	}
}
