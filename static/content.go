package static

import (
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"aerys"
)

// kept is a body in memory, and the same compressed, or nil if that is no gain.
// It is used by the cache, and by whoever sends it.
type kept struct {
	body       []byte
	compressed *representation
	file       *os.File // with the same content, or nil
	users      atomic.Int64
}

// fileFrom is from what length in bytes the kernel is given a file to send
// instead of bytes to copy: a copy of 100 KiB takes twice as long.
const fileFrom = 32 << 10

// newKept keeps a body, of which whoever calls is the first user.
func newKept(body []byte, compressed *representation) *kept {
	k := &kept{body: body, compressed: compressed}
	k.users.Store(1)
	return k
}

// withFile adds a file to a body that will be sent many times, one that nobody
// else can write to. The kernel sends such a file without a copy, and what it
// sends is never half of an old and half of a new one.
func (k *kept) withFile() *kept {
	if runtime.GOOS != "linux" || len(k.body) < fileFrom {
		return k
	}
	file, err := os.CreateTemp("", "aerys")
	if err != nil {
		return k
	}
	_, err = file.Write(k.body)
	if os.Remove(file.Name()) != nil || err != nil {
		file.Close()
		return k
	}
	k.file = file
	return k
}

// use keeps k for a user until it leaves, unless k is given up already.
func (k *kept) use() bool {
	for users := k.users.Load(); users > 0; users = k.users.Load() {
		if k.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
	return false
}

// leave ends a use. The last one closes the file.
func (k *kept) leave() {
	if k.users.Add(-1) > 0 {
		return
	}
	k.file.Close() // or does nothing, where there is none
	if k.compressed != nil {
		k.compressed.drop()
	}
}

// drop gives up what is kept; requests under way go on with it.
func (r *representation) drop() {
	if old := r.kept.Swap(nil); old != nil {
		old.leave()
	}
}

// made returns a representation that is no file.
func made(body []byte, contentType, coding string, modified time.Time) *representation {
	r := &representation{stamp: stamp{size: int64(len(body))}, modified: modified, etag: contentTag(body)}
	r.kept.Store(newKept(body, nil))
	r.prepare(contentType, coding)
	return r
}

// compress returns r, with the given body, in gzip coding; nil if that is no
// gain.
func (r *representation) compress(body []byte) *representation {
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	writer.Write(body)
	writer.Close()
	if buffer.Len() >= len(body) {
		return nil
	}
	small := made(bytes.Clone(buffer.Bytes()), r.contentType[0], "gzip", r.modified)
	small.kept.Load().withFile()
	return small
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
func (s *source) open(r *representation) (content, error) {
	if kept := r.kept.Load(); kept != nil && kept.use() {
		return content{kept: kept}, nil
	}
	if r.name == "" {
		return content{}, errChanged // it was made from a file that was given up just now
	}
	return s.openFile(r)
}

func (s *source) openFile(r *representation) (content, error) {
	file, err := s.Open(r.name)
	if err != nil {
		return content{}, gone(err)
	}
	opened := content{file: file, want: r.stamp}
	if !opened.unchanged() {
		file.Close()
		return content{}, errChanged
	}
	return opened, nil
}

// read returns r whole, or errChanged if it changed meanwhile.
func (s *source) read(r *representation) (*kept, error) {
	opened, err := s.openFile(r)
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
	case s.compressible(r):
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
	if file, ok := c.file.(*os.File); ok && kernelSends(w, r, part) != nil {
		return io.NewSectionReader(file, part.start, part.length)
	}
	if seeker, ok := c.file.(io.Seeker); ok {
		seeker.Seek(part.start, io.SeekStart) // where it fails, reading does
	}
	return c.file
}

// send sends a part: of the file, where that is better.
func (k *kept) send(w http.ResponseWriter, r *http.Request, part byteRange) {
	if response := kernelSends(w, r, part); k.file != nil && response != nil {
		response.ReadFrom(io.NewSectionReader(k.file, part.start, part.length))
		return
	}
	w.Write(k.body[part.start:][:part.length])
}

// kernelSends returns w if the kernel can send it that much of a file.
func kernelSends(w http.ResponseWriter, r *http.Request, part byteRange) *aerys.Response {
	if runtime.GOOS != "linux" || part.length < fileFrom || r.ProtoMajor > 1 || r.TLS != nil {
		return nil
	}
	response, _ := w.(*aerys.Response)
	return response
}
