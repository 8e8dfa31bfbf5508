package ws

import (
	"sync"

	"aerys/internal/loop"
)

// transport is what a conn needs of the loop.Conn that carries it. Nothing of it
// waits but Wait.
type transport interface {
	Loop() *loop.Loop

	TryRead(p []byte) (int, error)
	TryReadAhead(p []byte) (int, error)
	Wait() error
	MayRead() bool
	HungUp() bool
	Await(least int)
	Hurry()

	TryWrite(p []byte) (int, error)
	TryWriteParts(header, payload []byte) (int, error)
	Queued() bool
	Held() int

	CloseWrite() error
	Interrupt()
	Resume()
	Soon()
	AfterRound(func())
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
