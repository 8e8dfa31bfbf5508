package loop

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

// pipes are those of a loop that no file is in.
type pipes struct {
	mu   sync.Mutex
	free []*pipe
	made int
	most int // that may be made
}

// manyFiles is from which limit of open files on some may be for pipes.
const manyFiles = 1024

// MaxPipes is how many pipes, of two descriptors each, a loop uses at most where
// so many files may be open, 0 for any number.
func MaxPipes(files int) int {
	if files == 0 || files >= manyFiles {
		return maxPipes
	}
	return 0
}

// take returns an empty pipe for whoever calls leave, or nil.
func (p *pipes) take() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		taken := p.free[last]
		p.free = p.free[:last]
		return taken
	}
	if p.made >= p.most {
		return nil
	}
	made := newPipe(pipeSize)
	if made != nil {
		p.made++
	}
	return made
}

// leave takes a pipe back. One with something in it is of no use.
func (p *pipes) leave(left *pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if left.held == 0 {
		p.free = append(p.free, left)
		return
	}
	p.made--
	left.cleanup.Stop()
	closePipe([2]int{left.reader, left.writer})
}

// fill puts some of a file into the pipe, which is empty.
func (p *pipe) fill(from int, offset, length int64) (int, error) {
	n, err := syscall.Splice(from, &offset, p.writer, nil, int(min(length, pipeSize)), 0)
	if err == syscall.EAGAIN {
		err = syscall.EINVAL // the file has nothing: that is not waited for
	}
	p.held = int(max(n, 0))
	return p.held, err
}

// send sends some of what is in the pipe. The rest is still there for the next call.
func (p *pipe) send(to int, more bool) (int, error) {
	flags := 0
	if more {
		flags = 4 // SPLICE_F_MORE
	}
	n, err := syscall.Splice(p.reader, nil, to, nil, p.held, flags)
	sent := int(max(n, 0))
	p.held -= sent
	return sent, err
}
