package loop

import (
	"os"
	"runtime"
	"sync"
	"syscall"
)

// transmission sends a header, and has the kernel send a part of a file: that is
// not copied, and they leave together.
type transmission struct {
	socket *socket
	head   []byte
	part   *FilePart
	file   syscall.RawConn
	pipe   *pipe // that long parts take, if there is one

	moved  int   // what the last system call did
	failed error // and how it failed
}

// sendFile sends head and what is left of p. done is false if the kernel does not
// send such a file, of which nothing was sent then.
func (s *socket) sendFile(head []byte, p *FilePart, progress func()) (rest []byte, done bool, err error) {
	t := &transmission{socket: s, head: head, part: p}
	if t.file, err = p.File.SyscallConn(); err != nil {
		return head, true, err
	}
	pipes := &s.loop.engine.(*epoll).pipes
	if p.Length >= pipeFrom && p.Length < endless {
		t.pipe = pipes.take()
	}
	if t.pipe != nil {
		defer pipes.leave(t.pipe)
	}
	for {
		before := p.Offset - int64(len(t.head))
		err = t.send()
		n := p.Offset - int64(len(t.head)) - before
		if s.wrote(int(n), err == syscall.EAGAIN); n > 0 {
			progress()
		}
		switch err {
		case syscall.EAGAIN:
			if s.waitWrite(); s.late() {
				return nil, true, os.ErrDeadlineExceeded
			}
		case syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP:
			return t.head, false, nil
		default:
			return nil, true, err
		}
	}
}

// endless is a length that no file has: it is sent to its end, wherever that is.
const endless = 1 << 60

// send sends what the socket takes. The error is syscall.EAGAIN if that is not
// all, and the socket is marked as blocked.
func (t *transmission) send() error {
	err := t.sendOn()
	if err == syscall.EAGAIN {
		// The socket may have become writable before the bit was seen.
		setBits(&t.socket.state, blocked, 0)
		if err = t.sendOn(); err != syscall.EAGAIN {
			setBits(&t.socket.state, 0, blocked)
		}
	}
	return err
}

func (t *transmission) sendOn() error {
	if err := t.sendHead(); err != nil {
		return err
	}
	for t.part.Length > 0 {
		n, err := t.sendSome()
		if err != nil && err != syscall.EINTR || err == nil && n == 0 {
			return err
		}
		t.part.Skip(int64(max(n, 0)))
	}
	return nil
}

// sendHead lets the kernel wait for more before it makes a packet of the header.
func (t *transmission) sendHead() error {
	for len(t.head) > 0 {
		n, err := t.socket.use(func(fd int) (int, error) {
			return syscall.SendmsgN(fd, t.head, nil, nil, syscall.MSG_MORE)
		})
		if err != nil && err != syscall.EINTR {
			return err
		}
		t.head = t.head[max(n, 0):]
	}
	return nil
}

// sendSome sends some of the file. Its descriptor is held for one system call
// each: whoever closes the file need not wait for the peer, and what another
// file gets the number for is not sent.
func (t *transmission) sendSome() (n int, err error) {
	if t.pipe == nil || t.pipe.held == 0 {
		if t.file.Control(t.move) != nil {
			return 0, &os.PathError{Op: "sendfile", Path: t.part.File.Name(), Err: os.ErrClosed}
		}
		if t.pipe == nil || t.moved <= 0 || t.failed != nil {
			return t.moved, t.failed
		}
	}
	more := t.part.More || int64(t.pipe.held) < t.part.Length
	return t.socket.use(func(to int) (int, error) { return t.pipe.send(to, more) })
}

// move sends some of the file to the socket, or puts it into the pipe.
func (t *transmission) move(from uintptr) {
	if t.pipe != nil {
		t.moved, t.failed = t.pipe.fill(int(from), t.part.Offset, t.part.Length)
		return
	}
	offset := t.part.Offset
	t.moved, t.failed = t.socket.use(func(to int) (int, error) {
		return syscall.Sendfile(to, int(from), &offset, int(min(t.part.Length, 1<<30)))
	})
}

// SendFile sends head and a part of a file: by the kernel, where it can. The file
// may be closed meanwhile; what was not sent yet is an error then. progress is
// called whenever the peer took some.
func (c *Conn) SendFile(head []byte, p *FilePart, progress func()) (n int64, err error) {
	start := p.Offset
	if s, ok := c.transport.(*socket); ok {
		rest, done, err := s.sendFile(head, p, progress)
		if head = rest; done {
			if errno, ok := err.(syscall.Errno); ok {
				err = os.NewSyscallError("sendfile", errno)
			}
			return p.Offset - start, err
		}
	}
	err = c.copyFile(head, p, progress)
	return p.Offset - start, err
}

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
// share a packet. That saves a fifth of the work for a long file.
type pipe struct {
	reader, writer int // descriptors
	held           int // bytes
	cleanup        runtime.Cleanup
}

// newPipe returns nil if there can be no more of that size.
func newPipe() *pipe {
	var ends [2]int
	if syscall.Pipe2(ends[:], syscall.O_CLOEXEC) != nil {
		return nil
	}
	const setSize = 1031 // F_SETPIPE_SZ
	if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(ends[1]), setSize, pipeSize); errno != 0 {
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
	made := newPipe()
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
