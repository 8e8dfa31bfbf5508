package ws_test

import (
	"bytes"
	"io"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// A message may be longer than memory: of a handler that reads it in pieces, or
// writes it with a Writer, the heap does not know its length.

// The sizes of long messages, well above what expectFlat allows. A GiB takes
// seconds, and the race detector too long.
var longSize, veryLongSize = longSizes()

func longSizes() (long, veryLong int) {
	if ws.Raced() {
		return 32 << 20, 32 << 20
	}
	return 64 << 20, 1 << 30
}

// longPiece is what is sent or received of it at a time, a prime so that nothing
// lies where it is expected.
var longPiece = []byte(filler(99_991))

// expectFlat fails if the heap grew by more than some buffers.
func expectFlat(t *testing.T, do func()) {
	t.Helper()
	if grown := heapGrowth(do); grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

func TestLongMessageIn(t *testing.T) {
	for _, test := range []struct {
		name   string
		size   int // on epoll
		frames int
	}{
		{"in one frame", veryLongSize, 1},
		{"in fragments", longSize, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			engines(t, func(t *testing.T, at setting) {
				received := make(chan int, 1)
				handler := &recorder{onData: func(_ ws.ClientID, m *ws.Message) {
					received <- readLong(t, m)
				}}
				options := unlimited
				options.MaxMessageSize, options.MaxFrameSize = -1, -1
				p := serve(t, at, handler, options).dial(t)
				expectFlat(t, func() {
					size := test.size
					if at.engine != ws.EngineEpoll || testing.Short() {
						size = longSize
					}
					p.writeLong(size, test.frames)
					if got := <-received; got != size {
						t.Errorf("%d bytes arrived of %d", got, size)
					}
				})
				p.leave()
			})
		})
	}
}

// readLong reads a message piece by piece, and returns how much of it was right.
func readLong(t *testing.T, r io.Reader) (size int) {
	for p := make([]byte, 64<<10); ; {
		n, err := r.Read(p)
		for got := p[:n]; len(got) > 0; {
			want := longPiece[size%len(longPiece):]
			some := min(len(got), len(want))
			if !bytes.Equal(got[:some], want[:some]) {
				t.Errorf("wrong between %d and %d", size, size+some)
				return size
			}
			got, size = got[some:], size+some
		}
		if err != nil {
			if err != io.EOF {
				t.Error(err)
			}
			return size
		}
	}
}

// writeLong sends a long message in so many frames, of which the last may be longer.
func (p *peer) writeLong(size, frames int) {
	for sent, n := 0, 0; n < frames; n++ {
		h := frame.Header{Opcode: frame.Continuation, Masked: true, Length: int64(size / frames)} // the key is zero
		if n == 0 {
			h.Opcode = frame.Binary
		}
		if n == frames-1 {
			h.Fin, h.Length = true, int64(size-sent)
		}
		p.write(frame.AppendHeader(nil, h))
		for end := sent + int(h.Length); sent < end; {
			piece := longPiece[sent%len(longPiece):]
			piece = piece[:min(len(piece), end-sent)]
			p.nc.Write(piece)
			sent += len(piece)
		}
	}
}

func TestLongMessageOut(t *testing.T) {
	sockets(t, func(t *testing.T, at setting) {
		s := serve(t, at, &recorder{}, unlimited)
		p := s.dial(t)
		size := longSize / len(longPiece) * len(longPiece)
		expectFlat(t, func() {
			written := make(chan error, 1)
			go func() { written <- s.writeLong(p.id(), size) }()
			if got := readLong(t, &payloads{peer: p}); got != size {
				t.Errorf("%d bytes arrived of %d", got, size)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
		p.leave()
	})
}

// writeLong writes a message of size bytes to a client.
func (s *server) writeLong(id ws.ClientID, size int) error {
	w, err := s.Writer(id, true)
	if err != nil {
		return err
	}
	for range size / len(longPiece) {
		if _, err := w.Write(longPiece); err != nil {
			return err
		}
	}
	return w.Close()
}

// payloads is a reader of what the frames of one message carry.
type payloads struct {
	*peer
	header frame.Header
	left   int64 // of the frame under way
}

func (r *payloads) Read(p []byte) (n int, err error) {
	for size := 2; r.left == 0; size++ {
		if r.header.Fin {
			return 0, io.EOF
		}
		wire, err := r.reader.Peek(size)
		if err != nil {
			return 0, err
		}
		if h, n, err := frame.ParseHeader(wire); n > 0 && err == nil {
			r.header, r.left = h, h.Length
			r.reader.Discard(n)
			if max := int64(64<<10 - 9); h.Length > max || h.Length < max && !h.Fin {
				r.t.Errorf("a frame of %d bytes, not of Options.AutoFrameSize", h.Length)
			}
		}
	}
	n, err = r.reader.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}
