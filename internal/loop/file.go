package loop

import (
	"io"
	"math"
	"os"
	"reflect"
	"sync"
)

// FilePart is some of a file that is to be sent, from an offset on. As an io.Reader
// it reads what is left, and does not move the file's position.
type FilePart struct {
	File           *os.File
	Offset, Length int64
	More           bool // what follows is about to be sent, too
	plain          bool // the offset is where the file's position is
}

// PartOf returns what source reads of a file; ok is false if it reads something
// else, or a file that has no positions.
func PartOf(source io.Reader) (p FilePart, ok bool) {
	if part, ok := source.(*FilePart); ok {
		return *part, true
	}
	length := int64(math.MaxInt64)
	if limited, ok := source.(*io.LimitedReader); ok {
		source, length = limited.R, max(0, limited.N)
	}
	if section, ok := source.(*io.SectionReader); ok {
		outer, base, size := section.Outer()
		file, ok := outer.(*os.File)
		position, _ := section.Seek(0, io.SeekCurrent)
		left := max(0, size-position)
		return FilePart{File: file, Offset: base + position, Length: min(length, left), More: length < left}, ok
	}
	file, ok := fileOf(source)
	if !ok {
		return FilePart{}, false
	}
	position, err := file.Seek(0, io.SeekCurrent)
	return FilePart{File: file, Offset: position, Length: min(length, math.MaxInt64-position), plain: true}, err == nil
}

// MayWait reports whether the part may let us wait, which is not the peer's fault:
// it is read from where the file is, and that is not a regular one.
func (p *FilePart) MayWait() bool {
	if !p.plain {
		return false
	}
	info, err := p.File.Stat()
	return err != nil || !info.Mode().IsRegular()
}

// fileOf returns the file that source is, as that or in the type of package os
// in which io.Copy hands it on. What embeds a file elsewhere may read otherwise.
func fileOf(source io.Reader) (*os.File, bool) {
	if file, ok := source.(*os.File); ok {
		return file, true
	}
	if v := reflect.ValueOf(source); v.Kind() == reflect.Struct && v.Type().PkgPath() == "os" {
		if field := v.FieldByName("File"); field.IsValid() {
			file, ok := field.Interface().(*os.File)
			return file, ok
		}
	}
	return nil, false
}

// Advance moves source, of which n bytes were sent.
func Advance(source io.Reader, n int64) {
	if part, ok := source.(*FilePart); ok {
		part.Skip(n)
		return
	}
	if limited, ok := source.(*io.LimitedReader); ok {
		limited.N -= n
		source = limited.R
	}
	if seeker, ok := source.(io.Seeker); ok {
		seeker.Seek(n, io.SeekCurrent)
	}
}

// Source returns p as others know parts of files.
func (p *FilePart) Source() io.Reader {
	if p.plain {
		return &io.LimitedReader{R: p.File, N: p.Length}
	}
	return io.NewSectionReader(p.File, p.Offset, p.Length)
}

// Skip leaves n bytes out.
func (p *FilePart) Skip(n int64) { p.Offset, p.Length = p.Offset+n, p.Length-n }

// GoesOn reports whether the file has more behind the part.
func (p *FilePart) GoesOn() bool {
	var one [1]byte
	n, _ := p.File.ReadAt(one[:], p.Offset)
	return n > 0
}

// Read implements io.Reader.
func (p *FilePart) Read(b []byte) (int, error) {
	if p.Length <= 0 {
		return 0, io.EOF
	}
	n, err := p.File.ReadAt(b[:min(int64(len(b)), p.Length)], p.Offset)
	p.Skip(int64(n))
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

var copies = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// CopyTo writes what is left.
func (p *FilePart) CopyTo(write func([]byte) (int, error)) (int64, error) {
	buffer := copies.Get().(*[32 << 10]byte)
	defer copies.Put(buffer)
	return io.CopyBuffer(writerFunc(write), struct{ io.Reader }{p}, buffer[:])
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// copyFile reads and writes.
func (c *Conn) copyFile(head []byte, p *FilePart, progress func()) error {
	write := func(b []byte) (int, error) {
		defer progress()
		return c.Write(b)
	}
	if _, err := write(head); err != nil {
		return err
	}
	_, err := p.CopyTo(write)
	return err
}
