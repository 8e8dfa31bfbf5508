package page

import (
	"fmt"
	"strings"
)

// Metrics is a text in Prometheus's format, version 0.0.4.
type Metrics struct {
	text strings.Builder
	name string
}

// MetricsType is the media type of Metrics.
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// Begin begins a metric, of the kind that Prometheus calls "gauge" or "counter",
// whose values follow.
func (m *Metrics) Begin(kind, name, help string) {
	m.name = name
	fmt.Fprintf(&m.text, "# HELP %[2]s %[3]s\n# TYPE %[2]s %[1]s\n", kind, name, help)
}

// Value adds a value, with labels as name="text" if there are any.
func (m *Metrics) Value(labels string, value any) {
	if labels != "" {
		labels = "{" + labels + "}"
	}
	fmt.Fprintf(&m.text, "%s%s %v\n", m.name, labels, value)
}

// String returns the text.
func (m *Metrics) String() string { return m.text.String() }
