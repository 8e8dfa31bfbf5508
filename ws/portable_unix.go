//go:build unix

package ws

import (
	"io"
	"syscall"
)

// readiness waits for a socket without a buffer, and writes to it without
// waiting.
type readiness struct {
	stream *stream
	raw    syscall.RawConn    // nil if the connection is no plain socket
	reader func(uintptr) bool // tryRead and writeOnce, bound once
	writer func(uintptr) bool

	turn    *turn // begun when there was something to read
	read    int
	readErr error

	p        []byte // to be written
	written  int
	writeErr error
}

func (r *readiness) init(s *stream) {
	r.stream, r.reader, r.writer = s, r.tryRead, r.writeOnce
	if c, ok := s.net.(syscall.Conn); ok {
		r.raw, _ = c.SyscallConn()
	}
}

// possible reports whether the connection can tell that it is ready.
func (r *readiness) possible() bool { return r.raw != nil }

// readReady waits until there is something to read, and only then takes a
// buffer for it.
func (s *stream) readReady() error {
	r := &s.ready
	err := r.raw.Read(r.reader)
	t := r.turn
	if t == nil {
		return err
	}
	r.turn = nil
	defer s.finish(t)
	if r.readErr != nil {
		return r.readErr
	}
	return ignorePause(t.received(t.space()[:r.read]))
}

// tryRead reports whether the waiting is over. The first call reads at once:
// readiness from before is not reported again.
func (r *readiness) tryRead(fd uintptr) bool {
	t := r.stream.begin()
	n, err := ignoringEINTR(syscall.Read, int(fd), t.space())
	if err == syscall.EAGAIN {
		r.stream.finish(t)
		return false
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	r.turn, r.read, r.readErr = t, max(n, 0), err
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
