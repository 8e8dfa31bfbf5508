package static

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"
)

// errChanged means that a file is no longer what was remembered of it.
var errChanged = errors.New("static: the file has changed")

// stamp tells versions of a file apart.
type stamp struct {
	size     int64
	modified int64 // in ns since 1970; 0: unknown
	inode    uint64
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), inode: inode(info)}
	if modified := info.ModTime(); modified.Unix() > 0 {
		s.modified = modified.UnixNano()
	}
	return s
}

// recent reports whether a write right now might leave the stamp as it is:
// file systems keep time in ticks of up to two seconds.
func (s stamp) recent() bool {
	return time.Since(time.Unix(0, s.modified)).Abs() < 2*time.Second
}

// content is what a representation consists of: what is kept in memory, or an
// open file, which had the stamp want when it was opened.
type content struct {
	kept *kept
	file fs.File
	want stamp
}

// open returns what r consists of, or errChanged if that is no longer what r
// says.
func (f *Files) open(r *representation) (content, error) {
	kept := r.kept.Load()
	switch {
	case kept != nil && kept.use():
		return content{kept: kept}, nil
	case r.name == "":
		return content{}, errChanged // it was made from a file that was given up just now
	}
	return f.openFile(r)
}

func (f *Files) openFile(r *representation) (content, error) {
	file, err := f.source.Open(r.name)
	if err != nil && failure(err) == nil {
		return content{}, errChanged
	}
	if err != nil {
		return content{}, err
	}
	opened := content{file: file, want: r.stamp}
	if !opened.unchanged() {
		file.Close()
		return content{}, errChanged
	}
	return opened, nil
}

// keep reads r into memory, if there is room for it and nobody else does so.
func (f *Files) keep(r *representation, owner *resource) error {
	if r.kept.Load() != nil || !f.cache.reserve(r, owner) {
		return nil
	}
	read, err := f.read(r)
	f.cache.keep(r, read)
	return err
}

// read returns r whole, or errChanged if it changed meanwhile.
func (f *Files) read(r *representation) (*kept, error) {
	opened, err := f.openFile(r)
	if err != nil {
		return nil, err
	}
	defer opened.close()
	body := make([]byte, r.stamp.size)
	n, err := io.ReadFull(opened.file, body)
	switch {
	case !opened.unchanged(), r.stamp.modified == 0 && contentTag(body) != r.etag:
		return nil, errChanged
	case n < len(body):
		return nil, err
	case r.compressible() && !f.options.DisableCompression:
		return newKept(body, r.compress(body)).withFile(), nil
	}
	return newKept(body, nil).withFile(), nil
}

// unchanged reports whether the file is what it was.
func (c content) unchanged() bool {
	info, err := c.file.Stat()
	return err == nil && stampOf(info) == c.want
}

// seekable reports whether parts can be sent.
func (c content) seekable() bool {
	_, ok := c.file.(io.Seeker)
	return ok || c.file == nil
}

func (c content) close() {
	switch {
	case c.kept != nil:
		c.kept.leave()
	case c.file != nil:
		c.file.Close()
	}
}

// send sends a part. A client that gets less, or a mixture of two versions,
// must notice: the last byte is sent only if the file did not change until
// then, and otherwise the connection is aborted.
func (c content) send(w http.ResponseWriter, r *http.Request, part byteRange) {
	if c.kept != nil {
		c.kept.send(w, r, part)
		return
	}
	if part.length == 0 {
		return
	}
	body := c.reader(w, r, part)
	_, err := io.CopyN(w, body, part.length-1)
	var last [1]byte
	if err == nil {
		_, err = io.ReadFull(body, last[:])
	}
	if err != nil || !c.unchanged() {
		panic(http.ErrAbortHandler)
	}
	w.Write(last[:])
}

// reader returns what reads a part, in the way that has the kernel send it
// where it and w can.
func (c content) reader(w http.ResponseWriter, r *http.Request, part byteRange) io.Reader {
	if file, ok := c.file.(*os.File); ok && part.length >= fileFrom && kernelSends(w, r) != nil {
		return io.NewSectionReader(file, part.start, part.length)
	}
	if seeker, ok := c.file.(io.Seeker); ok {
		seeker.Seek(part.start, io.SeekStart) // where it fails, reading does
	}
	return c.file
}
