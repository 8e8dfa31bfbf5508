package page

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MetricsType is the media type of Metrics.
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// Metrics writes a state in Prometheus's text format, version 0.0.4. What is in it
// says by tags of its structs' fields how it is called there:
//
//	metric:"NAME KIND HELP"
//
// where KIND is gauge, counter or histogram, and NAME{LABEL} makes a metric of a
// map, whose keys are the values of the label. A histogram is a struct of what was
// counted, their sum, and a slice of structs of a bound and how many are not above
// it. A field with label:"NAME" is a label of all that is in its struct; what is in
// a list of anything has its number for the label "handler", and what is in a map
// has the key in "route". Where one series comes twice, the first is taken.
func Metrics(state any) string {
	m := metrics{families: make(map[string]*family)}
	m.walk(reflect.ValueOf(state), place{})
	var text strings.Builder
	for _, name := range m.names {
		f := m.families[name]
		if len(f.known) == 0 {
			continue // a map with nothing in it
		}
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n%s", name, helpEscapes.Replace(f.help), name, f.kind, f.text.String())
	}
	return text.String()
}

// metrics are the families of metrics that were met, in order.
type metrics struct {
	names    []string
	families map[string]*family
}

// family is all that goes by one name.
type family struct {
	kind, help string
	text       strings.Builder
	known      map[string]bool // series
}

// place is where in a state something is.
type place struct{ labels, handler, route string }

// label returns labels with one more.
func label(labels, name, value string) string {
	if labels != "" {
		labels += ","
	}
	return labels + name + `="` + labelEscapes.Replace(strings.ToValidUTF8(value, "\uFFFD")) + `"`
}

var (
	labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// series returns all labels of a place.
func (p place) series() string {
	if p.handler != "" {
		p.labels = label(p.labels, "handler", p.handler)
	}
	if p.route != "" {
		p.labels = label(p.labels, "route", p.route)
	}
	return p.labels
}

// walk looks for metrics in a value.
func (m *metrics) walk(v reflect.Value, at place) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		m.walk(v.Elem(), at)
	case reflect.Struct:
		m.walkStruct(v, at)
	case reflect.Slice:
		outer := at.handler
		for i := range v.Len() {
			if v.Type().Elem().Kind() == reflect.Interface && (i > 0 || outer == "") {
				at.handler = strings.TrimPrefix(fmt.Sprint(outer, ".", i), ".")
			}
			m.walk(v.Index(i), at)
		}
	case reflect.Map:
		outer := at.route
		for _, key := range sorted(v) {
			at.route = strings.TrimSpace(outer + " " + text(key))
			m.walk(v.MapIndex(key), at)
		}
	}
}

func (m *metrics) walkStruct(v reflect.Value, at place) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if name := field.Tag.Get("label"); name != "" && field.IsExported() {
			at.labels = label(at.labels, name, text(v.Field(i)))
		}
	}
	for i := range v.NumField() {
		switch field := v.Type().Field(i); {
		case !field.IsExported():
		case field.Tag.Get("metric") != "":
			m.add(field.Tag.Get("metric"), v.Field(i), at.series())
		default:
			m.walk(v.Field(i), at)
		}
	}
}

// shape is that of a tag: the name, a label, the kind and the help.
var shape = regexp.MustCompile(`(?s)^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([a-zA-Z_][a-zA-Z0-9_]*)\})? (gauge|counter|histogram) (.+)$`)

// add adds what a tag is about.
func (m *metrics) add(tag string, v reflect.Value, series string) {
	parts := shape.FindStringSubmatch(tag)
	if parts == nil {
		panic(fmt.Sprintf("aerys: the tag metric:%q of what a Monitor returned: want NAME, perhaps {LABEL}, then gauge, counter or histogram, then help", tag))
	}
	name, by := parts[1], parts[2]
	f := m.families[name]
	if f == nil {
		f = &family{kind: parts[3], help: parts[4], known: make(map[string]bool)}
		m.names, m.families[name] = append(m.names, name), f
	}
	switch {
	case f.kind == "histogram":
		f.addHistogram(name, v, series)
	case by != "":
		for _, key := range sorted(v) {
			f.add(name, label(series, by, text(key)), v.MapIndex(key))
		}
	default:
		f.add(name, series, v)
	}
}

func (f *family) addHistogram(name string, v reflect.Value, series string) {
	count, sum, buckets := v.Field(0), v.Field(1), v.Field(2)
	for i := range buckets.Len() {
		f.add(name+"_bucket", label(series, "le", text(buckets.Index(i).Field(0))), buckets.Index(i).Field(1))
	}
	f.add(name+"_bucket", label(series, "le", "+Inf"), count)
	f.add(name+"_sum", series, sum)
	f.add(name+"_count", series, count)
}

// add adds a series.
func (f *family) add(name, labels string, v reflect.Value) {
	if labels != "" {
		name += "{" + labels + "}"
	}
	sample := text(v)
	if _, err := strconv.ParseFloat(sample, 64); err != nil {
		panic(fmt.Sprintf("aerys: a Monitor returned %q for the metric %s: want a number", sample, name))
	}
	if !f.known[name] {
		f.known[name] = true
		fmt.Fprintf(&f.text, "%s %s\n", name, sample)
	}
}

// text is a value as a label has it, or a sample.
func text(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Time:
		if value.IsZero() {
			return "0"
		}
		return strconv.FormatFloat(float64(value.UnixMilli())/1000, 'f', -1, 64)
	case []string:
		return strings.Join(value, " ")
	case bool:
		if value {
			return "1"
		}
		return "0"
	}
	switch {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	case v.CanFloat():
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	}
	return v.String()
}

// sorted returns the keys of a map in the order of their texts.
func sorted(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(text(a), text(b)) })
	return keys
}
