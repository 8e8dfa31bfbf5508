package http1

import (
	"io"
	"net/http"

	"aerys/internal/loop"
)

// ReadFrom implements io.ReaderFrom: the transport may send a file without
// copying it.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	part, isPart := loop.PartOf(src)
	if !isPart || part.Length <= sendFrom || part.MayWait() {
		return io.CopyBuffer(writerOnly{w}, src, buffer[:])
	}
	start := part.Offset
	if w.guesses() {
		n, err := io.CopyBuffer(writerOnly{w}, io.LimitReader(&part, sniffSize), buffer[:])
		if err != nil || n < sniffSize {
			loop.Advance(src, n)
			return n, err
		}
	}
	sent, err := w.sendFile(&part)
	loop.Advance(src, part.Offset-start)
	if !sent {
		n, err = io.CopyBuffer(writerOnly{w}, src, buffer[:])
	}
	return part.Offset - start + n, err
}

// sendFrom is from what length on a part of a file is worth a system call of its
// own.
const sendFrom = 8 << 10

// sniffSize is how much http.DetectContentType looks at.
const sniffSize = 512

type writerOnly struct{ io.Writer }

// guesses reports whether the Content-Type is guessed by what the body begins
// with, which the transport does not show.
func (w *response) guesses() bool {
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	return w.admit(0) == nil && !w.headLeft && w.gathered < sniffSize && w.fields.sniffed()
}

// sendFile lets the transport send, where no framing stands between the bytes.
func (w *response) sendFile(p *loop.FilePart) (sent bool, err error) {
	c := w.conn
	w.active.mu.Lock()
	defer w.active.mu.Unlock()
	if err := w.admit(0); err != nil {
		return true, err
	}
	if err := w.flushBody(); err != nil {
		return true, err
	}
	if w.fields.chunked || w.method == http.MethodHead || !bodyAllowed(w.status) {
		return false, nil
	}
	if left := w.length - w.written; w.length >= 0 && p.Length > left {
		p.Length, p.More = max(0, left), false
	}
	c.leaves(p.Length)
	c.clock.writing()
	n, err := c.transport.SendFile(c.out[:c.ready], p, c.clock.piece)
	c.clock.wrote()
	c.output.release()
	w.written += n
	if err != nil {
		c.failed(err)
		err = c.err
	}
	return true, err
}
