package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// flushed compresses pieces, each of which can be inflated when it has come.
func flushed(t *testing.T, pieces int, full bool) (payload, message []byte) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 1)
	if err != nil {
		t.Fatal(err)
	}
	for n := range pieces {
		piece := fmt.Sprint("piece ", n)
		message = append(message, piece...)
		if full { // nothing refers to what was before
			w.Flush()
			w.Reset(&out)
		}
		w.Write([]byte(piece))
		w.Flush()
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(flushTail)), message
}

// What a message costs to inflate is bounded by its length, for senders that make
// it of nothing; senders that flush all the time do nothing wrong.
func TestCostOfInflating(t *testing.T) {
	sync, syncMessage := flushed(t, 20_000, false)
	full, fullMessage := flushed(t, 5_000, true)
	for _, test := range []struct {
		name    string
		payload []byte
		want    []byte
		err     error
	}{
		{"streams of nothing", bytes.Repeat([]byte{3, 0}, 1<<20), nil, errInflateStreams},
		{"streams of one byte", bytes.Repeat([]byte{0x4b, 0x04, 0x00}, 1<<19), nil, errInflateStreams},
		{"a stream too many", bytes.Repeat([]byte{3, 0}, maxStreams+1), nil, errInflateStreams},
		{"as many streams as there may be", bytes.Repeat([]byte{0x4b, 0x04, 0x00}, maxStreams-1), bytes.Repeat([]byte("a"), maxStreams-1), nil},
		{"flushes of nothing", append(bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 1<<18), 0), nil, nil},
		{"flushes of little", sync, syncMessage, nil},
		{"full flushes", full, fullMessage, nil},
	} {
		for _, window := range []*slidingWindow{nil, new(slidingWindow)} {
			got, err := inflate(nil, test.payload, window, unlimited)
			if !errors.Is(err, test.err) || err == nil && !bytes.Equal(got, test.want) {
				t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
			}
			tail := test.want[max(0, len(test.want)-maxWindow):]
			if window != nil && err == nil && !bytes.Equal(*window, tail) {
				t.Errorf("%s: the window holds %d bytes, not the last %d", test.name, len(*window), len(tail))
			}
			if read, readErr := readInflated(bytes.NewReader(test.payload), nil, unlimited); !errors.Is(readErr, test.err) || !bytes.Equal(read, got) {
				t.Errorf("%s: read %d bytes, %v", test.name, len(read), readErr)
			}
		}
	}
}

// Messages build the window that the next may refer to, however they come.
func TestWindowOfManyMessages(t *testing.T) {
	var window slidingWindow
	var all []byte
	for n := range 200 {
		message := []byte(strings.Repeat(fmt.Sprint(n, " "), 1+n*n%700))
		all = append(all, message...)
		got, err := inflate(nil, compress(nil, message, 1), &window, unlimited)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d: %d bytes, %v", n, len(got), err)
		}
		if want := all[max(0, len(all)-maxWindow):]; !bytes.Equal(window, want) {
			t.Fatalf("behind message %d the window holds %d bytes, not the last %d", n, len(window), len(want))
		}
	}
}

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
			p.watch = func(t *turn, _ int) {
				t.space() // for the next read
				largest = max(largest, cap(t.in.gathered))
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
