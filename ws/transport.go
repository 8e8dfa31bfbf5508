package ws

import "sync"

// transport is how an engine moves a conn's bytes. A conn does not know which
// engine it is on.
type transport interface {
	// read waits for bytes. It need not look for any before there are least,
	// or before hurry is called. Only the goroutine that runs the conn calls it.
	read(p []byte, least int) (int, error)

	// hurry makes a read that waits for many bytes return with what there is.
	// conn.mu is held.
	hurry()

	// tryWrite sends what can be sent without waiting. conn.mu is held.
	tryWrite(p []byte) (int, error)

	// tryWriteFrame is tryWrite for a header and a large payload, neither of
	// which it copies. Where that is not possible it sends nothing.
	tryWriteFrame(header, payload []byte) (int, error)

	// full says that tryWrite left bytes in conn.out; the transport sees to
	// it that they are sent when there is room. conn.mu is held.
	full()

	// closeWrite ends the sending direction. conn.mu is held.
	closeWrite()

	// interrupt makes reads and writes fail, so that whoever runs the conn
	// ends it. It may be called at any time, conn.mu held.
	interrupt()

	// resume runs a conn again that stopped reading because of a limit.
	resume()
}

// bufferSize is what one read brings at most, until one brings as much:
// largeBufferSize from then on. Larger frames are read straight into the buffer
// of their message.
const (
	bufferSize      = 16 << 10
	largeBufferSize = 128 << 10
)

// Buffers are pooled by size, from 4 KiB to 16 MiB.
const (
	smallestBuffer = 12
	largestBuffer  = 24
)

var buffers [largestBuffer - smallestBuffer + 1]sync.Pool

// bufferBox lets a slice travel through a pool without an allocation.
type bufferBox struct{ p []byte }

var bufferBoxes = sync.Pool{New: func() any { return new(bufferBox) }}

// bufferClass returns the pool whose buffers hold n bytes.
func bufferClass(n int) int {
	class := 0
	for n > 1<<(smallestBuffer+class) {
		class++
	}
	return class
}

// getBuffer returns an empty buffer with a capacity of n bytes or more.
func getBuffer(n int) []byte {
	class := bufferClass(n)
	if class >= len(buffers) {
		return make([]byte, 0, n)
	}
	if box, _ := buffers[class].Get().(*bufferBox); box != nil {
		p := box.p
		box.p = nil
		bufferBoxes.Put(box)
		return p[:0]
	}
	return make([]byte, 0, 1<<(smallestBuffer+class))
}

// putBuffer takes back a buffer that came from getBuffer.
func putBuffer(p []byte) {
	class := bufferClass(cap(p))
	if class >= len(buffers) || cap(p) != 1<<(smallestBuffer+class) {
		return
	}
	box := bufferBoxes.Get().(*bufferBox)
	box.p = p
	buffers[class].Put(box)
}

// growBuffer returns p with room for n more bytes, moved if need be.
func growBuffer(p []byte, n int) []byte {
	if cap(p)-len(p) >= n {
		return p
	}
	grown := append(getBuffer(len(p)+n), p...)
	if cap(p) > 0 {
		putBuffer(p)
	}
	return grown
}
