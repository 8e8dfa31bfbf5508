package aerys

import (
	"io"
	"os"
	"runtime"
	"syscall"
)

// transmission sends a header, and has the kernel send a part of a file: that is
// not copied, and they leave together. A cork has one of its own.
type transmission struct {
	head        []byte
	from        int // descriptor
	offset, end int64
	pipe        *pipe // that long parts take, if there is one
	more        bool  // follows behind end, at once
	err         error
	step        func(uintptr) bool // send, bound once
}

// sendFile sends head and the next length bytes of a section of file. If the
// section is longer, a last packet that is not full may wait for the rest.
func (t *transmission) sendFile(c *connection, head []byte, section *io.SectionReader, file *os.File, length int64) (int64, error) {
	conn, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if t.step == nil {
		t.step = t.send
	}
	_, base, size := section.Outer()
	position, _ := section.Seek(0, io.SeekCurrent)
	start := base + position
	t.head, t.from, t.offset, t.end, t.more = head, int(file.Fd()), start, start+length, position+length < size
	if length >= pipeFrom {
		t.pipe = c.all.takePipe()
	}
	_, err = c.sending(func() (int64, error) {
		before := t.offset - int64(len(t.head))
		err := conn.Write(t.step)
		return t.offset - int64(len(t.head)) - before, err
	})
	runtime.KeepAlive(file)
	if err == nil {
		err = t.err
	}
	if t.pipe != nil {
		c.all.leavePipe(t.pipe)
	}
	t.head, t.pipe, t.err = nil, nil, nil
	section.Seek(t.offset-base, io.SeekStart)
	return t.offset - start, err
}

// send sends what the socket takes, and reports whether that is all.
func (t *transmission) send(to uintptr) (done bool) {
	if t.err = t.sendHead(int(to)); t.err == nil {
		t.err = t.sendBody(int(to))
	}
	return t.err != syscall.EAGAIN
}

// sendHead lets the kernel wait for more before it makes a packet of the header.
func (t *transmission) sendHead(to int) error {
	for len(t.head) > 0 {
		n, err := syscall.SendmsgN(to, t.head, nil, nil, syscall.MSG_MORE)
		if err != nil && err != syscall.EINTR {
			return err
		}
		t.head = t.head[max(n, 0):]
	}
	return nil
}

// sendBody sends the file to its end, or to where it ends now.
func (t *transmission) sendBody(to int) error {
	for t.offset < t.end {
		n, err := t.sendPart(to)
		if err != nil && err != syscall.EINTR || err == nil && n == 0 {
			return err
		}
	}
	return nil
}

// sendPart sends some of the file, and moves offset.
func (t *transmission) sendPart(to int) (n int, err error) {
	if t.pipe == nil {
		return syscall.Sendfile(to, t.from, &t.offset, int(min(t.end-t.offset, 1<<30)))
	}
	n, err = t.pipe.send(to, t.from, t.offset, t.end-t.offset, t.more)
	t.offset += int64(max(n, 0))
	return n, err
}
