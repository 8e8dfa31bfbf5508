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
// and adds its value, if it has one without labels.
func (m *Metrics) Begin(kind, name, help string, value ...int64) {
	m.name = name
	fmt.Fprintf(&m.text, "# HELP %[2]s %[3]s\n# TYPE %[2]s %[1]s\n", kind, name, help)
	for _, v := range value {
		fmt.Fprintf(&m.text, "%s %d\n", name, v)
	}
}

// Value adds a value with labels, name="text" each, with a comma between them.
func (m *Metrics) Value(labels string, value any) {
	fmt.Fprintf(&m.text, "%s{%s} %v\n", m.name, labels, value)
}

// String returns the text.
func (m *Metrics) String() string { return m.text.String() }
