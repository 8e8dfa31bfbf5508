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
	err         error
	step        func(uintptr) bool // send, bound once
}

// sendFile sends head and what is left of a section of file.
func (t *transmission) sendFile(c *connection, head []byte, section *io.SectionReader, file *os.File) (int64, error) {
	conn, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	if t.step == nil {
		t.step = t.send
	}
	_, base, size := section.Outer()
	position, _ := section.Seek(0, io.SeekCurrent)
	t.head, t.from, t.offset, t.end = head, int(file.Fd()), base+position, base+size
	err = conn.Write(t.step)
	runtime.KeepAlive(file)
	if err == nil {
		err = t.err
	}
	t.head, t.err = nil, nil
	return t.offset - base - position, err
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
		n, err := syscall.Sendfile(to, t.from, &t.offset, int(min(t.end-t.offset, 1<<30)))
		if err != nil && err != syscall.EINTR || err == nil && n == 0 {
			return err
		}
	}
	return nil
}
