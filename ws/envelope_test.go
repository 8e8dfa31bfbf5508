package ws

import (
	"slices"
	"testing"
)

// What a node writes another reads, and nothing that it may be sent makes it fail.
func FuzzEnvelope(f *testing.F) {
	f.Add([]byte("\x01t12345678hello"), "topic")
	f.Add([]byte("\x01!12345678\x00\x00\x00\x07\x00\x00\x00\x02\x01a\x02bc"), "\x00topic")
	f.Fuzz(func(t *testing.T, message []byte, topic string) {
		if kind, node, payload, ok := parseEnvelope(message); ok {
			if again := appendEnvelope(nil, kind, node, payload); !slices.Equal(again, message) {
				t.Errorf("%q became %q", message, again)
			}
			if number, count, names, ok := parseAnswer(payload); ok {
				_, _, back, _ := parseAnswer(appendAnswer(nil, number, count, names, 1<<30))
				if !slices.Equal(back, names) {
					t.Errorf("names %q became %q", names, back)
				}
			}
		}
		if back, ok := inward(outward(topic)); back != topic || !ok {
			t.Errorf("topic %q became %q, %v", topic, back, ok)
		}
	})
}

// An answer has as many names as fit.
func TestAnswerFits(t *testing.T) {
	names := []string{"first", "second", "third"}
	for most := range 60 {
		p := appendAnswer(nil, 1, 3, names, most)
		_, count, got, ok := parseAnswer(p)
		if !ok || count != 3 || len(p) > max(most, 8) || !slices.Equal(got, names[:len(got)]) {
			t.Errorf("in %d bytes: %q (%d)", most, got, len(p))
		}
	}
}
