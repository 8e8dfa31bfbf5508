package http1

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// bodiesInChunks says what becomes of a body in chunks: its data, its trailers,
// and what is left behind it, or that it is malformed.
var bodiesInChunks = []struct {
	section string
	raw     string
	data    string
	trailer string
	rest    string
	err     error
}{
	{section: "RFC 9112 §7.1, nothing", raw: "0\r\n\r\nrest", rest: "rest"},
	{section: "§7.1", raw: "4\r\nbody\r\n0\r\n\r\n", data: "body"},
	{section: "§7.1, hexadecimal", raw: "a\r\n0123456789\r\nA\r\n0123456789\r\n000\r\n\r\n", data: "01234567890123456789"},
	{section: "§7.1, zeros in front", raw: "0000000000000004\r\nbody\r\n0\r\n\r\n", data: "body"},
	{section: "§7.1, too many zeros", raw: "00000000000000004\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, too large", raw: "10000000000000004\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, 2^63", raw: "8000000000000000\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, no size", raw: "\r\n\r\n", err: errChunk},
	{section: "§7.1, no size but an extension", raw: ";x\r\n\r\n", err: errChunk},
	{section: "§7.1, a prefix", raw: "0x4\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, a sign", raw: "+4\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, a sign", raw: "-4\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, a space in front", raw: " 4\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, white space behind", raw: "4 \t\r\nbody\r\n0\r\n\r\n", data: "body"},
	{section: "§7.1, white space inside", raw: "4 4\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, a bare LF", raw: "4\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, a bare CR", raw: "4\rbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, CR CR LF", raw: "4\r\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1, data longer than said", raw: "4\r\nbodyX0\r\n\r\n", data: "body", err: errChunk},
	{section: "§7.1, a bare LF behind data", raw: "4\r\nbody\n0\r\n\r\n", data: "body", err: errChunk},
	{section: "§7.1.1, an extension", raw: "4;a=\"b c\"\r\nbody\r\n0;x\r\n\r\n", data: "body"},
	{section: "§7.1.1, a bare LF behind it", raw: "4;\nxx\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1.1, white space in front", raw: "4 ;x\r\nbody\r\n0\r\n\r\n", err: errChunk},
	{section: "§7.1.1, endless", raw: "4;" + strings.Repeat("x", 5000), err: errExcess},
	{section: "§7.1.1, as long as possible", raw: "4;" + strings.Repeat("x", 4092) + "\r\nbody\r\n0\r\n\r\n", data: "body"},
	{section: "§7.1.1, too long by one", raw: "4;" + strings.Repeat("x", 4093) + "\r\nbody\r\n0\r\n\r\n", err: errExcess},
	{section: "§7.1.1, too many", raw: strings.Repeat("1;"+strings.Repeat("x", 4000)+"\r\nb\r\n", 5), data: "bbbb", err: errExcess},
	{section: "§7.1.1, single bytes are served", raw: strings.Repeat("1\r\nb\r\n", 5000) + "0\r\n\r\n", data: strings.Repeat("b", 5000)},
	{section: "§7.1.2", raw: "0\r\nX-A: a\r\nx-b:  b \r\nX-A: c\r\n\r\nrest", trailer: "map[X-A:[a c] X-B:[b]]", rest: "rest"},
	{section: "§7.1.2, a length does not count", raw: "0\r\nContent-Length: 4\r\n\r\nrest", trailer: "map[Content-Length:[4]]", rest: "rest"},
	{section: "§7.1.2, a bare LF", raw: "0\r\nX: a\n\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, a bare LF at the end", raw: "0\r\nX: a\r\n\nGET / HTTP/1.1\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, a bare CR", raw: "0\r\n\rX: a\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, folded", raw: "0\r\nX: a\r\n b\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, no colon", raw: "0\r\nX\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, no name", raw: "0\r\n: x\r\n\r\n", err: errTrailers},
	{section: "§7.1.2, endless", raw: "0\r\nX: " + strings.Repeat("x", 5000), err: errTrailers},
	{section: "§7.1.2, endless fields", raw: "0\r\n" + strings.Repeat("X: a\r\n", 1000), err: errTrailers},
}

func TestChunks(t *testing.T) {
	for _, row := range bodiesInChunks {
		for _, size := range []int{1, 2, 3, 7, 100, 1 << 20} {
			for _, room := range []int{1, 4, 1 << 20} {
				data, trailer, rest, err := decodeInPieces(byChunks(), row.raw, size, room)
				if err == io.EOF {
					err = nil
				}
				got := ""
				if trailer != nil {
					got = fmt.Sprint(trailer)
				}
				if data != row.data || got != row.trailer || err != row.err || err == nil && rest != row.rest {
					t.Fatalf("%s: %.60q in pieces of %d, read by %d: %.60q %s %.60q %v", row.section, row.raw, size, room, data, got, rest, err)
				}
			}
		}
	}
}

// decodeInPieces is a body that comes in pieces of a size and is read into
// buffers with some room.
func decodeInPieces(d decoder, raw string, size, room int) (data string, trailer http.Header, rest string, err error) {
	var out bytes.Buffer
	dst := make([]byte, room)
	src := []byte(raw)
	here := src[:min(size, len(src))]
	for {
		n, used, err := d.decode(dst, here)
		out.Write(dst[:n])
		src, here = src[used:], here[used:]
		if err != nil {
			return out.String(), d.trailer, string(src), err
		}
		if used == 0 && n == 0 {
			if len(here) == len(src) {
				return out.String(), nil, string(src), io.ErrUnexpectedEOF
			}
			here = src[:min(len(here)+size, len(src))]
		}
	}
}

func TestLength(t *testing.T) { // RFC 9112 §6.2
	for n := range 5 {
		data, _, rest, err := decodeInPieces(byLength(int64(n)), "body", 3, 2)
		if want := "body"[:n]; data != want || rest != "body"[n:] || err != io.EOF {
			t.Errorf("%d: %q %q %v", n, data, rest, err)
		}
	}
	if data, _, _, err := decodeInPieces(byLength(5), "body", 3, 2); data != "body" || err != io.ErrUnexpectedEOF {
		t.Errorf("%q %v", data, err)
	}
}

// FuzzDecoder holds that the data do not depend on how the bytes come, nor on
// whether anybody wants them, and that it is what net/http reads.
func FuzzDecoder(f *testing.F) {
	for _, row := range bodiesInChunks {
		f.Add([]byte(row.raw), 3, 5)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size, room int) {
		size, room = 1+abs(size)%1000, 1+abs(room)%1000
		data, _, rest, err := decodeInPieces(byChunks(), string(raw), size, room)
		whole, _, wholeRest, wholeErr := decodeInPieces(byChunks(), string(raw), 1<<20, 1<<20)
		if data != whole || err != wholeErr || err == io.EOF && rest != wholeRest {
			t.Fatalf("%q %q %v; %q %q %v", data, rest, err, whole, wholeRest, wholeErr)
		}
		d := byChunks()
		_, used, discardErr := d.decode(nil, raw)
		if (discardErr == io.EOF) != (err == io.EOF) || err == io.EOF && string(raw[used:]) != rest {
			t.Fatalf("discarded %d, %v; %v", used, discardErr, err)
		}
		if err != io.EOF {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		r, _ := http.ReadRequest(newReader(head + string(raw)))
		theirs, err := io.ReadAll(r.Body)
		if err != nil || string(theirs) != data {
			t.Fatalf("%q, net/http %q %v", data, theirs, err)
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func newReader(s string) *bufio.Reader { return newReaderOf(strings.NewReader(s)) }

func newReaderOf(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
