package static

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// What a request for a file in memory costs here: no allocation.
// example/static/versus has the figures with everything around it.
func BenchmarkBuffered(b *testing.B) {
	files := Root(tree(b, map[string]string{"a.txt": strings.Repeat("0123456789abcdef", 64)}))
	for name, fields := range map[string]http.Header{
		"plain":       {},
		"gzip":        {"Accept-Encoding": {"gzip, deflate, br, zstd"}},
		"conditional": {"If-None-Match": {`"other"`}},
	} {
		b.Run(name, func(b *testing.B) {
			request := httptest.NewRequest("GET", "/a.txt", nil)
			request.Header = fields
			w := discard{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				files.ServeHTTP(w, request)
			}
		})
	}
}

// What a name costs that is left to the next action.
func BenchmarkFallThrough(b *testing.B) {
	files := Root(tree(b, nil))
	request := httptest.NewRequest("GET", "/api/users/7", nil)
	b.ReportAllocs()
	for b.Loop() {
		if files.serve(nil, request) {
			b.Fatal("found")
		}
	}
}
