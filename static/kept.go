package static

import (
	"io"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"

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

// withFile adds a file to a body that will be sent many times.
func (k *kept) withFile() *kept {
	if runtime.GOOS == "linux" && len(k.body) >= fileFrom {
		k.file = nameless(k.body)
	}
	return k
}

// nameless returns a file that nobody else can write to, or nil. The kernel
// sends such a file without a copy, and what it sends is never half of an old
// and half of a new one.
func nameless(body []byte) *os.File {
	file, err := os.CreateTemp("", "aerys")
	if err != nil {
		return nil
	}
	_, err = file.Write(body)
	if os.Remove(file.Name()) != nil || err != nil {
		file.Close()
		return nil
	}
	return file
}

// use keeps k for a user until it leaves, unless k is given up already.
func (k *kept) use() bool {
	for {
		users := k.users.Load()
		if users == 0 {
			return false
		}
		if k.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
}

// leave ends a use. The last one closes the file.
func (k *kept) leave() {
	if k.users.Add(-1) > 0 {
		return
	}
	if k.file != nil {
		k.file.Close()
	}
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

// send sends a part: of the file, where that is better.
func (k *kept) send(w http.ResponseWriter, r *http.Request, part byteRange) {
	if k.file != nil && part.length >= fileFrom {
		if response := kernelSends(w, r); response != nil {
			response.ReadFrom(io.NewSectionReader(k.file, part.start, part.length))
			return
		}
	}
	w.Write(k.body[part.start:][:part.length])
}

// kernelSends returns w if the kernel can send it a section of a file.
func kernelSends(w http.ResponseWriter, r *http.Request) *aerys.Response {
	response, _ := w.(*aerys.Response)
	if runtime.GOOS != "linux" || r.ProtoMajor > 1 || r.TLS != nil {
		return nil
	}
	return response
}
