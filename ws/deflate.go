package ws

import (
	"compress/flate"
	"errors"
	"io"
	"slices"
	"sync"
)

// This file is permessage-deflate on the payload of one message (RFC 7692
// §7.2). It knows no frames: what is called payload here may be cut into the
// frames of the message anywhere (§6.1).

// flushTail is how the flush of a DEFLATE stream ends: the length of an empty
// block without compression. It is not sent (RFC 7692 §7.2.1).
const flushTail = "\x00\x00\xff\xff"

// deflater compresses one message. It is used by one goroutine at a time, and
// comes from a pool: a flate.Writer takes 1.2 MB.
type deflater struct {
	writer *flate.Writer
	out    []byte    // compressed bytes that were not passed on
	next   io.Writer // where they go; nil: they stay in out
	level  int
}

// deflaters are kept by their level, 1 to 9.
var deflaters [10]sync.Pool

// getDeflater returns a deflater that has not seen any message yet: its window
// is empty (RFC 7692 §7.1.1, no context takeover).
func getDeflater(level int, out []byte, next io.Writer) *deflater {
	d, ok := deflaters[level].Get().(*deflater)
	if !ok {
		d = &deflater{level: level}
		d.writer, _ = flate.NewWriter(nil, level) // fails for levels above 9 only
	}
	d.out, d.next = out, next
	d.writer.Reset((*deflateOutput)(d))
	return d
}

func (d *deflater) release() {
	d.out, d.next = nil, nil
	deflaters[d.level].Put(d)
}

// compress appends the compressed form of a whole message to dst
// (RFC 7692 §7.2.1). An empty message becomes a single zero byte (§7.2.3.6).
//
// The level is that of compress/flate, from 1 to 9. The default is 1: without
// earlier messages to refer to, the higher levels take half as long again, or
// longer, to save another twentieth of a message of 1 KiB.
func compress(dst, payload []byte, level int) []byte {
	d := getDeflater(level, dst, nil)
	// Neither fails, for a deflateOutput that keeps everything does not.
	d.writer.Write(payload)
	d.writer.Flush()
	dst = d.out[:len(d.out)-len(flushTail)]
	d.release()
	return dst
}

// deflatePiece is how many compressed bytes a deflater gathers at least before
// it passes them on: flate.Writer writes 240 at a time.
const deflatePiece = 4096

// newDeflater returns a deflater for a message of unknown length, whose
// payload it writes to next, piece by piece. It must be closed, once, and not
// be used after.
func newDeflater(next io.Writer, level int) *deflater {
	return getDeflater(level, make([]byte, 0, deflatePiece+512), next)
}

// Write compresses p. The error is that of the writer the payload goes to.
func (d *deflater) Write(p []byte) (int, error) { return d.writer.Write(p) }

// Close writes the rest of the payload (RFC 7692 §7.2.1) and releases the
// deflater. After an error of Write it only does the latter.
func (d *deflater) Close() error {
	err := d.writer.Flush()
	if err == nil {
		_, err = d.next.Write(d.out[:len(d.out)-len(flushTail)])
	}
	d.release()
	return err
}

// deflateOutput is what a deflater's flate.Writer writes to.
type deflateOutput deflater

// Write always holds back the last bytes: they may turn out to be the flushTail.
func (o *deflateOutput) Write(p []byte) (int, error) {
	o.out = append(o.out, p...)
	if o.next == nil || len(o.out) < deflatePiece {
		return len(p), nil
	}
	n := len(o.out) - len(flushTail)
	_, err := o.next.Write(o.out[:n])
	o.out = append(o.out[:0], o.out[n:]...)
	return len(p), err
}

// Errors of inflating.
var (
	// errInflateData says that a payload is not DEFLATE, or ends too early.
	// RFC 7692 names no status code for it; 1007 is for data that is not
	// consistent with its type (RFC 6455 §7.4.1).
	errInflateData = errors.New("ws: compressed message is damaged (RFC 7692 §7.2.2)")
	// errInflateLimit says that a message is larger than allowed: 1009.
	errInflateLimit = errors.New("ws: message is too big when inflated")
	// errInflateStreams says that a payload is made of too many streams: 1008.
	errInflateStreams = errors.New("ws: compressed message consists of too many streams")
)

// maxStreams is how many DEFLATE streams a message may consist of. One is all
// that a sender needs, one that ends them with each fragment needs as many.
// Streams of two bytes would take ten times the processor time of any others.
const maxStreams = 1024

// inflater is an io.Reader of the message whose compressed payload it is given
// (RFC 7692 §7.2.2). It comes from a pool, takes 45 KB, and allocates nothing
// more, however large the message.
//
// A payload may consist of several DEFLATE streams: a block with BFINAL set ends
// one (§7.2.3.4), and the next begins at the next byte (§7.2.1), with an empty
// window as every stream does. The last has no such block; it is given one.
type inflater struct {
	stream  flateReader
	source  inflateSource
	between bool           // no stream is begun
	dict    []byte         // the window that the first of them begins with
	window  *slidingWindow // nil without context takeover
	recent  []byte         // what is to be added to it
	streams int            // begun so far
	left    int64          // how many more bytes the message may have
	err     error
}

type flateReader interface {
	io.Reader
	flate.Resetter
}

var inflaters = sync.Pool{New: func() any {
	in := new(inflater)
	in.stream = flate.NewReader(&in.source).(flateReader)
	return in
}}

// newInflater returns an inflater of the payload that reader returns until its
// io.EOF. It must be released, once, and not be used after. No more than limit
// bytes are inflated.
//
// With context takeover (§7.1.1) window holds the end of the messages before
// this one, and is brought up to date as this one is read: it has to be read to
// its end then, wanted or not. Without, window is nil.
func newInflater(reader io.Reader, window *slidingWindow, limit int64) *inflater {
	in := inflaters.Get().(*inflater)
	in.source.reader = reader
	in.between, in.window, in.left, in.streams = true, window, max(limit, 0), 0
	if window != nil {
		in.dict = *window
	}
	return in
}

// release gives the inflater back. It keeps no reference to what it was given.
func (in *inflater) release() {
	if in.recent != nil {
		putBuffer(in.recent)
	}
	in.dict, in.window, in.recent, in.err = nil, nil, nil, nil
	in.source.reader, in.source.chunk = nil, nil
	in.source.ended, in.source.err = false, nil
	inflaters.Put(in)
}

// inflate appends the message whose whole payload is given to dst. Its errors
// are errInflateData and errInflateLimit; window and limit are newInflater's.
func inflate(dst, compressed []byte, window *slidingWindow, limit int64) ([]byte, error) {
	in := newInflater(nil, window, limit)
	defer in.release()
	in.source.chunk = compressed
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, 512+len(compressed))
		}
		n, err := in.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch err {
		case nil:
		case io.EOF:
			return dst, nil
		default:
			return dst, err
		}
	}
}

// Read returns the next bytes of the message, as soon as the peer flushed them.
// The error is io.EOF, errInflateData, errInflateLimit or the payload reader's.
func (in *inflater) Read(p []byte) (int, error) {
	if int64(len(p)) > in.left {
		p = p[:in.left+1] // one more than allowed tells whether there are more
	}
	for in.err == nil && len(p) > 0 {
		n, err := in.readStream(p)
		if int64(n) > in.left {
			n, err = int(in.left), errInflateLimit
		}
		in.left -= int64(n)
		in.err = err
		in.remember(p[:n])
		if n > 0 {
			return n, nil
		}
	}
	return 0, in.err
}

// remember adds what was inflated to the window once the message is at its end:
// to move the window for every few bytes of it would take too long.
func (in *inflater) remember(p []byte) {
	if in.window == nil {
		return
	}
	p = p[max(0, len(p)-maxWindow):]
	if in.recent == nil {
		in.recent = getBuffer(2 * maxWindow)
	}
	if recent := in.recent; len(recent)+len(p) > cap(recent) {
		in.recent = append(recent[:0], recent[len(recent)-maxWindow:]...)
	}
	in.recent = append(in.recent, p...)
	if in.err != nil {
		in.window.add(in.recent)
	}
}

// readStream reads from the stream under way, or begins the next.
func (in *inflater) readStream(p []byte) (int, error) {
	if in.between {
		if in.source.exhausted() {
			return 0, io.EOF
		}
		if in.streams++; in.streams > maxStreams {
			return 0, errInflateStreams
		}
		in.stream.Reset(&in.source, in.dict)
		in.between, in.dict = false, nil
	}
	n, err := in.stream.Read(p)
	switch {
	case err == io.EOF:
		in.between, err = true, nil
	case err != nil && in.source.err != nil:
		err = in.source.err
	case err != nil:
		err = errInflateData
	}
	return n, err
}

// inflateEnd is what follows a payload: the flushTail that was not sent
// (RFC 7692 §7.2.2), and an empty last block, at which a flate.Reader stops
// (RFC 1951 §3.2.3).
const inflateEnd = flushTail + "\x01\x00\x00\xff\xff"

// inflateSource is a compressed payload and its inflateEnd, byte by byte.
type inflateSource struct {
	reader io.Reader // nil: there is nothing behind chunk
	chunk  []byte    // what was not read yet
	ended  bool      // chunk is (the rest of) inflateEnd
	err    error     // of reader
	buffer [4096]byte
}

// fill sees to it that chunk is not empty.
func (s *inflateSource) fill() error {
	for len(s.chunk) == 0 && s.err == nil {
		switch {
		case s.ended:
			return io.EOF
		case s.reader == nil:
			s.chunk, s.ended = s.buffer[:copy(s.buffer[:], inflateEnd)], true
		default:
			n, err := s.reader.Read(s.buffer[:])
			s.chunk = s.buffer[:n]
			if err == io.EOF {
				s.reader = nil
			} else {
				s.err = err
			}
		}
	}
	if len(s.chunk) == 0 {
		return s.err
	}
	return nil
}

// exhausted reports, between two streams, whether the message ends here: behind
// inflateEnd, or already before it. The latter is more than RFC 7692 asks for,
// but some peers compress an empty message to nothing (§7.2.3.6), or leave out
// the byte that has to follow a last block (§7.2.3.4).
func (s *inflateSource) exhausted() bool {
	s.fill()
	return s.ended && len(s.chunk)%len(inflateEnd) == 0
}

func (s *inflateSource) ReadByte() (byte, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	b := s.chunk[0]
	s.chunk = s.chunk[1:]
	return b, nil
}

func (s *inflateSource) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// slidingWindow is the end of what a peer has sent, inflated: as much as its
// next message may refer to (RFC 7692 §7.2.3.2). It takes memory as it fills, at
// most maxWindow. A nil *slidingWindow stays empty.
type slidingWindow []byte

// maxWindow is the largest window of DEFLATE (RFC 1951 §2).
const maxWindow = 32 << 10

// add keeps the last maxWindow bytes of the window and p, which do not overlap.
func (w *slidingWindow) add(p []byte) {
	if w == nil {
		return
	}
	p = p[max(0, len(p)-maxWindow):]
	keep := (*w)[max(0, len(*w)+len(p)-maxWindow):]
	grown := *w
	if size := len(keep) + len(p); size > cap(grown) {
		grown = make([]byte, 0, min(2*size, maxWindow))
	}
	*w = append(append(grown[:0], keep...), p...)
}
