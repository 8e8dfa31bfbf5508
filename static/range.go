package static

import (
	"fmt"
	"strconv"
	"strings"

	"aerys/internal/field"
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
func parseRanges(value string, size int64) (ranges []byteRange, satisfiable bool) {
	unit, list, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, true
	}
	asked, total := 0, int64(0)
	for item := range field.Elements([]string{list}) {
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
	start, begins := parsePosition(first)
	end, ends := parsePosition(last)
	switch {
	case !ok, first != "" && !begins, last != "" && !ends, begins && ends && end < start, !begins && !ends:
		return part, false
	case !begins: // so many bytes at the end
		start, end = max(0, size-end), size
	case !ends:
		end = size
	}
	return byteRange{start, max(0, min(end+1, size)-start)}, true
}

// parsePosition reads digits. Numbers too large for any file are cut off.
func parsePosition(digits string) (n int64, ok bool) {
	position, _ := strconv.ParseUint(digits, 10, 59)
	return int64(position), digits != "" && strings.Trim(digits, "0123456789") == ""
}
