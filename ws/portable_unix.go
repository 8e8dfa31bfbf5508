//go:build unix

package ws

import (
	"io"
	"syscall"
)

// readiness waits for a socket without a buffer, and reads and writes without
// waiting.
type readiness struct {
	stream *stream
	raw    syscall.RawConn    // nil if the connection is no plain socket
	look   func(uintptr) bool // tryRead, readOnce and writeOnce, bound once
	reader func(uintptr) bool
	writer func(uintptr) bool

	into    []byte // to be read
	read    int
	readErr error

	p        []byte // to be written
	written  int
	writeErr error
}

func (r *readiness) init(s *stream) {
	r.stream, r.look, r.reader, r.writer = s, r.tryRead, r.readOnce, r.writeOnce
	if c, ok := s.net.(syscall.Conn); ok {
		r.raw, _ = c.SyscallConn()
	}
}

// possible reports whether the connection can tell that it is ready.
func (r *readiness) possible() bool { return r.raw != nil }

// wait waits until there is something to read, and only then takes a turn for
// its buffer.
func (r *readiness) wait() {
	s := r.stream
	s.found, s.err = 0, nil
	if err := r.raw.Read(r.look); err != nil {
		s.err = err
	}
}

// tryRead reports whether the waiting is over. The first call reads at once:
// readiness from before is not reported again.
func (r *readiness) tryRead(fd uintptr) bool {
	t := turns.Get().(*turn)
	n, err := ignoringEINTR(syscall.Read, int(fd), t.buffer)
	if n <= 0 {
		turns.Put(t)
		if n == 0 && err == nil {
			err = io.EOF
		}
		r.stream.err = err
		return err != syscall.EAGAIN
	}
	r.stream.turn, r.stream.found, r.stream.err = t, n, nil
	return true
}

// readNow reads what is there, which may be nothing.
func (r *readiness) readNow(p []byte) (int, error) {
	r.into = p
	if err := r.raw.Read(r.reader); err != nil {
		return 0, err
	}
	return r.read, r.readErr
}

func (r *readiness) readOnce(fd uintptr) bool {
	r.read, r.readErr = ignoringEINTR(syscall.Read, int(fd), r.into)
	switch {
	case r.readErr == syscall.EAGAIN:
		r.readErr = nil
	case r.read == 0 && r.readErr == nil:
		r.readErr = io.EOF
	}
	r.read, r.into = max(r.read, 0), nil
	return true
}

func (r *readiness) tryWrite(p []byte) (int, error) {
	if r.raw == nil {
		return 0, nil
	}
	r.p = p
	if err := r.raw.Write(r.writer); err != nil {
		return 0, err
	}
	return r.written, r.writeErr
}

func (r *readiness) writeOnce(fd uintptr) bool {
	r.written, r.writeErr = ignoringEINTR(syscall.Write, int(fd), r.p)
	if r.writeErr == syscall.EAGAIN {
		r.writeErr = nil
	}
	r.written, r.p = max(r.written, 0), nil
	return true
}

// ignoringEINTR repeats a system call that a signal interrupted.
func ignoringEINTR(call func(int, []byte) (int, error), fd int, p []byte) (n int, err error) {
	for {
		if n, err = call(fd, p); err != syscall.EINTR {
			return n, err
		}
	}
}
