package ws

import (
	"io"
	"math"

	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// Writer sends one message of unknown length, in frames of
// Options.AutoFrameSize (RFC 6455 §5.4). While it is open other messages to
// the same client wait for their turn; pings and pongs do not. Write blocks
// while the client is too far behind, as Endpoint.Send does. Close ends the
// message and must be called. A Writer is used by one goroutine at a time.
type Writer struct {
	conn     *conn
	header   frame.Header    // of the next frame
	frame    []byte          // its payload so far
	text     *frame.UTF8     // nil if the message is binary
	deflater *deflate.Writer // nil if it is not compressed
	err      error
}

// Writer begins a message to a client, text or binary. It waits for its turn
// as Send does. The error is ErrClosed, ErrSlowClient or ErrStreaming.
func (e *Endpoint) Writer(id ClientID, binary bool) (*Writer, error) {
	c := e.find(id)
	if c == nil {
		return nil, ErrClosed
	}
	w := &Writer{conn: c, header: frame.Header{Opcode: frame.Binary}}
	if !binary {
		w.header.Opcode, w.text = frame.Text, new(frame.UTF8)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.waitForTurn(); err != nil {
		return nil, err
	}
	c.catchUpNow()
	if c.deflate.Fits(math.MaxInt) {
		w.header.Rsv, w.deflater = rsv1, deflate.NewWriter(frameWriter{w}, e.options.CompressionLevel)
	}
	c.extras().stream = &stream{later: outboxes.Get().(*outbox)}
	return w, nil
}

// Write sends p, or keeps it until there is enough for a frame. The error is
// ErrClosed, ErrSlowClient, or ErrInvalidText if a text is not UTF-8; behind
// Close it is io.ErrClosedPipe.
func (w *Writer) Write(p []byte) (n int, err error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.conn == nil:
		return 0, io.ErrClosedPipe
	case w.text != nil && !w.text.Valid(p):
		w.err = ErrInvalidText
	case w.deflater != nil:
		n, w.err = w.deflater.Write(p)
	default:
		n, w.err = frameWriter{w}.Write(p)
	}
	return n, w.err
}

// Close sends the last frame, and lets others send. After an error of Write
// the message cannot be completed nor taken back: the client is closed with
// 1011.
func (w *Writer) Close() error {
	if w.conn == nil {
		return w.err
	}
	if w.text != nil && !w.text.Complete() && w.err == nil {
		w.err = ErrInvalidText
	}
	if w.deflater != nil {
		if err := w.deflater.Close(); w.err == nil {
			w.err = err
		}
	}
	if w.err == nil {
		w.err = w.send(true)
	}
	c := w.conn
	if w.err != nil && c.closing.Load() == nil {
		c.fail(CodeInternalError, "the server could not complete a message")
	}
	c.mu.Lock()
	c.endStream()
	c.mu.Unlock()
	putBuffer(w.frame)
	w.conn, w.frame = nil, nil
	return w.err
}

// frameWriter cuts a Writer's payload into frames.
type frameWriter struct{ *Writer }

func (w frameWriter) Write(p []byte) (n int, err error) {
	size := w.conn.endpoint.options.AutoFrameSize
	for len(p) > 0 {
		if len(w.frame) >= size {
			if err := w.send(false); err != nil {
				return n, err
			}
		}
		some := p[:min(len(p), size-len(w.frame))]
		w.frame = append(growBuffer(w.frame, len(some)), some...)
		p, n = p[len(some):], n+len(some)
	}
	return n, nil
}

// send sends the frame that was gathered.
func (w *Writer) send(final bool) error {
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.Load() != nil {
		return ErrClosed
	}
	if err := c.waitForRoom(); err != nil {
		return err
	}
	w.header.Fin = final
	appendFrame(c.waiting(), w.header, w.frame)
	c.count(framesSent, 1)
	if final {
		c.count(messagesSent, 1)
		c.lastDataSent = c.now()
	}
	c.afterAppend()
	w.header = frame.Header{Opcode: frame.Continuation}
	w.frame = w.frame[:0]
	return nil
}
