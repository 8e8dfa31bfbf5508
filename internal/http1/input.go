package http1

import (
	"bytes"
	"sync"
)

// bufferSize is how much is read, or gathered to be written, at once.
const bufferSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// input is what was read of a connection and not dealt with. It has a buffer
// only while there is something in it, and one of bufferSize only during a
// turn: the half of a request that waits for the other takes no more than it
// is long.
type input struct {
	rest   []byte            // what is to be dealt with
	buffer *[bufferSize]byte // where it is, if it is from the pool
}

// consume takes n bytes away.
func (i *input) consume(n int) {
	if i.rest = i.rest[n:]; len(i.rest) == 0 {
		i.release()
	}
}

func (i *input) release() {
	i.rest = nil
	if i.buffer != nil {
		buffers.Put(i.buffer)
		i.buffer = nil
	}
}

// fill reads once, behind what is there.
func (i *input) fill(read func([]byte) (int, error)) error {
	space := i.space()
	n, err := read(space[len(i.rest):])
	i.rest = space[:len(i.rest)+n]
	if len(i.rest) == 0 {
		i.release()
	}
	if n > 0 {
		err = nil // it comes again
	}
	return err
}

// space moves what is there to the front of a buffer with room behind it.
func (i *input) space() []byte {
	switch {
	case i.buffer == nil && len(i.rest) < bufferSize/2:
		i.buffer = buffers.Get().(*[bufferSize]byte)
		copy(i.buffer[:], i.rest)
		return i.buffer[:]
	case i.buffer != nil && len(i.rest) < bufferSize/2:
		copy(i.buffer[:], i.rest)
		return i.buffer[:]
	}
	if i.buffer == nil && cap(i.rest)-len(i.rest) >= bufferSize/4 {
		return i.rest[:cap(i.rest)]
	}
	larger := make([]byte, 2*len(i.rest))
	copy(larger, i.rest)
	if i.buffer != nil {
		buffers.Put(i.buffer)
		i.buffer = nil
	}
	return larger
}

// park gives the buffer back while the connection waits.
func (i *input) park() {
	if i.buffer == nil {
		return
	}
	rest := bytes.Clone(i.rest)
	i.release()
	if len(rest) > 0 {
		i.rest = rest
	}
}
