package aerys

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"
)

// dropping is a log that takes every line and drops it.
type dropping struct{ slog.Handler }

func (dropping) Enabled(context.Context, slog.Level) bool { return true }

func (dropping) Handle(context.Context, slog.Record) error { return nil }

// A line takes the memory that slog wants for more than five attributes, and none
// when nobody wants it.
func TestAccessLogAllocations(t *testing.T) {
	allocations := func(actions ...Action) float64 {
		host, request := new(Host).Use(actions...), httptest.NewRequest("GET", "/", nil)
		writer := httptest.NewRecorder()
		return testing.AllocsPerRun(1000, func() { writer.Body.Reset(); host.ServeHTTP(writer, request) })
	}
	pass := func(next Handler) Handler {
		return HandlerFunc(func(req *Request, res *Response) { next.Serve(req, res) })
	}
	line := testing.AllocsPerRun(1000, func() {
		record := slog.NewRecord(time.Time{}, slog.LevelInfo, "", 0)
		record.AddAttrs(make([]slog.Attr, 6)...)
	})
	bare := allocations(pass, answer("Hello, world!"))
	for _, test := range []struct {
		about  string
		logger *slog.Logger
		more   float64
	}{
		{"level Info is off", slog.New(slog.DiscardHandler), 0},
		{"lines are dropped", slog.New(dropping{}), line},
	} {
		if n := allocations(AccessLog(test.logger), answer("Hello, world!")) - bare; n > test.more {
			t.Errorf("%s: %v allocations, want %v", test.about, n, test.more)
		}
	}
}

// BenchmarkAccessLog reports what a line costs that is dropped. One operation is a
// thousand requests to each; the least of several counts.
func BenchmarkAccessLog(b *testing.B) {
	turn := func(host *Host) time.Duration {
		request, writer := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		began := time.Now()
		for range 1000 {
			writer.Body.Reset()
			host.ServeHTTP(writer, request)
		}
		return time.Since(began) / 1000
	}
	bare := new(Host).Use(answer("Hello, world!"))
	logged := new(Host).Use(AccessLog(slog.New(dropping{})), answer("Hello, world!"))
	least, most := time.Hour, time.Hour
	for b.Loop() {
		least, most = min(least, turn(bare)), min(most, turn(logged))
	}
	b.ReportMetric(float64(most-least), "ns/line")
}
