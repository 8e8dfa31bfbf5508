package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// unlimited is a limit on inflation that is none.
const unlimited = math.MaxInt64

// random is a source of random numbers whose seed is printed if the test fails.
func random(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %#x", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// jsonMessage is JSON of size bytes, as applications send it.
func jsonMessage(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `{"id":%d,"user":"user%d","price":%d.%02d,"tags":["a","b"],"active":%v},`, i*7919, i%17, i*31%1000, i*13%100, i%3 == 0)
	}
	return b.Bytes()[:size]
}

// noise is size bytes that cannot be compressed.
func noise(r *rand.Rand, size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// pieces is a reader of p in pieces of random sizes, as fragments bring it.
type pieces struct {
	p []byte
	r *rand.Rand
}

func (s *pieces) Read(p []byte) (int, error) {
	if len(s.p) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.p[:1+s.r.IntN(min(len(s.p), 1+s.r.IntN(5000)))])
	s.p = s.p[n:]
	return n, nil
}

// readInflated inflates what reader returns, as a stream.
func readInflated(reader io.Reader, window *Window, limit int64) ([]byte, error) {
	in := NewReader(reader, window, limit)
	defer in.Release()
	return io.ReadAll(in)
}

// TestInflate has what RFC 7692 allows a peer to send, and what it does not.
func TestInflate(t *testing.T) {
	const (
		hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
		final = "\xf3\x48\xcd\xc9\xc9\x07\x00" // BFINAL is set
	)
	for _, test := range []struct {
		rule, payload, want string
		err                 error
	}{
		{"§7.2.3.1: one compressed block", hello, "Hello", nil},
		{"§7.2.3.3: a block without compression", "\x00\x05\x00\xfa\xffHello\x00", "Hello", nil},
		{"§7.2.3.4: a last block", final + "\x00", "Hello", nil},
		{"§7.2.3.5: two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello", nil},
		{"§7.2.3.6: an empty message", "\x00", "", nil},
		{"§7.2.3.6: an empty message in a compressed block", "\x02\x00", "", nil},
		{"§7.2.1: a last block, then another", final + hello, "HelloHello", nil},
		{"§7.2.1: last blocks, one after the other", final + final + final + "\x00", "HelloHelloHello", nil},
		{"§7.2.1: empty last blocks", strings.Repeat("\x03\x00", 1000) + hello, "Hello", nil},
		{"§7.2.1: a last block without compression", "\x01\x05\x00\xfa\xffHello\x00", "Hello", nil},

		{"tolerated: no byte behind a last block", final, "Hello", nil},
		{"tolerated: an empty message made of nothing", "", "", nil},

		{"§7.2.2: the payload ends in a block", hello[:6], "", ErrData},
		{"§7.2.2: the payload ends in a last block", final[:6], "", ErrData},
		{"§7.2.2: the payload ends in a length", "\x00\x05", "", ErrData},
		{"§7.2.2: the payload ends in a stored block", "\x00\x05\x00\xfa\xff", "", ErrData},
		{"§7.2.1: the flush was not cut off", hello + "\x00\x00\xff\xff", "Hello", ErrData},
		{"trailing garbage", hello + "\x55", "Hello", ErrData},
		{"trailing garbage", hello + "\xff\xff\xff\xff", "Hello", ErrData},
		{"trailing garbage behind a last block", final + "\xff", "Hello", ErrData},
		{"RFC 1951 §3.2.3: block type 3", "\x06", "", ErrData},
		{"RFC 1951 §3.2.4: lengths that do not match", "\x00\x05\x00\xfa\xfeHello\x00", "", ErrData},
		{"RFC 1951 §3.2.5: a distance to before the beginning", "\xf2\x00\x11\x00\x00", "", ErrData},
		{"RFC 1951 §2: nor across a last block", final + "\xf2\x00\x11\x00\x00", "Hello", ErrData},
		{"not DEFLATE", "Hello, world", "", ErrData},
	} {
		check := func(how string, got []byte, err error) {
			// What came before the fault may have been handed out.
			if err != test.err || err == nil && string(got) != test.want || !strings.HasPrefix(test.want, string(got[:min(len(got), len(test.want))])) {
				t.Errorf("%s, %s: got %q, %v", test.rule, how, got, err)
			}
		}
		got, err := Inflate(nil, []byte(test.payload), nil, unlimited)
		check("whole", got, err)
		got, err = readInflated(strings.NewReader(test.payload), nil, unlimited)
		check("streamed", got, err)
		got, err = readInflated(iotest.OneByteReader(strings.NewReader(test.payload)), nil, unlimited)
		check("byte by byte", got, err)
		got, err = readInflated(iotest.DataErrReader(strings.NewReader(test.payload)), nil, unlimited)
		check("end with the last byte", got, err)
	}
}

// TestInflateTruncated: no beginning of a payload passes for the message.
func TestInflateTruncated(t *testing.T) {
	payload := Compress(nil, jsonMessage(1000), 1)
	for n := 1; n < len(payload); n++ {
		if _, err := Inflate(nil, payload[:n], nil, unlimited); err != ErrData {
			t.Fatalf("the first %d of %d bytes: %v", n, len(payload), err)
		}
	}
}

// TestRoundTrip: what is compressed in one way or the other is inflated in one
// way or the other, whatever the pieces.
func TestRoundTrip(t *testing.T) {
	r := random(t)
	for _, size := range []int{0, 1, 16, 17, 125, 126, 32768, 32769, 65535, 65536, 200_000} {
		for kind, message := range map[string][]byte{"json": jsonMessage(size), "zeros": make([]byte, size), "noise": noise(r, size)} {
			for _, level := range []int{1, 6} {
				name := fmt.Sprintf("%d bytes of %s at level %d", size, kind, level)
				prefix := []byte("before")
				payload := Compress(prefix, message, level)
				if !bytes.HasPrefix(payload, prefix) {
					t.Fatalf("%s: what was in dst is gone", name)
				}
				payload = payload[len(prefix):]
				if size == 0 && string(payload) != "\x00" { // RFC 7692 §7.2.3.6
					t.Errorf("%s: got % x", name, payload)
				}
				if most := size + size/16384*5 + 16; len(payload) > most {
					t.Errorf("%s: %d bytes compressed", name, len(payload))
				}
				for how, payload := range map[string][]byte{"compress": payload, "deflater": deflateInPieces(t, r, message, level)} {
					got, err := Inflate([]byte("before"), payload, nil, int64(size))
					if err != nil || !bytes.Equal(got, append([]byte("before"), message...)) {
						t.Errorf("%s by %s, whole: %d bytes, %v", name, how, len(got), err)
					}
					got, err = readInflated(&pieces{payload, r}, nil, int64(size))
					if err != nil || !bytes.Equal(got, message) {
						t.Errorf("%s by %s, in pieces: %d bytes, %v", name, how, len(got), err)
					}
				}
			}
		}
	}
}

// deflateInPieces compresses a message whose length is not known beforehand.
func deflateInPieces(t *testing.T, r *rand.Rand, message []byte, level int) []byte {
	t.Helper()
	var payload bytes.Buffer
	d := NewWriter(&payload, level)
	if _, err := io.CopyBuffer(struct{ io.Writer }{d}, &pieces{message, r}, make([]byte, 5000)); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return payload.Bytes()
}

// pieceSizes is a writer that remembers how much it was given at a time.
type pieceSizes []int

func (s *pieceSizes) Write(p []byte) (int, error) {
	*s = append(*s, len(p))
	return len(p), nil
}

// TestDeflaterPieces: the payload leaves while the message is written, and not
// in the crumbs that flate.Writer makes.
func TestDeflaterPieces(t *testing.T) {
	var sizes pieceSizes
	d := NewWriter(&sizes, 1)
	d.Write(jsonMessage(1 << 20))
	if len(sizes) < 10 {
		t.Errorf("%d pieces before the end", len(sizes))
	}
	for i, size := range sizes {
		if size < leastPiece-len(flushTail) {
			t.Errorf("piece %d has %d bytes", i, size)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// failing is a writer that fails after some writes.
type failing struct{ writes int }

var errFailing = errors.New("lost")

func (f *failing) Write(p []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		return 0, errFailing
	}
	return len(p), nil
}

// TestDeflaterFails: an error of the connection comes back, and leaves nothing
// behind in the pool.
func TestDeflaterFails(t *testing.T) {
	message := noise(random(t), 1<<20)
	for writes := range 10 {
		d := NewWriter(&failing{writes}, 1)
		_, err := d.Write(message)
		if closed := d.Close(); closed != errFailing || err != nil && err != errFailing {
			t.Errorf("after %d writes: %v, then %v", writes, err, closed)
		}
		got, err := Inflate(nil, Compress(nil, message[:100], 1), nil, unlimited)
		if err != nil || !bytes.Equal(got, message[:100]) {
			t.Errorf("after %d writes: the next message is %q, %v", writes, got, err)
		}
	}
}

// TestInflateReaderError: a lost connection is no damaged message.
func TestInflateReaderError(t *testing.T) {
	payload := Compress(nil, jsonMessage(100_000), 1)
	for _, lost := range []error{errFailing, io.ErrUnexpectedEOF} {
		for _, n := range []int{0, 1, 100, len(payload)} {
			reader := io.MultiReader(bytes.NewReader(payload[:n]), iotest.ErrReader(lost))
			if _, err := readInflated(reader, nil, unlimited); err != lost {
				t.Errorf("after %d bytes: %v instead of %v", n, err, lost)
			}
		}
	}
}

// TestInflateDeliversFlushes: what the peer flushed is read although the
// message goes on and nothing more comes.
func TestInflateDeliversFlushes(t *testing.T) {
	payload, peer := io.Pipe()
	in := NewReader(payload, nil, unlimited)
	defer in.Release()
	buffer := make([]byte, 100)
	for i, part := range []string{
		"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", // RFC 7692 §7.2.3.5
		"\xf3\x48\xcd\xc9\xc9\x07\x00",                 // a last block
		"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
	} {
		go peer.Write([]byte(part))
		if n, err := in.Read(buffer); err != nil || string(buffer[:n]) != "Hello" {
			t.Fatalf("part %d: %q, %v", i, buffer[:n], err)
		}
	}
}

// TestInflateLimit is exact, and what is within it is delivered.
func TestInflateLimit(t *testing.T) {
	for _, size := range []int{1, 2, 511, 512, 32767, 32768, 32769, 100_000} {
		message := jsonMessage(size)
		payload := Compress(nil, message, 1)
		for _, limit := range []int{0, 1, size - 1, size, size + 1, -1} {
			want := error(nil)
			if limit < size {
				want = ErrLimit
			}
			for how, inflated := range map[string]func() ([]byte, error){
				"whole":        func() ([]byte, error) { return Inflate(nil, payload, nil, int64(limit)) },
				"streamed":     func() ([]byte, error) { return readInflated(bytes.NewReader(payload), nil, int64(limit)) },
				"byte by byte": func() ([]byte, error) { return readByByte(bytes.NewReader(payload), int64(limit)) },
			} {
				got, err := inflated()
				if err != want || !bytes.Equal(got, message[:min(size, max(0, limit))]) {
					t.Errorf("%d bytes, limit %d, %s: %d bytes, %v", size, limit, how, len(got), err)
				}
			}
		}
	}
}

func readByByte(reader io.Reader, limit int64) ([]byte, error) {
	in := NewReader(reader, nil, limit)
	defer in.Release()
	return io.ReadAll(iotest.OneByteReader(in))
}

// bomb is the payload of a message of so many MiB of zeros.
func bomb(mebibytes int) io.Reader {
	block := append(Compress(nil, make([]byte, 1<<20), 9), flushTail...)
	readers := make([]io.Reader, mebibytes)
	for i := range readers {
		readers[i] = bytes.NewReader(block)
	}
	return io.MultiReader(append(readers, strings.NewReader("\x00"))...)
}

// TestInflateBomb: memory depends neither on what a payload inflates to nor on
// its length (CVE-2026-39804).
func TestInflateBomb(t *testing.T) {
	gibibyte, err := io.ReadAll(bomb(1024))
	if err != nil {
		t.Fatal(err)
	}
	allocated := func(f func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	const limit = 2 << 20
	if n := allocated(func() {
		if got, err := Inflate(nil, gibibyte, nil, limit); len(got) != limit || err != ErrLimit {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}); n > 5*limit {
		t.Errorf("%d bytes of memory for a message limited to %d", n, limit)
	}
	const large = 64
	reader := bomb(large)
	if n := allocated(func() {
		in := NewReader(reader, nil, unlimited)
		defer in.Release()
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, in, make([]byte, 4096)); n != large<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}); n > large<<20/16 { // other tests' goroutines allocate meanwhile
		t.Errorf("%d bytes of memory for a message that is read piece by piece", n)
	}
}

// takeoverPeer compresses with its earlier messages in its window.
type takeoverPeer struct {
	writer *flate.Writer
	out    bytes.Buffer
}

func newTakeoverPeer(level int) *takeoverPeer {
	p := new(takeoverPeer)
	p.writer, _ = flate.NewWriter(&p.out, level)
	return p
}

func (p *takeoverPeer) compress(message []byte) []byte {
	p.out.Reset()
	p.writer.Write(message)
	p.writer.Flush()
	return bytes.Clone(bytes.TrimSuffix(p.out.Bytes(), []byte(flushTail)))
}

// TestTakeover: a peer may refer to its earlier messages (RFC 7692 §7.1.1).
func TestTakeover(t *testing.T) {
	const hello, again = "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00" // RFC 7692 §7.2.3.2
	var window Window
	for i, payload := range []string{hello, again, again} {
		if got, err := Inflate(nil, []byte(payload), &window, unlimited); err != nil || string(got) != "Hello" {
			t.Errorf("message %d: %q, %v", i, got, err)
		}
	}
	if string(window) != "HelloHelloHello" {
		t.Errorf("window %q", window)
	}
	if _, err := Inflate(nil, []byte(again), nil, unlimited); err != ErrData {
		t.Errorf("without takeover: %v", err)
	}
}

func TestTakeoverAtLength(t *testing.T) {
	r := random(t)
	peer := newTakeoverPeer(6)
	var window Window
	source := append(jsonMessage(40_000), noise(r, 40_000)...)
	for i := range 300 {
		from := r.IntN(len(source))
		message := source[from : from+r.IntN(min(len(source)-from, 1+r.IntN(40_000))+1)]
		payload := peer.compress(message)
		var got []byte
		var err error
		if r.IntN(2) == 0 {
			got, err = Inflate(nil, payload, &window, unlimited)
		} else {
			got, err = readInflated(&pieces{payload, r}, &window, unlimited)
		}
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d of %d bytes: got %d, %v", i, len(message), len(got), err)
		}
		if cap(window) > maxWindow {
			t.Fatalf("message %d: the window has %d bytes", i, cap(window))
		}
	}
}

// TestSlidingWindow keeps the last bytes, whatever the pieces.
func TestSlidingWindow(t *testing.T) {
	r := random(t)
	for range 100 {
		var window Window
		var all []byte
		for len(all) < 3*maxWindow {
			p := noise(r, r.IntN(1<<r.IntN(17)))
			all = append(all, p...)
			window.add(p)
			if want := all[max(0, len(all)-maxWindow):]; !bytes.Equal(window, want) || cap(window) > maxWindow {
				t.Fatalf("%d of %d bytes, capacity %d", len(window), len(want), cap(window))
			}
		}
	}
	var small Window
	if small.add([]byte("Hello")); cap(small) > 16 {
		t.Errorf("5 bytes take %d", cap(small))
	}
}

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
		{"streams of nothing", bytes.Repeat([]byte{3, 0}, 1<<20), nil, ErrStreams},
		{"streams of one byte", bytes.Repeat([]byte{0x4b, 0x04, 0x00}, 1<<19), nil, ErrStreams},
		{"a stream too many", bytes.Repeat([]byte{3, 0}, maxStreams+1), nil, ErrStreams},
		{"as many streams as there may be", bytes.Repeat([]byte{0x4b, 0x04, 0x00}, maxStreams-1), bytes.Repeat([]byte("a"), maxStreams-1), nil},
		{"flushes of nothing", append(bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 1<<18), 0), nil, nil},
		{"flushes of little", sync, syncMessage, nil},
		{"full flushes", full, fullMessage, nil},
	} {
		for _, window := range []*Window{nil, new(Window)} {
			got, err := Inflate(nil, test.payload, window, unlimited)
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
	var window Window
	var all []byte
	for n := range 200 {
		message := []byte(strings.Repeat(fmt.Sprint(n, " "), 1+n*n%700))
		all = append(all, message...)
		got, err := Inflate(nil, Compress(nil, message, 1), &window, unlimited)
		if err != nil || !bytes.Equal(got, message) {
			t.Fatalf("message %d: %d bytes, %v", n, len(got), err)
		}
		if want := all[max(0, len(all)-maxWindow):]; !bytes.Equal(window, want) {
			t.Fatalf("behind message %d the window holds %d bytes, not the last %d", n, len(window), len(want))
		}
	}
}

// TestReleased: what lies in a pool holds on to nothing of a client.
func TestReleased(t *testing.T) {
	window := Window("Hello")
	in := NewReader(strings.NewReader("\xf2\x48"), &window, unlimited)
	in.Read(make([]byte, 10))
	in.Release()
	if in.dict != nil || in.window != nil || in.err != nil || in.source.reader != nil || in.source.chunk != nil || in.source.err != nil || in.source.ended {
		t.Errorf("inflater: %v", in)
	}
	d := NewWriter(new(bytes.Buffer), 1)
	d.Write(jsonMessage(1000))
	d.Close()
	if d.out != nil || d.next != nil {
		t.Errorf("deflater: %v", d)
	}
}

// TestPoolsAreShared: many goroutines at once get their own messages back.
func TestPoolsAreShared(t *testing.T) {
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			message := jsonMessage(1000 * (worker + 1))[worker:]
			for range 20 {
				got, err := Inflate(nil, Compress(nil, message, 1), nil, unlimited)
				if err != nil || !bytes.Equal(got, message) {
					t.Errorf("worker %d: %d bytes, %v", worker, len(got), err)
				}
			}
		}()
	}
	wait.Wait()
}

func TestDeflateAllocations(t *testing.T) {
	info, _ := debug.ReadBuildInfo()
	if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return // pools forget some of what is put into them
	}
	message := jsonMessage(1024)
	payload := Compress(nil, message, 1)
	window := make(Window, maxWindow)
	var dst []byte
	for name, f := range map[string]func(){
		"compress":              func() { dst = Compress(dst[:0], message, 1) },
		"inflate":               func() { dst, _ = Inflate(dst[:0], payload, nil, unlimited) },
		"inflate with takeover": func() { dst, _ = Inflate(dst[:0], payload, &window, unlimited) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// naiveInflate is inflate as one would write it for a payload in memory, if a
// flate.Reader for each stream did not matter. An error is ErrData.
func naiveInflate(payload, dict []byte) (message []byte, err error) {
	source := bytes.NewReader(append(bytes.Clone(payload), inflateEnd...))
	for ; source.Len() > 0 && source.Len() != len(inflateEnd); dict = nil {
		p, err := io.ReadAll(flate.NewReaderDict(source, dict))
		if message = append(message, p...); err != nil {
			return message, ErrData
		}
	}
	return message, nil
}

func FuzzInflate(f *testing.F) {
	for _, payload := range []string{
		"", "\x00", "\x02\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf2\x00\x11\x00\x00",
		"\x00\x05\x00\xfa\xffHello\x00", "\x01\x09\x00\xf6\xff", "\x03\x00\x03\x00", string(Compress(nil, jsonMessage(300), 6)),
		"\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", string(Compress(nil, make([]byte, 70_000), 1)),
	} {
		f.Add([]byte(payload), []byte("Hello"), uint16(1000), uint64(1))
	}
	f.Fuzz(func(t *testing.T, payload, dict []byte, limit uint16, seed uint64) {
		want, wantErr := naiveInflate(payload, dict)
		if len(want) > int(limit) {
			want, wantErr = want[:limit], ErrLimit
		}
		windows := [2]Window{bytes.Clone(dict), bytes.Clone(dict)}
		whole, err := Inflate(nil, payload, &windows[0], int64(limit))
		streamed, err2 := readInflated(&pieces{payload, rand.New(rand.NewPCG(seed, 0))}, &windows[1], int64(limit))
		if err != wantErr || err2 != wantErr || !bytes.Equal(whole, want) || !bytes.Equal(streamed, want) {
			t.Errorf("whole: %q, %v; in pieces: %q, %v; want %q, %v", whole, err, streamed, err2, want, wantErr)
		}
		window := append(bytes.Clone(dict), want...)
		window = window[max(0, len(window)-maxWindow):]
		if len(want) > 0 && !(bytes.Equal(windows[0], window) && bytes.Equal(windows[1], window)) {
			t.Errorf("windows %q, %q; want %q", windows[0], windows[1], window)
		}
		for _, level := range []int{1, 6} {
			if back, err := Inflate(nil, Compress(nil, payload, level), nil, int64(len(payload))); err != nil || !bytes.Equal(back, payload) {
				t.Errorf("level %d: %q came back as %q, %v", level, payload, back, err)
			}
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	message := jsonMessage(1024)
	for _, level := range []int{1, 3, 6, 9} {
		b.Run(fmt.Sprint("level=", level), func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				dst = Compress(dst[:0], message, level)
			}
			b.ReportMetric(float64(len(dst))/float64(len(message)), "ratio")
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	message := jsonMessage(1024)
	payload := Compress(nil, message, 1)
	full := make(Window, maxWindow)
	for name, window := range map[string]*Window{"takeover=no": nil, "takeover=yes": &full} {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			b.SetBytes(int64(len(message)))
			for b.Loop() {
				dst, _ = Inflate(dst[:0], payload, window, unlimited)
			}
		})
	}
}

// BenchmarkInflateFinalBlocks is a payload that does nothing but make work: each
// two bytes of it are a whole stream.
func BenchmarkInflateFinalBlocks(b *testing.B) {
	payload := bytes.Repeat([]byte("\x03\x00"), 512)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		Inflate(nil, payload, nil, unlimited)
	}
}
