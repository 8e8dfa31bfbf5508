package ws

import (
	"testing"

	"aerys/internal/loop"
	"aerys/ws/frame"
)

// A client that has sent much is not read to its end before others have a turn, and
// nothing of it is lost.
func TestMuchTakesTurns(t *testing.T) {
	bytes, turns := 0, 0
	e := newEndpoint(&functions{onData: func(_ ClientID, m *Message) {
		p, _ := m.Bytes()
		bytes += len(p)
	}}, Options{MaxBytesPerMinute: -1, MaxFramesPerSecond: -1})
	p := openPipe(e, &pipe{stays: true}, 0)
	for range 5 * maxReads {
		p.pieces = append(p.pieces, append([]byte{0x82, 0xfe, 0x0f, 0xa0, 0, 0, 0, 0}, make([]byte, 4000)...))
	}
	for p.Serve(nil) == loop.ErrYield {
		turns++
	}
	if bytes != 5*maxReads*4000 || turns < 5 {
		t.Errorf("received %d bytes in %d turns", bytes, turns)
	}
}

// Many bytes are waited for if they are of a large frame that comes fast; of a slow
// one, and of all else, any.
func TestMuchIsAwaited(t *testing.T) {
	const size, many = 200_000, 32 << 10
	header := frame.AppendHeader(nil, frame.Header{Fin: true, Opcode: frame.Binary, Masked: true, Length: size})
	messages := 0
	e := newEndpoint(&functions{onData: func(_ ClientID, m *Message) {
		if p, err := m.Bytes(); len(p) != size || err != nil {
			t.Errorf("%d bytes, %v", len(p), err)
		}
		messages++
	}}, Options{AutoFrameSize: size})
	p := openPipe(e, &pipe{stays: true}, 0)
	send := func(what string, wire []byte, much bool) {
		r := p.takeReader()
		p.pieces, r.filled = [][]byte{wire}, true
		r.begin(&p.conn)
		err := r.readAll()
		if r.finish(); err != loop.ErrAgain || p.awaited >= many != much {
			t.Errorf("%s: %d bytes are awaited, %v", what, p.awaited, err)
		}
	}
	for range 2 {
		send("a little", append(header[:len(header):len(header)], make([]byte, 1000)...), false)
		send("much", make([]byte, 60_000), true)
		send("little again", make([]byte, 1000), false)
		send("much again", make([]byte, 60_000), true)
		send("and again", make([]byte, 60_000), false) // too few are missing to wait for
		send("the rest", make([]byte, size-182_000), false)
	}
	if messages != 2 {
		t.Errorf("%d messages of 2", messages)
	}
}
