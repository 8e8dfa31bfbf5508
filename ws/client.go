package ws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"aerys/ws/frame"
	"aerys/ws/internal/deflate"
)

// Conn is the client's end of a connection, opened by Dial: what it takes to
// test an endpoint, or to run a bot.
//
// Its methods may be called from any goroutine at any time. Messages are
// written one by one, and each is read by one Read. Something must read, for as
// long as the connection is open: it is Read that answers the server's pings,
// without which the server gives the connection up, and that learns of its end.
//
// However a connection ends, everyone is told the same by a *CloseError: the
// code and reason of whoever closed first, or CodeAbnormal if it was lost. It
// has ended, with nothing left to release, once Read or Close has said so.
type Conn struct {
	nc      net.Conn
	options *Options // of which only a few mean something to a client
	deflate deflate.Terms
	closing atomic.Pointer[CloseError] // since a close frame was sent or received, or the connection lost
	expiry  atomic.Pointer[time.Timer] // of the closing handshake
	pongs   pongs                      // that are to be sent

	writing baton // taken by whoever writes to nc, and given back by endWriting
	reading baton // taken by whoever reads from it, and touches these:

	reader   *bufio.Reader
	in       incoming
	window   *deflate.Window // what the server's messages may refer to (RFC 7692 §7.1.1)
	answered bool            // the server sent a close frame
	ended    bool            // there is nothing more to read
}

var (
	errReadSize = &frame.ProtocolError{Code: CodeTooBig, Reason: "message exceeds DialOptions.MaxMessageSize"}
	errNoAnswer = errors.New("ws: the server did not answer the close frame within DialOptions.ClosePeriod")
)

// newConn is the connection behind a handshake that succeeded; body is what the
// server sends on it.
func newConn(nc net.Conn, body io.Reader, terms deflate.Terms, o *DialOptions) *Conn {
	c := &Conn{nc: nc, reader: bufio.NewReader(body), deflate: terms, writing: make(baton, 1), reading: make(baton, 1)}
	c.options = Options{MaxMessageSize: o.MaxMessageSize, ClosePeriod: o.ClosePeriod, MaxFrameSize: -1, MaxFramesPerMessage: -1}.withDefaults()
	if terms.Takeover() {
		c.window = new(deflate.Window)
	}
	return c
}

// baton is a mutex that is waited for no longer than a context allows.
type baton chan struct{}

func (b baton) take(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case b <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b baton) release() { <-b }

// interrupt makes reads or writes fail once ctx is done, until the function that
// it returns is called.
func interrupt(ctx context.Context, setDeadline func(time.Time) error) (end func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadline(time.Unix(1, 0))
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
			setDeadline(time.Time{})
		}
	}
}

// Read returns the next message, whole, and whether it is binary, not text,
// which is valid UTF-8. The slice is the caller's. Pings and close frames that
// come before it are answered (RFC 6455 §5.5).
//
// The error is that of ctx, after which nothing is lost: the next Read goes on
// where this one stopped. Any other is a *CloseError, and that of all later calls.
func (c *Conn) Read(ctx context.Context) (data []byte, binary bool, err error) {
	if err := c.reading.take(ctx); err != nil {
		return nil, false, err
	}
	defer c.reading.release()
	defer interrupt(ctx, c.nc.SetReadDeadline)()
	if c.ended {
		return nil, false, c.closing.Load()
	}
	data, binary, err = c.readMessage()
	if err == nil {
		return data, binary, nil
	}
	if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false, ctx.Err()
	}
	return nil, false, c.endReading(err)
}

// readMessage reads until a message is whole. An error may leave it half read.
func (c *Conn) readMessage() (data []byte, binary bool, err error) {
	in := &c.in
	for in.opcode == 0 || !in.complete() {
		if in.remaining > 0 {
			err = c.readPayload()
		} else {
			err = c.readHeader()
		}
		if err != nil {
			return nil, false, err
		}
	}
	data, binary = in.gathered, in.opcode == frame.Binary
	valid := in.text.Complete()
	if in.compressed {
		data, err = deflate.Inflate(nil, data, c.window, c.options.MaxMessageSize)
		valid = err != nil || binary || utf8.Valid(data)
	}
	in.gathered = nil // it is the caller's, not a pool's
	in.endMessage()
	if !valid {
		err = errText
	}
	return data, binary, err
}

// readHeader reads the header of a data frame, or a whole control frame.
func (c *Conn) readHeader() error {
	in := &c.in
	h, size, err := c.peekHeader()
	if err == nil {
		err = frame.Check(h, frame.State{Fragmented: in.fragmented(), Compression: c.deflate.Enabled()})
	}
	if err != nil {
		return err
	}
	if h.Opcode.Control() {
		return c.readControl(h, size)
	}
	c.reader.Discard(size)
	return in.beginFrame(h, c.options)
}

// peekHeader returns the next header and its size. It is still to be read.
func (c *Conn) peekHeader() (h frame.Header, size int, err error) {
	for n := 2; size == 0 && err == nil; n++ {
		var p []byte
		if p, err = c.reader.Peek(n); err == nil {
			h, size, err = frame.ParseHeader(p)
		}
	}
	return h, size, err
}

// readPayload reads what has come of a data frame. Memory is taken as it is
// filled, not as a header announces.
func (c *Conn) readPayload() error {
	in := &c.in
	room := int(min(in.remaining, int64(max(bufferSize, len(in.gathered)))))
	in.gathered = slices.Grow(in.gathered, room)
	read := len(in.gathered)
	n, err := c.reader.Read(in.gathered[read : read+room])
	if fault := in.gather(in.gathered[read : read+n]); fault != nil {
		return fault
	}
	return err
}

// readControl reads and answers a control frame. That a close frame came is an error.
func (c *Conn) readControl(h frame.Header, size int) error {
	p, err := c.reader.Peek(size + int(h.Length))
	if err != nil {
		return err
	}
	payload := bytes.Clone(p[size:])
	c.reader.Discard(len(p))
	switch h.Opcode {
	case frame.Ping:
		c.sendPong(payload)
	case frame.Close:
		code, reason, err := frame.ParseClose(payload)
		if err != nil {
			return err
		}
		return &CloseError{code, reason}
	}
	return nil
}

// endReading ends the connection, which an error has made useless, and returns
// why. The server is given time to close it first (RFC 6455 §7.1.1).
func (c *Conn) endReading(err error) error {
	c.ended = true
	var violation *frame.ProtocolError
	var closed *CloseError
	switch {
	case errors.As(err, &closed):
		c.answered = true
		c.sayClose(closed, "") // the code alone is echoed
	case errors.As(err, &violation):
		if violation == errMessageSize || violation == deflate.ErrLimit {
			violation = errReadSize
		}
		c.sayClose(&CloseError{violation.Code, violation.Reason}, violation.Reason)
	default:
		return c.lost(err)
	}
	io.Copy(io.Discard, c.reader)
	c.release()
	return c.closing.Load()
}

// lost ends the connection at once.
func (c *Conn) lost(err error) error {
	c.closing.CompareAndSwap(nil, &CloseError{CodeAbnormal, "connection lost: " + err.Error()})
	c.release()
	return c.closing.Load()
}

// release leaves nothing that holds the connection.
func (c *Conn) release() {
	c.nc.Close()
	if expiry := c.expiry.Swap(nil); expiry != nil {
		expiry.Stop()
	}
}

// sayClose sends a close frame, unless the connection is being closed already,
// and bounds what may follow.
func (c *Conn) sayClose(how *CloseError, reason string) bool {
	if !c.closing.CompareAndSwap(nil, how) {
		return false
	}
	if c.options.ClosePeriod < math.MaxInt64 {
		c.expiry.Store(time.AfterFunc(c.options.ClosePeriod, func() { c.nc.Close() }))
	}
	c.writing.take(context.Background())
	defer c.endWriting()
	writeFrame(c, frame.Header{Fin: true, Opcode: frame.Close}, frame.AppendClose(nil, how.Code, reason))
	return true
}

// Close closes the connection as RFC 6455 §7.1.2 wants it: it sends a close
// frame and waits for the server's, for DialOptions.ClosePeriod at most.
// Messages that still come go to a Read that is under way, or are lost. Code is
// CodeNormal or any other that may be sent (else Close panics); the reason is
// cut to 123 bytes. The error is a *CloseError if the connection was closed
// before, or says that the server did not answer.
func (c *Conn) Close(code Code, reason string) error {
	if !code.Sendable() {
		panic("ws: Conn.Close: code " + code.String() + " must not be sent (RFC 6455 §7.4); use CodeNormal, another of its kind, or 3000 to 4999")
	}
	if !c.sayClose(&CloseError{code, reason}, reason) {
		return c.closing.Load()
	}
	c.reading.take(context.Background())
	defer c.reading.release()
	for !c.ended {
		if _, _, err := c.readMessage(); err != nil {
			c.endReading(err)
		}
	}
	c.release()
	if !c.answered {
		return errNoAnswer
	}
	return nil
}

// Write sends a text message, and returns when the system has taken it. The
// error is a *CloseError, ErrInvalidText if the text is not UTF-8, or that of
// ctx. A ctx that is done while a part of the message is sent ends the connection.
func (c *Conn) Write(ctx context.Context, text string) error {
	if !utf8.ValidString(text) {
		return ErrInvalidText
	}
	return writeMessage(ctx, c, frame.Text, text)
}

// WriteBinary sends a binary message as Write does. The slice is not kept.
func (c *Conn) WriteBinary(ctx context.Context, data []byte) error {
	return writeMessage(ctx, c, frame.Binary, data)
}

// writeMessage sends a message, compressed if that was agreed on and is worth it.
func writeMessage[T string | []byte](ctx context.Context, c *Conn, opcode frame.Opcode, payload T) error {
	if c.deflate.Fits(len(payload)) {
		if small := deflated(payload, c.options); small != nil {
			defer putBuffer(small)
			return writeData(ctx, c, frame.Header{Fin: true, Rsv: rsv1, Opcode: opcode}, small)
		}
	}
	return writeData(ctx, c, frame.Header{Fin: true, Opcode: opcode}, payload)
}

// writeData sends a data frame in its turn.
func writeData[T string | []byte](ctx context.Context, c *Conn, h frame.Header, payload T) error {
	if err := c.writing.take(ctx); err != nil {
		return err
	}
	defer c.endWriting()
	if how := c.closing.Load(); how != nil {
		return how
	}
	defer interrupt(ctx, c.nc.SetWriteDeadline)()
	err := writeFrame(c, h, payload)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // what was sent of the frame cannot be taken back
		c.lost(ctx.Err())
		return ctx.Err()
	}
	// The server may have said why before it went: that is for Read to find out.
	return &CloseError{CodeAbnormal, "connection lost: " + err.Error()}
}

// writeFrame sends a frame, masked with a key that nobody can know beforehand
// (RFC 6455 §5.3). c.writing is taken.
func writeFrame[T string | []byte](c *Conn, h frame.Header, payload T) error {
	h.Masked, h.Length = true, int64(len(payload))
	rand.Read(h.Key[:])
	p := append(frame.AppendHeader(getBuffer(frame.MaxHeaderSize+len(payload)), h), payload...)
	defer putBuffer(p)
	frame.Mask(p[len(p)-len(payload):], h.Key, 0)
	_, err := c.nc.Write(p)
	return err
}

// pongs are those that wait until something else is sent. While there are any,
// or something is sent, the baton of writing is not free.
type pongs struct {
	mu       sync.Mutex // held while the baton is taken for them, or given back
	payloads [][]byte
}

// maxPongs is how many pings are answered, the latest, of those that come while
// nothing can be sent (RFC 6455 §5.5.3).
const maxPongs = 64

// sendPong answers a ping, before any message that was not begun yet: the answer
// to what came behind the ping, perhaps. The reader does not wait for it: a
// server may read from us no sooner than we have read from it.
func (c *Conn) sendPong(payload []byte) {
	p := &c.pongs
	p.mu.Lock()
	defer p.mu.Unlock()
	p.payloads = append(p.payloads, payload)
	p.payloads = p.payloads[max(0, len(p.payloads)-maxPongs):]
	select {
	case c.writing <- struct{}{}:
		go c.sendPongs()
	default: // whoever has the baton will see to it
	}
}

// endWriting gives the baton back, after the pongs that wait.
func (c *Conn) endWriting() {
	p := &c.pongs
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.payloads) > 0 {
		go c.sendPongs()
	} else {
		c.writing.release()
	}
}

// sendPongs sends the pongs that wait. c.writing is taken.
func (c *Conn) sendPongs() {
	p := &c.pongs
	p.mu.Lock()
	payloads := p.payloads
	p.payloads = nil
	p.mu.Unlock()
	for _, payload := range payloads {
		if c.closing.Load() == nil {
			writeFrame(c, frame.Header{Fin: true, Opcode: frame.Pong}, payload)
		}
	}
	c.endWriting()
}
