package ws

import "sync"

// This file is the memory of what is read: buffers, and what was read ahead of its turn.

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

// readAhead is what was read of a conn before its turn: frames of data, in order.
type readAhead struct {
	bytes []byte
	taken int   // of them, by the turn
	end   error // why nothing follows

	looked     bool  // the following is known
	next       int64 // bytes from what is not taken up to the next header to be looked at
	fragmented bool  // there, a message is under way
	bad        bool  // what is there breaks a rule: it fails in its turn
	full       bool  // nothing more was to be read
}

// leastAhead is room for any control frame, and some more.
const leastAhead = 4 << 10

// any reports whether there is something for the turn.
func (a *readAhead) any() bool { return a.bytes != nil || a.end != nil }

func (a *readAhead) waiting() []byte { return a.bytes[a.taken:] }

func (a *readAhead) drop() {
	putBuffer(a.bytes)
	*a = readAhead{}
}

// putBack puts what a turn has read, and did not parse, before what waits.
func (a *readAhead) putBack(p []byte) {
	if len(p) > 0 {
		a.move(p, 0)
		a.looked = false
	}
}

// move has a buffer with p before what waits, and room behind it.
func (a *readAhead) move(p []byte, room int) {
	old, waiting := a.bytes, a.waiting()
	a.bytes, a.taken = append(append(getBuffer(len(p)+len(waiting)+room), p...), waiting...), 0
	putBuffer(old)
}

// cut removes a control frame of n bytes.
func (a *readAhead) cut(n int) {
	at := a.taken + int(a.next)
	a.bytes = append(a.bytes[:at], a.bytes[at+n:]...)
}

// read reads what was read ahead. Without any, the error is how it ended.
func (a *readAhead) read(p []byte) (n int, err error) {
	if a.bytes == nil {
		return 0, a.end
	}
	n = copy(p, a.waiting())
	a.taken += n
	a.looked = false
	a.tidy()
	return n, nil
}

// tidy lets go of a buffer with nothing in it, and of what is known of what comes
// next: it may come to a handler that waits for it.
func (a *readAhead) tidy() {
	if len(a.bytes) == a.taken {
		putBuffer(a.bytes)
		a.bytes, a.taken, a.looked = nil, 0, false
	}
}

// space is where the next read may put its bytes, if any may be read: no more
// than left.
func (a *readAhead) space(left int) []byte {
	room := min(left, bufferSize)
	if room == 0 {
		return nil
	}
	if cap(a.bytes)-len(a.bytes) < min(room, leastAhead/2) {
		a.move(nil, min(room, max(leastAhead, len(a.waiting()))))
	}
	free := a.bytes[len(a.bytes):cap(a.bytes)]
	return free[:min(room, len(free))]
}
