package ws

import "testing"

// A message of which a part has come takes about twice the memory of that part,
// whatever its frame announces.
func TestMemoryOfPartialMessage(t *testing.T) {
	for _, size := range []int{5_000, 17_000, 33_000, 60_000, 63_000, 100_000, 120_000} {
		for _, pieces := range []int{1, 4, 50} {
			wire := binaryFrame(make([]byte, 2<<20))[:size]
			p := &pipe{}
			for n := range pieces {
				p.pieces = append(p.pieces, wire[n*size/pieces:(n+1)*size/pieces])
			}
			largest := 0
			p.watch = func(r *reader, _ int) {
				r.space() // for the next read
				largest = max(largest, cap(r.in.gathered))
			}
			e := newEndpoint(&functions{
				onData:  func(ClientID, *Message) { t.Error("OnData was called") },
				onClose: func(ClientID, Code, string) {},
			}, Options{AutoFrameSize: 1 << 20, MaxFramesPerSecond: -1, MaxBytesPerMinute: -1})
			openPipe(e, p, 0).run()
			if largest < size-20 || largest > 2*size+size/4 {
				t.Errorf("%d bytes in %d pieces take %d", size, pieces, largest)
			}
		}
	}
}
