package page

import (
	"strings"
	"testing"
	"time"
)

type part struct {
	Clients int               `metric:"clients gauge Clients."`
	Reasons map[string]uint64 `metric:"reasons_total{reason} counter Reasons, \\ and\nlines."`
	Unnamed int               // is no metric
	hidden  int               `metric:"hidden gauge Hidden."`
}

type bucket struct {
	Bound float64
	Count int64
}

type whole struct {
	Name     string    `label:"host"`
	Where    []string  `label:"address"`
	Began    time.Time `metric:"began_seconds gauge When."`
	Never    time.Time `metric:"never_seconds gauge Not yet."`
	Stopping bool      `metric:"stopping gauge Whether."`
	Times    struct {
		Count   int64
		Seconds float64
		Buckets []bucket
	} `metric:"times_seconds histogram Times."`
	Parts []any
}

// What is in labels and help is escaped as the format wants it, and as nothing else
// does: a control character stays what it is.
func TestMetrics(t *testing.T) {
	w := whole{Name: "a\"b\\c\nd\te\x01é\xff", Where: []string{"x", "y"}, Began: time.UnixMilli(1500).UTC(), Stopping: true}
	w.Times.Count, w.Times.Seconds, w.Times.Buckets = 3, 1e-7, []bucket{{.000025, 1}, {10, 2}}
	same := part{Clients: 1, hidden: 1}
	w.Parts = []any{
		map[string]map[string][]any{"GET": {"/b": {part{Clients: 5}}, "/a": {&same, part{Clients: 6}}}},
		part{Reasons: map[string]uint64{"z": 1, "a\"": 2}}, nil, "text", []any{same}, map[string]int{"n": 1},
	}
	labels := `host="a\"b\\c\nd` + "\te\x01é\uFFFD" + `",address="x y"`
	want := strings.ReplaceAll(`# HELP began_seconds When.
# TYPE began_seconds gauge
began_seconds{L} 1.5
# HELP never_seconds Not yet.
# TYPE never_seconds gauge
never_seconds{L} 0
# HELP stopping Whether.
# TYPE stopping gauge
stopping{L} 1
# HELP times_seconds Times.
# TYPE times_seconds histogram
times_seconds_bucket{L,le="2.5e-05"} 1
times_seconds_bucket{L,le="10"} 2
times_seconds_bucket{L,le="+Inf"} 3
times_seconds_sum{L} 1e-07
times_seconds_count{L} 3
# HELP clients Clients.
# TYPE clients gauge
clients{L,handler="0",route="GET /a"} 1
clients{L,handler="0.1",route="GET /a"} 6
clients{L,handler="0",route="GET /b"} 5
clients{L,handler="1"} 0
clients{L,handler="4"} 1
# HELP reasons_total Reasons, \\ and\nlines.
# TYPE reasons_total counter
reasons_total{L,handler="1",reason="a\""} 2
reasons_total{L,handler="1",reason="z"} 1
`, "{L", "{"+labels)
	if got := Metrics(w); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A series that is there already would make the whole page unreadable.
func TestMetricsTakeTheFirst(t *testing.T) {
	if got := Metrics([]part{{Clients: 1}, {Clients: 2}}); !strings.HasSuffix(got, "\nclients 1\n") {
		t.Error(got)
	}
}

func TestMetricsExplainMistakes(t *testing.T) {
	for want, state := range map[string]any{
		`metric:"requests" of what a Monitor returned: want NAME`: struct {
			Requests int `metric:"requests"`
		}{},
		`"many" for the metric requests: want a number`: struct {
			Requests string `metric:"requests gauge Requests."`
		}{"many"},
	} {
		func() {
			defer func() {
				if message, _ := recover().(string); !strings.Contains(message, want) {
					t.Errorf("panicked with %q, want %q", message, want)
				}
			}()
			Metrics(state)
		}()
	}
}
