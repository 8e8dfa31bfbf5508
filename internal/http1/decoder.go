package http1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"net/textproto"
)

// Limits of the chunked coding, which are net/http's. A chunk's line with its
// extensions, and the trailer section, each fit into 4 KiB; what is not data may
// exceed 16 bytes a chunk and twice the data by 16 KiB in all, so a client that
// sends single bytes is served and one that sends extensions is not.
const (
	maxChunkLine   = 4096
	maxTrailers    = 4096
	freeChunkBytes = 16
	maxExcess      = 16 << 10
	maxSizeDigits  = 16
)

var (
	errChunk    = errors.New("http1: malformed chunked coding")
	errExcess   = errors.New("http1: chunked coding with too little data")
	errTrailers = errors.New("http1: malformed or too long trailer section")
)

// decoder takes the framing off a body (RFC 9112 §6 and §7.1), in whatever
// pieces its bytes come. Its zero value is a body that is over.
type decoder struct {
	step    step
	remain  uint64 // bytes of the body, or of the chunk, that are to come
	digits  int    // of the size so far
	line    int    // bytes of the line so far
	excess  int64
	raw     []byte      // the trailer section so far
	trailer http.Header // likewise, in the end
}

type step uint8

const (
	ended          step = iota
	lengthData          // the bytes of a Content-Length
	chunkSize           // hexadecimal digits
	chunkSpace          // white space behind them
	chunkExtension      // anything up to CR LF
	chunkLineEnd        // its LF
	chunkData
	chunkDataCR
	chunkDataLF
	trailerStart // CR LF, or the first byte of a trailer section
	trailerEnd   // LF
	trailerLines
)

// byLength decodes a body of n bytes.
func byLength(n int64) decoder {
	if n == 0 {
		return decoder{}
	}
	return decoder{step: lengthData, remain: uint64(n)}
}

// byChunks decodes a body in chunks.
func byChunks() decoder { return decoder{step: chunkSize} }

// left is how many bytes of a body with a Content-Length are to come, or 0.
func (d *decoder) left() uint64 {
	if d.step == lengthData {
		return d.remain
	}
	return 0
}

// decode decodes what src begins with into dst, or drops it if that is nil. It
// returns how much of both it has used, and io.EOF with the last of a body. What
// it leaves of src it has no room for, or is not the body's.
func (d *decoder) decode(dst, src []byte) (n, used int, err error) {
	for d.step != ended {
		data := d.step == lengthData || d.step == chunkData
		if used == len(src) || data && dst != nil && n == len(dst) {
			return n, used, nil
		}
		if !data {
			if err := d.framing(src[used]); err != nil {
				return n, used, err
			}
			used++
			continue
		}
		m := int(min(uint64(len(src)-used), d.remain))
		if dst != nil {
			m = copy(dst[n:], src[used:used+m])
		}
		n, used = n+m, used+m
		d.took(m)
	}
	return n, used, io.EOF
}

// took notes that n bytes of data are dealt with.
func (d *decoder) took(n int) {
	d.remain -= uint64(n)
	switch {
	case d.remain > 0:
	case d.step == lengthData:
		d.step = ended
	default:
		d.step = chunkDataCR
	}
}

// framing takes a byte that is not data.
func (d *decoder) framing(b byte) error {
	switch d.step {
	case chunkSize, chunkSpace, chunkExtension, chunkLineEnd:
		return d.sizeLine(b)
	case chunkDataCR:
		return d.expect(b, '\r', chunkDataLF)
	case chunkDataLF:
		return d.expect(b, '\n', chunkSize)
	case trailerStart:
		if b == '\r' {
			d.step = trailerEnd
			return nil
		}
		d.step = trailerLines
		return d.trailerByte(b)
	case trailerEnd:
		if b != '\n' {
			return errTrailers
		}
		d.step = ended
		return nil
	}
	return d.trailerByte(b)
}

func (d *decoder) expect(b, want byte, next step) error {
	if b != want {
		return errChunk
	}
	d.step = next
	return nil
}

// sizeLine takes a byte of a chunk's first line: digits, white space, or an
// extension, which nobody knows, and CR LF, not a bare LF.
func (d *decoder) sizeLine(b byte) error {
	if d.line++; d.line > maxChunkLine {
		return errExcess
	}
	digit, isDigit := fromHex(b)
	switch {
	case d.step == chunkLineEnd:
		if b != '\n' {
			return errChunk
		}
		return d.beginChunk()
	case b == '\n' || d.digits == 0 && !isDigit:
		return errChunk
	case b == '\r':
		d.step = chunkLineEnd
	case d.step == chunkExtension:
	case d.step == chunkSize && isDigit:
		if d.digits++; d.digits > maxSizeDigits {
			return errChunk
		}
		d.remain = d.remain<<4 | digit
	case b == ' ' || b == '\t':
		d.step = chunkSpace
	case b == ';' && d.step == chunkSize:
		d.step = chunkExtension
	default:
		return errChunk
	}
	return nil
}

// fromHex is a hexadecimal digit's value.
func fromHex(b byte) (value uint64, ok bool) {
	switch {
	case '0' <= b && b <= '9':
		return uint64(b - '0'), true
	case 'a' <= b && b <= 'f':
		return uint64(b-'a') + 10, true
	case 'A' <= b && b <= 'F':
		return uint64(b-'A') + 10, true
	}
	return 0, false
}

// beginChunk is the end of a chunk's first line.
func (d *decoder) beginChunk() error {
	if d.remain > math.MaxInt64 {
		return errChunk
	}
	free := freeChunkBytes + 2*int64(min(d.remain, 1<<40))
	d.excess = max(0, d.excess+int64(d.line)-free)
	d.digits, d.line = 0, 0
	switch {
	case d.excess > maxExcess:
		return errExcess
	case d.remain == 0:
		d.step = trailerStart
	default:
		d.step = chunkData
	}
	return nil
}

// trailerByte takes a byte of the trailer section.
func (d *decoder) trailerByte(b byte) error {
	if d.raw = append(d.raw, b); len(d.raw) > maxTrailers {
		return errTrailers
	}
	if b != '\n' {
		return nil
	}
	if !bytes.HasSuffix(d.raw, lineEnd) {
		return errTrailers
	}
	if !bytes.HasSuffix(d.raw, headEnd) {
		return nil
	}
	d.step = ended
	return d.parseTrailers()
}

// parseTrailers parses the whole section. A line may not be folded.
func (d *decoder) parseTrailers() error {
	for line := range bytes.SplitSeq(d.raw, lineEnd) {
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t' || line[0] == ':') {
			return errTrailers
		}
	}
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(d.raw)))
	fields, err := reader.ReadMIMEHeader()
	if err != nil {
		return errTrailers
	}
	d.trailer, d.raw = http.Header(fields), nil
	return nil
}

var (
	lineEnd = []byte("\r\n")
	headEnd = []byte("\r\n\r\n")
)
