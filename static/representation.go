package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// representation is a resource in one coding (RFC 9110 §3.2): a file, or bytes
// made from one. It does not change, but that its body may be kept or dropped.
type representation struct {
	name     string // of the file, or ""
	stamp    stamp
	modified time.Time // in whole seconds, as in a header; zero: unknown
	etag     string
	kept     atomic.Pointer[kept]

	// Header values, ready to be put into the map of a response.
	contentType, contentLength, contentEncoding, lastModified, etags []string
}

func (r *representation) same(other *representation) bool {
	return r.name == other.name && r.stamp == other.stamp && r.etag == other.etag
}

// describe looks at the file name, which is the file typeName in the given
// coding. It returns nil if there is no such file.
func (f *Files) describe(name, typeName, coding string) (*representation, error) {
	info, err := fs.Stat(f.source, name)
	if err != nil {
		return nil, failure(err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil // a pipe would block, a device never end
	}
	r := &representation{name: name, stamp: stampOf(info)}
	if r.stamp.modified == 0 {
		r.etag, err = f.fileTag(name)
	} else {
		r.etag = f.options.stampTag(r.stamp, coding)
		r.modified = info.ModTime().Truncate(time.Second)
	}
	if err != nil {
		return nil, failure(err)
	}
	r.prepare(f.options.contentType(typeName), coding)
	return r, nil
}

// made returns a representation that is no file.
func made(body []byte, contentType, coding string, modified time.Time) *representation {
	r := &representation{stamp: stamp{size: int64(len(body))}, modified: modified, etag: contentTag(body)}
	r.kept.Store(newKept(body, nil))
	r.prepare(contentType, coding)
	return r
}

// prepare makes the header values.
func (r *representation) prepare(contentType, coding string) {
	r.contentType = []string{contentType}
	r.contentLength = []string{strconv.FormatInt(r.stamp.size, 10)}
	r.etags = []string{r.etag}
	if coding != "" {
		r.contentEncoding = []string{coding}
	}
	if r.modified.IsZero() {
		return
	}
	// A date in the future must not be sent (RFC 9110 §8.8.2.1).
	if now := time.Now().Truncate(time.Second); r.modified.After(now) {
		r.modified = now
	}
	r.lastModified = []string{r.modified.UTC().Format(http.TimeFormat)}
}

// tag makes a strong entity tag of a hash (RFC 9110 §8.8.3).
func tag(sum []byte) string { return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"` }

// contentTag makes the entity tag of what does not tell when it was changed.
func contentTag(body []byte) string {
	sum := sha256.Sum256(body)
	return tag(sum[:])
}

// fileTag is contentTag for a file, of any size.
func (f *Files) fileTag(name string) (string, error) {
	file, err := f.source.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return tag(hash.Sum(nil)), err
}

// stampTag makes the entity tag of any other file: a hash, so that it does not
// tell the inode's number.
func (o *Options) stampTag(s stamp, coding string) string {
	if o.OmitEtagInode {
		s.inode = 0
	}
	return contentTag(fmt.Appendf(nil, "%d %d %d %s", s.size, s.modified, s.inode, coding))
}

// compressible reports whether gzip is worth trying: what is shorter fits one
// packet anyway.
func (r *representation) compressible() bool {
	if r.contentEncoding != nil || r.stamp.size < 860 {
		return false
	}
	for _, kind := range [...]string{"text/", "javascript", "json", "xml", "yaml", "wasm"} {
		if strings.Contains(r.contentType[0], kind) {
			return true
		}
	}
	return false
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
