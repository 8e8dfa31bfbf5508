package aerys

import (
	"runtime"
	"sync"
	"syscall"
)

const (
	// pipeSize is what a pipe holds: as much as a user without privileges may
	// ask for. The kernel's sendfile has one of 64 KiB.
	pipeSize = 1 << 20
	// pipeFrom is from what length a part goes through a pipe of ours.
	pipeFrom = 256 << 10
	// maxPipes is how many a server uses at most: slow clients keep theirs.
	maxPipes = 32
)

// pipe is a way from a file to a socket, by splice(2): like sendfile(2), but for
// more of the file at a time, and the last of it can wait for what follows to
// share a packet. That saves a twentieth of the work for a long file.
type pipe struct {
	reader, writer int // descriptors
	held           int // bytes
	cleanup        runtime.Cleanup
}

var pipes = sync.Pool{New: func() any { return newPipe(pipeSize) }}

// newPipe returns a pipe of size bytes, nil if there can be no more of that size.
func newPipe(size uintptr) *pipe {
	var ends [2]int
	if syscall.Pipe2(ends[:], syscall.O_CLOEXEC) != nil {
		return nil
	}
	const setSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[1]), setSize, size); errno != 0 {
		closePipe(ends)
		return nil
	}
	p := &pipe{reader: ends[0], writer: ends[1]}
	p.cleanup = runtime.AddCleanup(p, closePipe, ends)
	return p
}

func closePipe(ends [2]int) {
	syscall.Close(ends[0])
	syscall.Close(ends[1])
}

// takePipe returns an empty pipe for whoever calls leavePipe, or nil.
func (c *connections) takePipe() *pipe {
	if c.pipes.Add(1) <= maxPipes {
		if p := pipes.Get().(*pipe); p != nil {
			return p
		}
	}
	c.pipes.Add(-1)
	return nil
}

// leavePipe takes a pipe back. One with something in it is of no use.
func (c *connections) leavePipe(p *pipe) {
	c.pipes.Add(-1)
	if p.held == 0 {
		pipes.Put(p)
		return
	}
	p.cleanup.Stop()
	closePipe([2]int{p.reader, p.writer})
}

// send sends some of a part of a file. What the socket did not take is still in
// the pipe, and is what the next call begins with.
func (p *pipe) send(to, from int, offset, length int64, more bool) (n int, err error) {
	if p.held == 0 {
		n, err := syscall.Splice(from, &offset, p.writer, nil, int(min(length, pipeSize)), 0)
		if n <= 0 {
			return 0, err
		}
		p.held = int(n)
	}
	flags := 0
	if more || int64(p.held) < length {
		flags = 4 // SPLICE_F_MORE
	}
	sent, err := syscall.Splice(p.reader, nil, to, nil, p.held, flags)
	n = int(max(sent, 0))
	p.held -= n
	return n, err
}
