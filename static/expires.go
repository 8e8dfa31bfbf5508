package static

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cacheControl returns the Cache-Control of the file name.
func (o *Options) cacheControl(name string) string {
	if o.CacheControl != nil {
		if value := o.CacheControl(name); value != "" {
			return value
		}
	}
	switch period := o.ExpiresPeriod; {
	case period < 0:
		return "no-cache"
	case hashed(name):
		return maxAge(365*24*time.Hour) + ", immutable"
	default:
		return maxAge(period)
	}
}

// maxAge returns a period as Cache-Control has it (RFC 9111 §5.2.2.1).
func maxAge(period time.Duration) string {
	return "max-age=" + strconv.FormatInt(int64(period/time.Second), 10)
}

// hashed reports whether a bundler put a hash of the content into name, as in
// app.3f2a9c1b.js or index-BZk3f9aX.css, so that the name never gets another
// content. In doubt it does not: an immutable file cannot be called back. So a
// hash has a letter behind a digit, which Summer24 and 20240131 have not, and
// is either hexadecimal, or eight characters not all of them lower case.
func hashed(name string) bool {
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	parts := strings.FieldsFunc(stem, func(r rune) bool { return r == '.' || r == '-' })
	return len(parts) > 1 && slices.ContainsFunc(parts[1:], func(part string) bool {
		return digitThenLetter.MatchString(part) &&
			(hexadecimal.MatchString(part) || len(part) == 8 && part != strings.ToLower(part))
	})
}

var (
	digitThenLetter = regexp.MustCompile(`[0-9].*[A-Za-z]`)
	hexadecimal     = regexp.MustCompile(`^[0-9a-f]{8,}$`)
)
