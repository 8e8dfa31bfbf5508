package aerys

import (
	"io"

	"aerys/internal/loop"
)

// ReadFrom writes what source has to the body. On Linux an *os.File, or an
// *io.SectionReader of one, whose file may be shared by many responses, is sent
// by the kernel, unless it is filtered or compressed: if its Content-Length is
// set, or it exceeds OutputBufferSize. The file may be closed meanwhile; what was
// not sent yet is an error then. Of an *io.LimitedReader of such a section, the
// end may leave with what is written next.
func (r *Response) ReadFrom(source io.Reader) (n int64, err error) {
	writer := struct{ io.Writer }{r}
	excess, err := r.readsAhead()
	if err != nil {
		return 0, err
	}
	part, ok := loop.PartOf(source)
	if ok && excess > 0 {
		if n, err = io.Copy(writer, io.LimitReader(source, excess)); err != nil || n < excess {
			return n, err
		}
		part, ok = loop.PartOf(source)
	}
	if !ok || !r.sendsFiles() {
		rest, err := io.Copy(writer, source)
		return n + rest, err
	}
	rest, err := r.out.sendFile(&part)
	loop.Advance(source, rest)
	if err != nil && r.enter() {
		defer r.leave()
		r.note(err)
	}
	return n + rest, err
}

// readsAhead starts the response, and tells how much of a file is to be held
// back before the rest is streamed. The header is sent if that is nothing.
func (r *Response) readsAhead() (excess int64, err error) {
	if !r.enter() {
		return 0, ErrEnded
	}
	defer r.leave()
	if err := r.admit(0); err != nil || r.state != Started || r.handshake || !bodyAllowed(r.status) {
		return 0, err
	}
	if r.out.header["Content-Length"] == nil {
		return int64(r.options().OutputBufferSize - len(r.body) + 1), nil
	}
	return 0, r.stream()
}

// sendsFiles reports whether files need not be read for the body.
func (r *Response) sendsFiles() bool {
	if !r.enter() {
		return false
	}
	defer r.leave()
	return r.state == Streaming && r.sink == io.Writer(&r.out) && bodyAllowed(r.status)
}
