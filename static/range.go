package static

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// maxRanges is how many ranges a request may ask for. One that asks for more
// gets the whole file: each costs a part header, and may repeat the others.
const maxRanges = 16

// byteRange is a part of a representation.
type byteRange struct{ start, length int64 }

// contentRange returns the field of that name (RFC 9110 §14.4).
func (b byteRange) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", b.start, b.start+b.length-1, size)
}

// parseRanges reads a Range field (RFC 9110 §14.2). It returns the ranges that
// a representation of the given size can satisfy. satisfiable is false if that
// is none of them; no ranges but satisfiable: the field is to be ignored.
func parseRanges(field string, size int64) (ranges []byteRange, satisfiable bool) {
	unit, list, ok := strings.Cut(field, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, true
	}
	asked, total := 0, int64(0)
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.Trim(item, " \t"); item == "" {
			continue
		}
		part, valid := parseRange(item, size)
		if asked++; !valid || asked > maxRanges {
			return nil, true
		}
		if part.length > 0 {
			ranges = append(ranges, part)
			total += part.length
		}
	}
	if asked == 0 || total > size {
		return nil, true // ranges that overlap cost more than the whole
	}
	return ranges, len(ranges) > 0
}

// parseRange reads one range; one that cannot be satisfied has no length.
func parseRange(item string, size int64) (part byteRange, valid bool) {
	first, last, ok := strings.Cut(item, "-")
	if !ok {
		return part, false
	}
	if first == "" {
		suffix, ok := parsePosition(last)
		suffix = min(suffix, size)
		return byteRange{size - suffix, suffix}, ok
	}
	start, ok := parsePosition(first)
	if !ok {
		return part, false
	}
	end := int64(math.MaxInt64)
	if last != "" {
		if end, ok = parsePosition(last); !ok || end < start {
			return part, false
		}
	}
	if start >= size {
		return part, true
	}
	return byteRange{start, min(end, size-1) - start + 1}, true
}

// parsePosition reads digits. Numbers too large for any file are cut off.
func parsePosition(digits string) (n int64, ok bool) {
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > math.MaxInt64/16 {
			n = math.MaxInt64 / 16
		}
	}
	return n, digits != ""
}

// byteRanges is a multipart/byteranges body (RFC 9110 §14.6).
type byteRanges struct {
	boundary string
	headers  []string // one before each range
	length   int64    // of all
}

func newByteRanges(ranges []byteRange, contentType string, size int64) byteRanges {
	b := byteRanges{boundary: fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())}
	for _, part := range ranges {
		header := fmt.Sprintf("\r\n--%s\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n",
			b.boundary, contentType, part.contentRange(size))
		b.headers = append(b.headers, header)
		b.length += int64(len(header)) + part.length
	}
	b.length += int64(len(b.end()))
	return b
}

func (b byteRanges) end() string { return "\r\n--" + b.boundary + "--\r\n" }
