package loop

import (
	"errors"
	"net"
	"os"
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

// use calls f with the socket's descriptor, which is not closed meanwhile.
func (s *socket) use(f func(fd int) (int, error)) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return 0, net.ErrClosed
	}
	return f(int(s.fd))
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
			return p.Offset - start, fileError(err)
		}
	}
	err = c.copyFile(head, p, progress)
	return p.Offset - start, err
}

// fileError tells more than a number.
func fileError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return os.NewSyscallError("sendfile", err)
	}
	return err
}
