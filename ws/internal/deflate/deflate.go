// Package deflate is permessage-deflate (RFC 7692) as pure functions: what is
// agreed on, and what it does to the payload of one message (§7.2). It knows no
// connection and no frames: what is called payload here may be cut into the
// frames of the message anywhere (§6.1).
package deflate

import (
	"compress/flate"
	"io"
	"sync"
)

// flushTail is how the flush of a DEFLATE stream ends: the length of an empty
// block without compression. It is not sent (RFC 7692 §7.2.1).
const flushTail = "\x00\x00\xff\xff"

// Writer compresses one message. It is used by one goroutine at a time, and
// comes from a pool: a flate.Writer takes 1.2 MB.
type Writer struct {
	writer *flate.Writer
	out    []byte    // compressed bytes that were not passed on
	next   io.Writer // where they go; nil: they stay in out
	level  int
}

// writers are kept by their level, 1 to 9.
var writers [10]sync.Pool

// getWriter returns a Writer that has not seen any message yet: its window
// is empty (RFC 7692 §7.1.1, no context takeover).
func getWriter(level int, out []byte, next io.Writer) *Writer {
	w, ok := writers[level].Get().(*Writer)
	if !ok {
		w = &Writer{level: level}
		w.writer, _ = flate.NewWriter(nil, level) // fails for levels above 9 only
	}
	w.out, w.next = out, next
	w.writer.Reset((*output)(w))
	return w
}

func (w *Writer) release() {
	w.out, w.next = nil, nil
	writers[w.level].Put(w)
}

// Compress appends the compressed form of a whole message to dst
// (RFC 7692 §7.2.1). An empty message becomes a single zero byte (§7.2.3.6).
//
// The level is that of compress/flate, from 1 to 9. The default is 1: without
// earlier messages to refer to, the higher levels take half as long again, or
// longer, to save another twentieth of a message of 1 KiB.
func Compress(dst, payload []byte, level int) []byte {
	w := getWriter(level, dst, nil)
	// Neither fails, for an output that keeps everything does not.
	w.writer.Write(payload)
	w.writer.Flush()
	dst = w.out[:len(w.out)-len(flushTail)]
	w.release()
	return dst
}

// leastPiece is how many compressed bytes a Writer gathers at least before it
// passes them on: flate.Writer writes 240 at a time.
const leastPiece = 4096

// NewWriter returns a Writer of a message of unknown length, whose payload it
// writes to next, piece by piece. It must be closed, once, and not be used after.
func NewWriter(next io.Writer, level int) *Writer {
	return getWriter(level, make([]byte, 0, leastPiece+512), next)
}

// Write compresses p. The error is that of the writer the payload goes to.
func (w *Writer) Write(p []byte) (int, error) { return w.writer.Write(p) }

// Close writes the rest of the payload (RFC 7692 §7.2.1) and releases the
// Writer. After an error of Write it only does the latter.
func (w *Writer) Close() error {
	err := w.writer.Flush()
	if err == nil {
		_, err = w.next.Write(w.out[:len(w.out)-len(flushTail)])
	}
	w.release()
	return err
}

// output is what a Writer's flate.Writer writes to.
type output Writer

// Write always holds back the last bytes: they may turn out to be the flushTail.
func (o *output) Write(p []byte) (int, error) {
	o.out = append(o.out, p...)
	if o.next == nil || len(o.out) < leastPiece {
		return len(p), nil
	}
	n := len(o.out) - len(flushTail)
	_, err := o.next.Write(o.out[:n])
	o.out = append(o.out[:0], o.out[n:]...)
	return len(p), err
}
