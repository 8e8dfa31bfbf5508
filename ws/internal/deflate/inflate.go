package deflate

import (
	"compress/flate"
	"io"
	"slices"
	"sync"

	"aerys/ws/frame"
)

// Errors of inflating.
var (
	// ErrData says that a payload is not DEFLATE, or ends too early. RFC 7692
	// names no status code for it; 1007 is for data that is not consistent with
	// its type (RFC 6455 §7.4.1).
	ErrData = &frame.ProtocolError{Code: frame.CodeInvalidPayload, Reason: "compressed message is damaged (RFC 7692 §7.2.2)"}
	// ErrLimit says that a message is larger than allowed.
	ErrLimit = &frame.ProtocolError{Code: frame.CodeTooBig, Reason: "inflated message exceeds Options.MaxMessageSize"}
	// ErrStreams says that a payload is made of too many streams.
	ErrStreams = &frame.ProtocolError{Code: frame.CodePolicyViolation, Reason: "compressed message consists of too many streams (RFC 7692 §7.2.3.4)"}
)

// maxStreams is how many DEFLATE streams a message may consist of. One is all
// that a sender needs, one that ends them with each fragment needs as many.
// Streams of two bytes would take ten times the processor time of any others.
const maxStreams = 1024

// Reader is an io.Reader of the message whose compressed payload it is given
// (RFC 7692 §7.2.2). It comes from a pool, takes 45 KB, and allocates nothing
// more, however large the message.
//
// A payload may consist of several DEFLATE streams: a block with BFINAL set ends
// one (§7.2.3.4), and the next begins at the next byte (§7.2.1), with an empty
// window as every stream does. The last has no such block; it is given one.
type Reader struct {
	stream  io.Reader // a flate.Resetter
	source  source
	between bool    // no stream is begun
	dict    []byte  // the window that the first of them begins with
	window  *Window // nil without context takeover
	recent  []byte  // what is to be added to it
	streams int     // begun so far
	left    int64   // how many more bytes the message may have
	err     error
}

var readers = sync.Pool{New: func() any {
	in := new(Reader)
	in.stream = flate.NewReader(&in.source)
	return in
}}

// NewReader returns a Reader of the payload that reader returns until its
// io.EOF. It must be released, once, and not be used after. No more than limit
// bytes are inflated.
//
// With context takeover (§7.1.1) window holds the end of the messages before
// this one, and is brought up to date as this one is read: it has to be read to
// its end then, wanted or not. Without, window is nil.
func NewReader(reader io.Reader, window *Window, limit int64) *Reader {
	in := readers.Get().(*Reader)
	in.source.reader = reader
	in.between, in.window, in.left, in.streams = true, window, max(limit, 0), 0
	if window != nil {
		in.dict = *window
	}
	return in
}

// Release gives the Reader back. It keeps no reference to what it was given.
func (in *Reader) Release() {
	in.dict, in.window, in.recent, in.err = nil, nil, in.recent[:0], nil
	in.source.reader, in.source.chunk = nil, nil
	in.source.ended, in.source.err = false, nil
	readers.Put(in)
}

// Inflate appends the message whose whole payload is given to dst. Its errors
// are ErrData and ErrLimit; window and limit are NewReader's.
func Inflate(dst, compressed []byte, window *Window, limit int64) ([]byte, error) {
	in := NewReader(nil, window, limit)
	defer in.Release()
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
// The error is io.EOF, ErrData, ErrLimit or the payload reader's.
func (in *Reader) Read(p []byte) (int, error) {
	if int64(len(p)) > in.left {
		p = p[:in.left+1] // one more than allowed tells whether there are more
	}
	for in.err == nil && len(p) > 0 {
		n, err := in.readStream(p)
		if int64(n) > in.left {
			n, err = int(in.left), ErrLimit
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
func (in *Reader) remember(p []byte) {
	if in.window == nil {
		return
	}
	p = p[max(0, len(p)-maxWindow):]
	if in.recent == nil {
		in.recent = make([]byte, 0, 2*maxWindow)
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
func (in *Reader) readStream(p []byte) (int, error) {
	if in.between {
		if in.source.exhausted() {
			return 0, io.EOF
		}
		if in.streams++; in.streams > maxStreams {
			return 0, ErrStreams
		}
		in.stream.(flate.Resetter).Reset(&in.source, in.dict)
		in.between, in.dict = false, nil
	}
	n, err := in.stream.Read(p)
	switch {
	case err == io.EOF:
		in.between, err = true, nil
	case err != nil && in.source.err != nil:
		err = in.source.err
	case err != nil:
		err = ErrData
	}
	return n, err
}

// inflateEnd is what follows a payload: the flushTail that was not sent
// (RFC 7692 §7.2.2), and an empty last block, at which a flate.Reader stops
// (RFC 1951 §3.2.3).
const inflateEnd = flushTail + "\x01\x00\x00\xff\xff"

// source is a compressed payload and its inflateEnd, byte by byte.
type source struct {
	reader io.Reader // nil: there is nothing behind chunk
	chunk  []byte    // what was not read yet
	ended  bool      // chunk is (the rest of) inflateEnd
	err    error     // of reader
	buffer [4096]byte
}

// fill sees to it that chunk is not empty.
func (s *source) fill() error {
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
func (s *source) exhausted() bool {
	s.fill()
	return s.ended && len(s.chunk)%len(inflateEnd) == 0
}

func (s *source) ReadByte() (byte, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	b := s.chunk[0]
	s.chunk = s.chunk[1:]
	return b, nil
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	n := copy(p, s.chunk)
	s.chunk = s.chunk[n:]
	return n, nil
}

// Window is the end of what a peer has sent, inflated: as much as its
// next message may refer to (RFC 7692 §7.2.3.2). It takes memory as it fills, at
// most maxWindow.
type Window []byte

// maxWindow is the largest window of DEFLATE (RFC 1951 §2).
const maxWindow = 32 << 10

// add keeps the last maxWindow bytes of the window and p, which do not overlap.
func (w *Window) add(p []byte) {
	p = p[max(0, len(p)-maxWindow):]
	keep := (*w)[max(0, len(*w)+len(p)-maxWindow):]
	grown := *w
	if size := len(keep) + len(p); size > cap(grown) {
		grown = make([]byte, 0, min(2*size, maxWindow))
	}
	*w = append(append(grown[:0], keep...), p...)
}
